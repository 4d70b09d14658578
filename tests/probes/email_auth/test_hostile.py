"""email_auth against zones that are made to wear it out: bounded queries, in time, never in the way."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from probed.testing import DnsServer, dns_server
from probed.testing.soundness import assert_memory, assert_sound
from probes.email_auth import EmailAuthProbe

pytestmark = pytest.mark.anyio
Zone = dict[tuple[str, str], list[str]]
D = "example.test"
STEP = 0.05
"""Seconds of processor time that the event loop may be kept from others."""
TIMEOUT = 2.0
QUERIES = 120
"""What one evaluation of SPF may ask."""


@contextmanager
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The processor time of each step of the event loop, in seconds; another thread's is not in it,
    nor is looking for garbage, of which the tests leave more than a daemon.
    """
    taken: list[float] = []
    run = asyncio.Handle._run
    here = threading.get_ident()

    def timed(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        if threading.get_ident() == here:
            taken.append(time.thread_time() - start)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        gc.disable()
        try:
            yield taken
        finally:
            gc.enable()


@asynccontextmanager
async def elsewhere(portal: BlockingPortal, zone: Zone, **more: Any) -> AsyncIterator[DnsServer]:
    """A name server in a thread of its own: what it takes to answer is not our time."""
    server = dns_server(zone, **more)
    context = portal.wrap_async_context_manager(server)
    await to_thread.run_sync(context.__enter__)
    try:
        yield server
    finally:
        await to_thread.run_sync(context.__exit__, None, None, None)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal("asyncio") as portal:
        yield portal


def spf(*terms: str) -> list[str]:
    return [" ".join(("v=spf1", *terms))]


def chain() -> Zone:
    return {
        (D, "TXT"): spf("include:c0.test", "-all"),
        **{(f"c{n}.test", "TXT"): spf(f"include:c{n + 1}.test", "-all") for n in range(200)},
    }


def tree() -> Zone:
    names = [(f"t{a}", [f"t{a}{b}" for b in range(9)]) for a in range(9)]
    zone: Zone = {(D, "TXT"): spf(*(f"include:t{n}.test" for n in range(9)), "-all")}
    for name, below in names:
        zone[f"{name}.test", "TXT"] = spf(*(f"include:{one}.test" for one in below), "-all")
        zone |= {(f"{one}.test", "TXT"): spf("a", "mx", "-all") for one in below}
    return zone


def exchanges(count: int, of: str = D) -> Zone:
    return {
        (of, "MX"): [f"{n} mx{n}.{of}." for n in range(count)],
        **{(f"mx{n}.{of}", "A"): [f"203.0.113.{n % 250}"] for n in range(count)},
    }


def ten_of_ten() -> Zone:
    zone: Zone = {(D, "TXT"): spf(*(f"mx:m{n}.test" for n in range(10)), "-all")}
    for n in range(10):
        zone |= exchanges(10, f"m{n}.test")
    return zone


LARGE = ["x" * 63_000]
TINY = [f"{n:x}" for n in range(3000)]
CASES: dict[str, tuple[Zone, dict[str, Any], dict[str, Any], str]] = {
    "an endless chain of includes": (chain(), {}, {}, "spf.lookup_limit"),
    "a tree of nine includes each": (tree(), {}, {}, "spf.lookup_limit"),
    "a record that includes itself": ({(D, "TXT"): spf(f"include:{D}", "-all")}, {}, {},
                                      "spf.lookup_limit"),
    "redirects in a circle": ({(D, "TXT"): spf("redirect=r.test"), ("r.test", "TXT"): spf(f"redirect={D}")},
                              {}, {}, "spf.lookup_limit"),
    "a hundred mail servers": ({**exchanges(100), (D, "TXT"): spf("mx", "-all")}, {}, {}, "spf.mx_limit"),
    "ten times ten mail servers": (ten_of_ten(), {}, {}, "spf.sender_fail"),
    "an answer of 63 KB": ({(D, "TXT"): LARGE}, {}, {}, "dns.unavailable"),
    "an included answer of 63 KB": (
        {(D, "TXT"): spf("include:large.test", "-all"), ("large.test", "TXT"): LARGE}, {}, {},
        "spf.temperror"),
    "three thousand records": ({(D, "TXT"): TINY}, {}, {}, "dns.unavailable"),
    "a thousand records": ({(D, "TXT"): TINY[:1000]}, {}, {}, "dns.unavailable"),
    "a failing include": ({(D, "TXT"): spf("include:gone.test", "-all")}, {"gone.test": "servfail"}, {},
                          "spf.temperror"),
    "a silent include": ({(D, "TXT"): spf("include:gone.test", "-all")}, {"gone.test": "silent"}, {},
                         "dns.unavailable"),
    "ten silent terms": ({(D, "TXT"): spf(*(f"a:s{n}.test" for n in range(10)), "-all")},
                         {f"s{n}.test": "silent" for n in range(10)}, {}, "dns.unavailable"),
    "control bytes": ({(D, "TXT"): ["v=spf1 \x1b[2J\x07 include:\x9b.test -all"]}, {}, {}, "spf.syntax"),
    "bytes beyond ASCII": ({(D, "TXT"): ["v=spf1 include:b\xfccher.test \u202e -all"]}, {}, {}, "spf.syntax"),
    "macros that grow": ({(D, "TXT"): spf("exists:" + "%{d}." * 40 + "test", "-all")}, {}, {}, "spf.sender_fail"),
    "a record of sixteen thousand bytes": ({(D, "TXT"): spf("a " * 7900 + "-all")}, {}, {}, "spf.syntax"),
    "a DKIM record without end": ({("s1._domainkey.example.test", "TXT"): ["v=DKIM1; " + "x=y;" * 3900]}, {}, {},
                                  "dkim.syntax"),
    "a DKIM key of sixteen thousand bytes": (
        {("s1._domainkey.example.test", "TXT"): ["v=DKIM1; p=" + "QUJD" * 3900]}, {}, {}, "dkim.key_invalid"),
    "DMARC reports to thousands": (
        {("_dmarc.example.test", "TXT"): [
            "v=DMARC1; p=reject; rua=" + ",".join(f"mailto:a@r{n}.test" for n in range(600))]},
        {}, {}, "dmarc.rua_unauthorised"),
    "a hundred name servers": (
        {(D, "NS"): [f"n{n}.test." for n in range(100)],
         **{(f"n{n}.test", "A"): [f"127.9.{m}.{n + 1}" for m in range(20)] for n in range(100)}},
        {}, {"authoritative": True}, "dns.unavailable"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_a_hostile_zone(
    world: Any, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changes, faults, more, expected = CASES[name]
    zone = world.zone({**world.good(), **changes})
    memory: dict[str, Any] = {}
    async with elsewhere(portal, zone, faults=faults) as server:
        with steps(monkeypatch) as taken:
            result = await world.ask(
                server, memory=memory, timeout=TIMEOUT, dns_port=server.port, **more
            )
        asked = len(server.queries)
    assert expected in {str(finding.reason) for finding in result.findings}
    assert result.duration_s < TIMEOUT + 0.2
    assert_sound(EmailAuthProbe.model_validate(world.settings(**more)), result)
    assert_memory(memory)
    # Two strangers and three addresses of senders are evaluated; what one asked, none asks again.
    assert asked <= 2 * QUERIES
    assert max(taken) < STEP


async def test_the_largest_check_of_the_worst_zone_is_bounded(
    world: Any, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many senders, selectors, subdomains and vantages as there may be."""
    senders = [{"name": f"s{n}", "ip": f"198.18.0.{n}", "expect": ["fail"]} for n in range(10)]
    changes = {
        "spf__senders": senders,
        "dkim__selectors": [{"selector": f"k{n}", "expect": "absent"} for n in range(20)],
        "dmarc__subdomains": [f"{'a.' * 20}n{n}.{D}" for n in range(10)],
        "extras": dict.fromkeys(["mx", "mta_sts", "tls_rpt", "tlsa", "bimi"], True),
    }
    async with elsewhere(portal, world.zone({**world.good(), **ten_of_ten()})) as server:
        resolvers = [{"name": f"r{n}", "address": str(server.address)} for n in range(5)]
        with steps(monkeypatch) as taken:
            result = await world.ask(server, timeout=8, resolvers=resolvers, **changes)
        asked = len(server.queries)
    assert {str(finding.reason) for finding in result.findings} == {"spf.near_limit", "spf.void"}
    assert_sound(
        EmailAuthProbe.model_validate(world.settings(resolvers=resolvers, **changes)), result
    )
    assert asked <= 5 * 400
    assert max(taken) < STEP
