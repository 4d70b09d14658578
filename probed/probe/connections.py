"""Connections that few kinds need: each address family, kept ones, TLS begun late, an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from probed.fields import AddressChoice, Tls
from probed.http import BODY_LIMIT
from probed.net import AddressFamily, Stream, Upgrade
from probed.net.pool import Closing, close
from probed.probe.run import Run

if TYPE_CHECKING:
    import httpx2

K = TypeVar("K", bound=Closing)


async def by_family(
    run: Run, family: AddressChoice, work: Callable[[Run], Awaitable[None]]
) -> None:
    """Do the work over that address family; with `both` over each at once, and each must work.

    `work` is given the run to write to: this one, or a part of it whose phases are `ipv4/…` or
    `ipv6/…` and whose findings say so.
    """
    if family != "both":
        run.family = family
        await work(run)
        return
    parts = {"Over IPv4": _of_family(run, "ipv4"), "Over IPv6": _of_family(run, "ipv6")}
    async with anyio.create_task_group() as tasks:
        for part in parts.values():
            tasks.start_soon(part.run_part, work)
    run.join(parts)
    for part in parts.values():
        run.facts = {**part.facts, **run.facts}


def _of_family(run: Run, family: AddressFamily) -> Run:
    part = run.part(family)
    part.family = family
    part.memory = run.memory.setdefault(family, {})
    return part


@asynccontextmanager
async def pooled(run: Run, key: Hashable, make: Callable[[], K]) -> AsyncIterator[K]:
    """Lend what `make` returns or, in the daemon, what it returned in an earlier run: a connection,
    say. It is lent to one run at a time.

    Outside the daemon it is closed at the end of the run, in it when it was idle for long.
    """
    thing: Any = None if run.pool is None else run.pool.acquire(key)
    if thing is None:
        thing = make()
    try:
        yield thing
    finally:
        if run.pool is None or not run.pool.release(key, thing):
            await close(thing)


async def start_tls(
    run: Run, stream: Stream, tls: Tls, host: str, upgrade: Upgrade | None = None
) -> None:
    """Speak TLS on an open stream: phase `tls`. `upgrade` is what must be said on a new connection
    before it (STARTTLS), should the certificate need a second look.

    Raises what `Run.connect` does.
    """
    await run.network.start_tls(run, stream, tls.options, tls.server_name or host, upgrade)


def http_client(
    run: Run, *, tls: Tls | None = None, body_limit: int = BODY_LIMIT
) -> httpx2.AsyncClient:
    """Return an httpx2 client whose requests are phases of the run; close it with `async with`.
    `body_limit` is in bytes.
    """
    import httpx2  # noqa: PLC0415  # 80 ms that most kinds do not need

    from probed.http.client import Transport  # noqa: PLC0415

    return httpx2.AsyncClient(
        transport=Transport(
            run.network, run.clock, run.redactor, tls=tls, body_limit=body_limit, recorder=run
        ),
        headers={"traceparent": run.traceparent},
        timeout=None,
        trust_env=False,
    )
