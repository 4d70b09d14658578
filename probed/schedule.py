"""When each check is due (pure), and the loop that starts runs when they are.

The cadence is fixed on the monotonic clock, at an offset that is a hash of the check's name: a
restart or a reload neither bunches runs nor moves them. What comes due while its check still runs
or waits is counted as missed, not queued.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from math import floor
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from probed.clock import Clock
from probed.config import Check


def offset(name: str, interval: float) -> float:
    """Where in the interval the check is due, in seconds: 0 <= offset < interval."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * interval


def next_due(after: float, interval: float, phase: float) -> float:
    """The first time on the check's grid that is later than `after`."""
    due = (floor((after - phase) / interval) + 1) * interval + phase
    return due if due > after else due + interval


class Observer(Protocol):
    """What the scheduler tells of itself."""

    def late(self, seconds: float) -> None:
        """A run started that long after it was due."""

    def missed(self, reason: str, count: int = 1) -> None:
        """Ticks were not run: `overlap`, `limit` (no free place) or `late` (the loop was stopped)."""

    def occupied(self, running: int, waiting: int) -> None:
        """So many runs go on, and so many wait for a place."""


@dataclass(slots=True)
class Entry:
    """A check as it is scheduled."""

    check: Check
    phase: float
    host: str
    running: bool = False
    waiting_since: float | None = None
    removed: bool = False


@dataclass(slots=True)
class Limits:
    """How many runs may go on at the same time: in all, and of one host."""

    total: int = 100
    per_host: int = 10


@dataclass(slots=True)
class Scheduler:
    """Starts `execute(check)` for each check when it is due. One task; runs are its children."""

    clock: Clock
    execute: Callable[[Check], Awaitable[None]]
    observer: Observer
    limits: Limits = field(default_factory=Limits)
    _heap: list[tuple[float, int, Entry]] = field(default_factory=list)
    _serial: int = 0
    _running: int = 0
    _by_host: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, deque[Entry]] = field(default_factory=dict)
    _queued: int = 0

    def add(self, checks: Iterable[Check]) -> None:
        """Schedule checks; disabled ones are passed over."""
        now = self.clock.monotonic()
        for check in checks:
            if check.enabled:
                phase = offset(check.name, check.interval)
                entry = Entry(check, phase, check.probe.host)
                self._push(next_due(now, check.interval, phase), entry)

    async def run(self) -> None:
        """Start runs as they come due, until cancelled; then the runs are cancelled too."""
        async with anyio.create_task_group() as runs:
            while True:
                now = self.clock.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    due, _, entry = heapq.heappop(self._heap)
                    self._tick(runs, entry, due, now)
                if not self._heap:
                    await anyio.sleep_forever()
                # Shorter sleeps than a millisecond would have the loop spin.
                await self.clock.sleep(max(0.001, self._heap[0][0] - self.clock.monotonic()))

    def overdue(self) -> float:
        """Seconds since the next run should have been started; 0 while all is on time."""
        if not self._heap:
            return 0.0
        return max(0.0, self.clock.monotonic() - self._heap[0][0])

    def _push(self, due: float, entry: Entry) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, entry))

    def _tick(self, runs: TaskGroup, entry: Entry, due: float, now: float) -> None:
        interval = entry.check.interval
        following = next_due(now, interval, entry.phase)
        self._push(following, entry)
        skipped = round((following - due) / interval) - 1
        if skipped > 0:
            self.observer.missed("late", skipped)
        if entry.waiting_since is not None:
            self.observer.missed("limit")
        elif entry.running:
            self.observer.missed("overlap")
        elif self._free(entry):
            self._start(runs, entry, due, now)
        else:
            entry.waiting_since = due
            self._waiting.setdefault(entry.host, deque()).append(entry)
            self._queued += 1
            self.observer.occupied(self._running, self._queued)

    def _free(self, entry: Entry) -> bool:
        return (
            self._running < self.limits.total and self._by_host[entry.host] < self.limits.per_host
        )

    def _start(self, runs: TaskGroup, entry: Entry, due: float, now: float) -> None:
        entry.running = True
        entry.waiting_since = None
        self._running += 1
        self._by_host[entry.host] += 1
        self.observer.late(max(0.0, now - due))
        self.observer.occupied(self._running, self._queued)
        runs.start_soon(self._execute, runs, entry)

    async def _execute(self, runs: TaskGroup, entry: Entry) -> None:
        try:
            await self.execute(entry.check)
        finally:
            entry.running = False
            self._running -= 1
            self._by_host[entry.host] -= 1
            if not self._by_host[entry.host]:
                del self._by_host[entry.host]
            self.observer.occupied(self._running, self._queued)
        self._admit(runs)

    def _admit(self, runs: TaskGroup) -> None:
        """Give the free places to those that wait, as the limits of their hosts allow."""
        for host in list(self._waiting):
            queue = self._waiting[host]
            while queue and self._free(queue[0]):
                entry = queue.popleft()
                self._queued -= 1
                now = self.clock.monotonic()
                due = now if entry.waiting_since is None else entry.waiting_since
                self._start(runs, entry, due, now)
            if not queue:
                del self._waiting[host]
            if self._running >= self.limits.total:
                return
