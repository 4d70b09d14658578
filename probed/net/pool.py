"""A pool of connections that stay open from run to run, because opening one is expensive."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import anyio

from probed.clock import Clock

IDLE = 900.0
"""Seconds after which an unused connection is closed."""
CLOSE_SECONDS = 0.5
"""Seconds that closing one connection may take."""


class Closing(Protocol):
    """A connection, or anything else that can be pooled."""

    async def aclose(self) -> None:
        """Close. May be cancelled."""


@dataclass(slots=True)
class _Idle:
    connection: Closing
    since: float


class ConnectionPool:
    """At most one connection per key, used by one run at a time."""

    def __init__(self, clock: Clock, *, idle: float = IDLE) -> None:
        self._clock = clock
        self._idle_seconds = idle
        self._idle: dict[Hashable, _Idle] = {}
        self._closed = False

    def acquire(self, key: Hashable) -> Closing | None:
        """Return the connection under this key, which the caller owns until `release`; None if there is
        none.
        """
        found = self._idle.pop(key, None)
        return None if found is None else found.connection

    def release(self, key: Hashable, connection: Closing) -> bool:
        """Return the connection to the pool; False if the caller must close it."""
        if self._closed or key in self._idle:
            return False
        self._idle[key] = _Idle(connection, self._clock.monotonic())
        return True

    async def sweep(self) -> None:
        """Close connections that have been idle for too long, until cancelled."""
        while True:
            await self._clock.sleep(self._idle_seconds / 10)
            before = self._clock.monotonic() - self._idle_seconds
            for key in [key for key, idle in self._idle.items() if idle.since <= before]:
                await close(self._idle.pop(key).connection)

    async def close(self) -> None:
        """Close all connections, and pool none from now on."""
        self._closed = True
        idle, self._idle = self._idle, {}
        async with anyio.create_task_group() as tasks:
            for each in idle.values():
                tasks.start_soon(close, each.connection)


async def close(connection: Closing) -> None:
    """Close within `CLOSE_SECONDS`, even when cancelled: a peer that is gone must not delay a run."""
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await connection.aclose()
