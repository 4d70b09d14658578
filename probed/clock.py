"""The one source of time."""

from __future__ import annotations

import time as system_time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the daemon asks for the time. `probed.testing.FakeClock` is the double."""

    def time(self) -> float:
        """Seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds, at once if they are not positive."""


class SystemClock:
    """The clock of this machine."""

    time = staticmethod(system_time.time)
    monotonic = staticmethod(system_time.monotonic)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))


class LoopLag:
    """How late the event loop is: a loop that stands still makes every peer look slow.

    `watch` is the one task that looks, each `INTERVAL` seconds; shorter stops are not all seen.
    """

    INTERVAL = 0.1

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due = float("inf")
        self._late: deque[tuple[float, float]] = deque(maxlen=256)

    async def watch(self, tell: Callable[[float], None] = lambda _: None) -> None:
        """Until cancelled. `tell` is given the seconds that the loop was late, each time."""
        while True:
            self._due = self._clock.monotonic() + self.INTERVAL
            await self._clock.sleep(self.INTERVAL)
            now = self._clock.monotonic()
            late = max(0.0, now - self._due)
            if late > self.INTERVAL / 10:
                self._late.append((now, late))
            tell(late)

    def taken(self, since: float) -> float:
        """Seconds since then (on the monotonic clock) in which the loop stood still."""
        now = self._clock.monotonic()
        taken = min(max(0.0, now - self._due), now - since)
        for at, late in reversed(self._late):
            if at <= since:
                break
            taken += min(late, at - since)
        return taken
