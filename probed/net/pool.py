"""What stays open from run to run, such as connections whose making is dear: closed in the end."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import anyio

from probed.clock import Clock

IDLE = 900.0
"""Seconds after which what nobody has asked for is closed."""
CLOSE_SECONDS = 0.5
"""Seconds that closing may take."""


class Closing(Protocol):
    """What can be kept."""

    async def aclose(self) -> None:
        """Let go of everything. May be cut short."""


@dataclass(slots=True)
class _Idle:
    thing: Closing
    since: float


class ConnectionPool:
    """At most one thing for each key, lent to one run at a time."""

    def __init__(self, clock: Clock, *, idle: float = IDLE) -> None:
        self._clock = clock
        self._idle = idle
        self._kept: dict[Hashable, _Idle] = {}
        self._closed = False

    def acquire(self, key: Hashable) -> Closing | None:
        """What is kept under the key: it is the caller's until `release`."""
        kept = self._kept.pop(key, None)
        return None if kept is None else kept.thing

    def release(self, key: Hashable, thing: Closing) -> bool:
        """Keep it for the next; False where the caller must close it."""
        if self._closed or key in self._kept:
            return False
        self._kept[key] = _Idle(thing, self._clock.monotonic())
        return True

    async def sweep(self) -> None:
        """Close what has lain idle for too long, until cancelled."""
        while True:
            await self._clock.sleep(self._idle / 10)
            before = self._clock.monotonic() - self._idle
            for key in [key for key, kept in self._kept.items() if kept.since <= before]:
                await close(self._kept.pop(key).thing)

    async def close(self) -> None:
        """Close everything, and keep nothing from now on."""
        self._closed = True
        kept, self._kept = self._kept, {}
        async with anyio.create_task_group() as tasks:
            for each in kept.values():
                tasks.start_soon(close, each.thing)


async def close(thing: Closing) -> None:
    """Close within `CLOSE_SECONDS`, also where we were cancelled: a peer that is gone holds no run
    up.
    """
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await thing.aclose()
