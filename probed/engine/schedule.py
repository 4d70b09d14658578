"""When each check is due (pure), and the loop that starts runs when they are.

The cadence is fixed on the monotonic clock, at an offset that is a hash of the check's name: a
restart or a reload neither bunches runs nor moves them. A tick that comes due while its check still
runs, or waits for a free place, is counted as missed, not queued; ticks that the loop is too late for
are not caught up in a burst.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from math import floor
from typing import Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from probed.clock import Clock
from probed.config import Check
from probed.engine.stalls import CHECK
from probed.model import Result

LATE = 1.0
"""Seconds after which a tick that was not run is passed over. After a stop of the process all checks
are late, and running them at once would be a burst on what they watch.
"""
SOON = 60.0
"""Seconds within which a check of a longer interval runs first, or again after it was passed over;
spread like the intervals themselves.
"""


def offset(name: str, interval: float) -> float:
    """Return when in its interval the check is due, in seconds: 0 <= offset < interval."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * interval


def next_due(after: float, interval: float, phase: float) -> float:
    """Return the first time on the check's grid that is later than `after`."""
    due = (floor((after - phase) / interval) + 1) * interval + phase
    return due if due > after else due + interval


def first_due(after: float, interval: float, phase: float) -> float:
    """Return when a check is first due that has not run lately: on its grid, or earlier where that
    would be a long wait.
    """
    due = next_due(after, interval, phase)
    return due if interval <= SOON else min(due, after + phase / interval * SOON)


Execute: TypeAlias = Callable[[Check, Callable[[], None]], Awaitable[Result]]
"""Runs a check once; calls the second argument when it has a free place and begins."""


class Observer(Protocol):
    """Receives what the scheduler measures of itself."""

    def late(self, seconds: float) -> None:
        """A run started that long after it was due."""

    def missed(self, reason: str, count: int = 1) -> None:
        """Ticks were not run: `overlap`, `limit` (no free place), `late` (the loop was stopped) or
        `drained`.
        """


class Ended:
    """The end of one run that was asked for; `result` is None where it was cancelled."""

    __slots__ = ("event", "result")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.result: Result | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """A check as it is scheduled. `scope` is that of the run that goes on or waits for a place."""

    check: Check
    phase: float
    scope: anyio.CancelScope | None = None
    begun: bool = False
    removed: bool = False

    def end(self) -> None:
        """Never run again; a run that goes on is cancelled."""
        self.removed = True
        if self.scope is not None:
            self.scope.cancel()


@dataclass(slots=True)
class Scheduler:
    """Starts `execute` for each check when it is due. One task; runs are its children."""

    clock: Clock
    execute: Execute
    observer: Observer
    drained: bool = False
    _entries: dict[str, Entry] = field(default_factory=dict)
    _heap: list[tuple[float, int, Entry]] = field(default_factory=list)
    _serial: int = 0
    _runs: TaskGroup | None = None
    _sleep: anyio.CancelScope | None = None
    _ended: anyio.Event | None = None

    def add(
        self, checks: Iterable[Check], *, rested: Callable[[Check], bool] = lambda _: True
    ) -> None:
        """Schedule checks; disabled ones are passed over. A check of a name that is already scheduled
        replaces that one. `rested` says which of them have not run for an interval or more.
        """
        now = self.clock.monotonic()
        for check in checks:
            self.remove(check.name)
            if check.enabled:
                phase = offset(check.name, check.interval)
                entry = self._entries[check.name] = Entry(check, phase)
                begin = first_due if rested(check) else next_due
                self._push(begin(now, check.interval, phase), entry)
        if len(self._heap) > 2 * len(self._entries) + 100:
            self._heap = [item for item in self._heap if not item[2].removed]
            heapq.heapify(self._heap)
        self._wake()

    def remove(self, name: str) -> None:
        """Forget a check; a run of it that goes on is cancelled."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            entry.end()

    def drain(self) -> None:
        """Start no runs until `resume`, and cancel those that go on."""
        self.drained = True
        for entry in self._entries.values():
            if entry.scope is not None:
                entry.scope.cancel()

    def resume(self) -> None:
        """Run again what comes due."""
        self.drained = False

    async def now(self, name: str) -> Result | None:
        """Run the check as soon as possible, beside its cadence, and return the result of that run;
        None where the check is not scheduled, or its run was cancelled by a reload or a drain.
        """
        while True:
            entry = self._entries.get(name)
            if entry is None or self._runs is None or self.drained:
                return None
            if entry.scope is None:
                break
            await self._next_end()
        ended = Ended()
        self._start(self._runs, entry, self.clock.monotonic(), ended)
        await ended.event.wait()
        return ended.result

    async def run(self) -> None:
        """Start runs as they come due, until cancelled; then the runs are cancelled too."""
        async with anyio.create_task_group() as runs:
            self._runs = runs
            while True:
                now = self.clock.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    due, _, entry = heapq.heappop(self._heap)
                    if not entry.removed:
                        self._tick(runs, entry, due, now)
                # Shorter sleeps than a millisecond would have the loop spin.
                rest = (
                    max(0.001, self._heap[0][0] - self.clock.monotonic()) if self._heap else 3600.0
                )
                with anyio.CancelScope() as self._sleep:
                    await self.clock.sleep(rest)
                self._sleep = None

    def overdue(self) -> float:
        """Seconds since the next run should have been started; 0 while all is on time."""
        if not self._heap:
            return 0.0
        return max(0.0, self.clock.monotonic() - self._heap[0][0])

    def _push(self, due: float, entry: Entry) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, entry))

    def _wake(self) -> None:
        if self._sleep is not None:
            self._sleep.cancel()

    async def _next_end(self) -> None:
        if self._ended is None:
            self._ended = anyio.Event()
        await self._ended.wait()

    def _tick(self, runs: TaskGroup, entry: Entry, due: float, now: float) -> None:
        interval = entry.check.interval
        following = next_due(now, interval, entry.phase)
        late = now - due > LATE
        # One that was moved forward (`first_due`) lies off the grid.
        lost = max(0, round((following - due) / interval) - 1) + late
        if late:
            following = first_due(now, interval, entry.phase)
        self._push(following, entry)
        if lost:
            self.observer.missed("late", lost)
        if late:
            return
        if self.drained:
            self.observer.missed("drained")
        elif entry.scope is not None:
            self.observer.missed("overlap" if entry.begun else "limit")
        else:
            self._start(runs, entry, due)

    def _start(self, runs: TaskGroup, entry: Entry, due: float, ended: Ended | None = None) -> None:
        entry.scope = scope = anyio.CancelScope()
        runs.start_soon(self._run_entry, entry, scope, due, ended, name=CHECK + entry.check.name)

    def _begin(self, entry: Entry, due: float) -> None:
        entry.begun = True
        self.observer.late(max(0.0, self.clock.monotonic() - due))

    async def _run_entry(
        self, entry: Entry, scope: anyio.CancelScope, due: float, ended: Ended | None
    ) -> None:
        result = None
        try:
            with scope:
                if not scope.cancel_called:  # before its first step
                    result = await self.execute(entry.check, partial(self._begin, entry, due))
        finally:
            entry.scope, entry.begun = None, False
            if ended is not None:
                ended.result = result
                ended.event.set()
            if self._ended is not None:
                self._ended.set()
                self._ended = None
