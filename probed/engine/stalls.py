"""Who blocked the event loop: a thread looks at what the loop's thread does while the loop is late."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

import anyio
from anyio import CapacityLimiter, to_thread

from probed.clock import Clock

log = logging.getLogger("probed.engine")

LATE = 0.1
"""Seconds by which the loop must be late before somebody is blamed."""
CHECK = "check "
"""Prefix of the names of tasks that run a check."""
QUIET = 60.0
"""Seconds between two log lines about the same culprit."""
CULPRITS = 1000
"""Maximum number of culprits that are remembered."""


class Stall(NamedTuple):
    """Who held the loop: the check, or empty where it was none, and where in the code that was."""

    check: str
    place: str

    def __str__(self) -> str:
        return f"{(self.check and f'check {self.check}') or 'probed itself'} ({self.place})"


class _Sample(NamedTuple):
    task: int
    name: str
    place: str


class Stalls:
    """Finds who blocked the event loop. `overdue` returns the seconds by which it is late now; `count` is
    called with the check of each stall.
    """

    def __init__(
        self, clock: Clock, overdue: Callable[[], float], count: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._overdue = overdue
        self._count = count
        self._sample: _Sample | None = None
        self._told: dict[str, float] = {}

    async def run(self) -> None:
        """Watch the running loop from a thread, until cancelled."""
        loop, ident, ended = asyncio.get_running_loop(), threading.get_ident(), threading.Event()
        try:
            await to_thread.run_sync(
                self._watch, loop, ident, ended, abandon_on_cancel=True, limiter=CapacityLimiter(1)
            )
        finally:
            ended.set()

    def blame(self, seconds: float) -> str:
        """Return who blocked the loop for so many seconds, or nothing where nobody was seen. Called when
        it goes on.
        """
        sample, self._sample = self._sample, None
        if sample is None or seconds < LATE:
            return ""
        stall = Stall(_check_of(sample), sample.place)
        self._count(stall.check)
        self._tell(stall, seconds)
        return str(stall)

    def _tell(self, stall: Stall, seconds: float) -> None:
        now = self._clock.monotonic()
        if now - self._told.get(stall.check, -QUIET) < QUIET:
            return
        if len(self._told) >= CULPRITS:
            self._told.clear()
        self._told[stall.check] = now
        log.warning(
            "the event loop was blocked for %.2f s by %s; other runs were late", seconds, stall
        )

    def _watch(self, loop: asyncio.AbstractEventLoop, ident: int, ended: threading.Event) -> None:
        while not ended.wait(LATE):
            if self._overdue() < LATE:
                continue
            frame = sys._current_frames().get(ident)  # noqa: SLF001  # documented, for debuggers
            task = asyncio.current_task(loop)
            if frame is not None and task is not None:
                code = frame.f_code
                file = code.co_filename.rpartition("/")[2]
                place = f"{file}:{frame.f_lineno} in {code.co_name}"
                self._sample = _Sample(id(task), task.get_name(), place)


def _check_of(sample: _Sample) -> str:
    """Return the check that the task runs for, itself or as a child of the check's task."""
    if sample.name.startswith(CHECK):
        return sample.name.removeprefix(CHECK)
    known = {task.id: task for task in anyio.get_running_tasks()}
    task = known.get(sample.task)
    while task is not None and task.parent_id is not None:
        task = known.get(task.parent_id)
        if task is not None and task.name is not None and task.name.startswith(CHECK):
            return task.name.removeprefix(CHECK)
    return ""
