"""Virtual time."""

from __future__ import annotations

import asyncio
from bisect import insort

START = 1_767_225_600.0
"""Wall clock of a new FakeClock: 2026-01-01T00:00:00Z."""

ROUNDING = 1e-6
"""Ten sleeps of 0.1 s end within 1 s, whatever floating point says."""


class FakeClock:
    """A clock that stands still until `advance` is called.

    Sleeping tasks wake in the order of their due times, and at the same time in the order in which
    they went to sleep. After each wake-up tasks get `cycles` turns of the event loop, so a loop of
    sleeps runs as often as on a real clock.
    """

    def __init__(self, *, time: float = START, monotonic: float = 0.0, cycles: int = 20) -> None:
        self._monotonic = monotonic
        self._ahead = time - monotonic
        self._cycles = cycles
        self._count = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self._monotonic + self._ahead

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced that far; return at once if `seconds` is not positive."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._monotonic + seconds, self._count, future)
        insort(self._sleepers, entry)
        for count, watcher in self._watchers:
            if len(self._sleepers) >= count and not watcher.done():
                watcher.set_result(None)
        try:
            await future
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    @property
    def sleepers(self) -> int:
        """Number of sleeping tasks."""
        return len(self._sleepers)

    @property
    def next_due(self) -> float | None:
        """Monotonic time of the next wake-up; None if no task sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        if seconds < 0:
            raise ValueError("time does not go back; use jump() for the wall clock")
        end = self._monotonic + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end + ROUNDING:
            due, _, future = self._sleepers.pop(0)
            self._monotonic = max(self._monotonic, due)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self._monotonic = max(self._monotonic, end)
        await self.settle()

    def jump(self, wall_seconds: float) -> None:
        """Set the wall clock forward or back, without waking any task."""
        self._ahead += wall_seconds

    async def settle(self) -> None:
        """Let tasks run for `cycles` turns of the event loop, without advancing the time."""
        for _ in range(self._cycles):
            await asyncio.sleep(0)

    async def asleep(self, count: int = 1, *, patience: float = 5.0) -> None:
        """Wait until at least `count` tasks sleep, for tasks that do real I/O before.

        Raises TimeoutError after `patience` real seconds.
        """
        if len(self._sleepers) >= count:
            return
        watch = (count, asyncio.get_running_loop().create_future())
        self._watchers.append(watch)
        try:
            await asyncio.wait_for(watch[1], patience)
        finally:
            self._watchers.remove(watch)
