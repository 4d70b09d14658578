"""The only source of time."""

from __future__ import annotations

import time as system_time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile
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


def _nobody(seconds: float) -> str:  # noqa: ARG001
    return ""


class LoopLag:
    """How far the event loop is behind: a blocked loop makes every peer look slow.

    `watch` samples it each `INTERVAL` seconds and misses some shorter blocks. `blame` says who blocked
    it for so many seconds, as far as that is known.
    """

    INTERVAL = 0.1
    ON_TIME = 0.05
    """Seconds by which the loop may be late and still count as on time."""

    def __init__(self, clock: Clock, blame: Callable[[float], str] = _nobody) -> None:
        self.blame = blame
        self._clock = clock
        self._due = float("inf")
        self._late: deque[tuple[float, float, str]] = deque(maxlen=256)
        self._last = 0.0

    async def watch(self, observe: Callable[[float], None] = lambda _: None) -> None:
        """Sample until cancelled. Each sample calls `observe` with the lag in seconds."""
        while True:
            self._due = self._clock.monotonic() + self.INTERVAL
            await self._clock.sleep(self.INTERVAL)
            now = self._clock.monotonic()
            self._last = late = max(0.0, now - self._due)
            if late > self.INTERVAL / 10:
                self._late.append((now, late, self.blame(late)))
            observe(late)

    async def on_time(self) -> None:
        """Return as soon as the loop is on time."""
        while max(self._last, self.overdue()) >= self.ON_TIME:
            await self._clock.sleep(self.INTERVAL)

    def overdue(self) -> float:
        """Return the seconds by which the loop is late by now. May be called from any thread."""
        return max(0.0, self._clock.monotonic() - self._due)

    def blocked(self, since: float) -> float:
        """Return the seconds since then (on the monotonic clock) for which the loop was blocked."""
        now = self._clock.monotonic()
        blocked = min(self.overdue(), now - since)
        return blocked + sum(min(late, at - since) for at, late, _ in self._stops(since))

    def culprit(self, since: float) -> str:
        """Return who has blocked the loop for longest since then; empty where that is not known."""
        known = [(late, who) for _, late, who in self._stops(since) if who]
        return max(known)[1] if known else ""

    def _stops(self, since: float) -> Iterator[tuple[float, float, str]]:
        """Return the stops that ended since then, the latest first."""
        return takewhile(lambda stop: stop[0] > since, reversed(self._late))
