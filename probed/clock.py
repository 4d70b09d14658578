"""The only source of time."""

from __future__ import annotations

import time as system_time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio


class Clock(Protocol):
    """Wall time, monotonic time and sleep. `probed.testing.FakeClock` is the test double."""

    def time(self) -> float:
        """Return the seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Return the seconds on a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Sleep for that many seconds; return at once if they are not positive."""


class SystemClock:
    """The clock of this machine."""

    time = staticmethod(system_time.time)
    monotonic = staticmethod(system_time.monotonic)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))


class LoopLag:
    """How far the event loop is behind: a blocked loop makes every peer look slow.

    `watch` samples it each `INTERVAL` seconds and misses some shorter blocks.
    """

    INTERVAL = 0.1

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due = float("inf")
        self._late: deque[tuple[float, float]] = deque(maxlen=256)

    async def watch(self, observe: Callable[[float], None] = lambda _: None) -> None:
        """Sample until cancelled. Each sample calls `observe` with the lag in seconds."""
        while True:
            self._due = self._clock.monotonic() + self.INTERVAL
            await self._clock.sleep(self.INTERVAL)
            now = self._clock.monotonic()
            late = max(0.0, now - self._due)
            if late > self.INTERVAL / 10:
                self._late.append((now, late))
            observe(late)

    def blocked(self, since: float) -> float:
        """Return the seconds since then (on the monotonic clock) for which the loop was blocked."""
        now = self._clock.monotonic()
        blocked = min(max(0.0, now - self._due), now - since)
        for at, late in reversed(self._late):
            if at <= since:
                break
            blocked += min(late, at - since)
        return blocked
