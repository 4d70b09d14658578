"""Spool of requests: on disk in the state directory, in memory without one.

There are three lanes: `fail` has the traces of runs that were not ok, `ok` those of healthy runs,
`metrics` the points of the board. Each is a queue with its own limit, so a flood in one lane takes
no space from the others; when a lane is full, the oldest request is dropped and counted. After
`Queue.put` has returned, its requests survive a kill and, if the disk honours fsync, a power loss.
Delivery is at least once.

Disk access happens in one thread, so the event loop never waits for it. If the disk fails, requests
stay in memory and are written with the next `put` that succeeds. The directory is locked: a second
daemon uses memory until the first one has ended.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from probed.clock import Clock
from probed.config.telemetry import Spool as Limits
from probed.telemetry.daemon_metrics import DaemonMetrics
from probed.telemetry.settings import SignalName
from probed.telemetry.spool_memory import Memory
from probed.telemetry.spool_records import Encoded
from probed.telemetry.spool_segments import Segments

log = logging.getLogger("probed.spool")
T = TypeVar("T")

FAIL, OK, METRICS = LANES = ("fail", "ok", "metrics")
SIGNALS: Mapping[str, SignalName] = {FAIL: "traces", OK: "traces", METRICS: "metrics"}
MEMORY = {FAIL: 6 << 20, OK: 2 << 20, METRICS: 8 << 20}
"""Limits in bytes of the lanes in memory: 8 MiB for each signal."""
METRICS_AGE = 7200.0
"""Seconds after which metrics are dropped: few backends accept older ones."""
RETRY = 60.0
"""Seconds between attempts to open a directory that could not be used."""
DIRECTORY, LOCK = "spool", "lock"


class Queue:
    """Queue of one lane. Coroutine methods may wait for the disk."""

    def __init__(self, lane: str, spool: Spool, limit: int, age: float) -> None:
        self.lane = lane
        self.signal = SIGNALS[lane]
        self.limit = limit
        self.age = age
        self.disk: Segments | None = None
        self._spool = spool
        self._memory = Memory(MEMORY[lane], self._lose)
        self._failing = False
        self._using = anyio.Lock()

    @property
    def size(self) -> int:
        """Bytes in the queue."""
        return self._memory.size + (0 if self.disk is None else self.disk.size)

    def status(self) -> tuple[float, float, float]:
        """Return the bytes in the queue, its limit, and the age of the oldest request in seconds."""
        disk, memory = self.disk, self._memory
        oldest = None if disk is None else disk.oldest
        if oldest is None and memory.requests:
            oldest = memory.requests[0].at
        limit = memory.limit if disk is None or self._failing else disk.limit
        return self.size, limit, 0.0 if oldest is None else max(0.0, self._spool.now() - oldest)

    async def put(self, requests: Sequence[Encoded], *, lasting: bool = True) -> None:
        """Queue requests: on disk, with those in memory, unless `lasting` is false."""
        with anyio.CancelScope(shield=True):
            if lasting:
                await self._spool.open()
            async with self._using:
                if not lasting or not await self._spill(requests):
                    self._memory.put(requests)

    async def spill(self) -> None:
        """Write the requests in memory to disk."""
        if self._memory.requests:
            await self.put(())

    async def _spill(self, requests: Sequence[Encoded]) -> bool:
        disk, memory = self.disk, self._memory
        if disk is None:
            return False
        batch = [*memory.requests, *requests]
        held = memory.held

        def append() -> None:
            alone = not disk.size
            disk.append(batch)
            if alone and held is not None:
                disk.hold(held)

        try:
            await self._in_thread(append)
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._spool.daemon_metrics.spool_failed(self.lane)
                log.warning("spool: lane %s cannot be written (%s); using memory for now",
                            self.lane, error.strerror)  # fmt: skip
            return False
        if self._failing:
            self._failing = False
            log.info("spool: writing lane %s to disk again", self.lane)
        memory.clear()
        return True

    async def head(self) -> Encoded | None:
        """Return the oldest request; the same one until `sent` is called or it is dropped."""
        found = None
        with anyio.CancelScope(shield=True):
            async with self._using:
                since, disk = self._spool.now() - self.age, self.disk
                self._memory.release()
                if disk is not None and disk.size:
                    found = await self._in_thread(lambda: disk.head(since))
                if found is None:
                    found = self._memory.head(since)
        return found

    async def sent(self) -> None:
        """Remove the request that `head` returned."""
        with anyio.CancelScope(shield=True):
            async with self._using:
                if self._memory.held is not None or self.disk is None:
                    self._memory.sent()
                else:
                    await self._in_thread(self.disk.sent)

    async def resize(self, limit: int, age: float) -> None:
        """Change the limit, in bytes, and the maximum age, in seconds."""
        async with self._using:
            before, disk = self.limit, self.disk
            self.limit, self.age = limit, age
            if disk is not None and limit != before:
                await self._in_thread(lambda: disk.resize(limit))

    async def close(self) -> int:
        """Write the rest to disk. Return how many items were dropped because that failed."""
        async with self._using:
            memory = self._memory
            memory.release()
            left = 0
            if not memory.requests or not await self._spill(()):
                left = sum(request.items for request in memory.requests)
                while memory.requests:
                    memory.drop("shutdown")
            if self.disk is not None:
                await self._in_thread(self.disk.close)
                self.disk = None
            return left

    async def _in_thread(self, call: Callable[[], T]) -> T:
        disk = self.disk
        assert disk is not None
        try:
            return await self._spool.in_thread(call)
        finally:
            self.count_lost(disk)

    def count_lost(self, disk: Segments) -> None:
        """Count the items that the segments have dropped."""
        lost, disk.lost = disk.lost, []
        for items, why in lost:
            self._lose(items, why)

    def _lose(self, items: int, why: str) -> None:
        self._spool.daemon_metrics.exported(self.signal, "dropped", items, why)


class Spool:
    """Queues of all lanes, in `state_dir/spool`, or in memory if that is None or cannot be used."""

    def __init__(
        self, state_dir: Path | None, limits: Limits, daemon_metrics: DaemonMetrics, clock: Clock
    ) -> None:
        self.daemon_metrics = daemon_metrics
        self.queues = {
            lane: Queue(lane, self, limit, age) for lane, (limit, age) in _rules(limits).items()
        }
        self._directory = None if state_dir is None else state_dir / DIRECTORY
        self._clock = clock
        self._ahead = clock.time() - clock.monotonic()
        self._thread = anyio.CapacityLimiter(1)
        self._opening = anyio.Lock()
        self._lock: int | None = None
        self._due = float("-inf")
        self._warned = False
        daemon_metrics.spool = lambda: {lane: queue.status() for lane, queue in self.queues.items()}

    def now(self) -> float:
        """Return seconds since the epoch on a clock that does not jump: correcting the wall clock must
        not expire requests.
        """
        return self._clock.monotonic() + self._ahead

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run a function in the spool's thread."""
        return await anyio.to_thread.run_sync(call, limiter=self._thread)

    async def open(self) -> None:
        """Open the directory, or try again after `RETRY`."""
        directory = self._directory
        if self._lock is not None or (directory is None and self._warned):
            return
        async with self._opening:
            if self._lock is not None or self._clock.monotonic() < self._due:
                return
            self._due = self._clock.monotonic() + RETRY
            if directory is None:
                self._warned = True
                log.info("no state directory: unsent telemetry is stored in memory only")
                return
            limits = {lane: queue.limit for lane, queue in self.queues.items()}
            try:
                with anyio.CancelScope(shield=True):
                    self._lock, lanes = await self.in_thread(lambda: _open(directory, limits))
            except OSError as error:
                if not self._warned:
                    locked = isinstance(error, BlockingIOError)
                    log.warning(
                        "spool: %s %s; unsent telemetry is stored in memory only", directory,
                        "is in use by another probed" if locked
                        else f"cannot be used ({error.strerror})",
                    )  # fmt: skip
                self._warned = True
                return
            if self._warned:
                log.info("spool: using %s now", directory)
            for lane, disk in lanes.items():
                self.queues[lane].disk = disk
                self.queues[lane].count_lost(disk)

    async def resize(self, limits: Limits) -> None:
        """Change the limits of all lanes."""
        for lane, (limit, age) in _rules(limits).items():
            await self.queues[lane].resize(limit, age)

    async def close(self) -> None:
        """Write the rest to disk for the next process, and unlock the directory."""
        for queue in self.queues.values():
            left = await queue.close()
            if left:
                log.warning("spool: lane %s dropped %d items at shutdown", queue.lane, left)
        lock, self._lock = self._lock, None
        self._due = float("-inf")
        if lock is not None:
            os.close(lock)


def _rules(limits: Limits) -> Mapping[str, tuple[int, float]]:
    """Return the limit in bytes and the maximum age in seconds, by lane."""
    return {
        FAIL: (limits.fail, limits.age),
        OK: (limits.ok, limits.age),
        METRICS: (limits.metrics, min(limits.age, METRICS_AGE)),
    }


def _open(directory: Path, limits: Mapping[str, int]) -> tuple[int, dict[str, Segments]]:
    """Lock the directory and return the lock's descriptor and the segments by lane. Raises OSError;
    BlockingIOError if another process has locked it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock, {lane: Segments(directory / lane, limit) for lane, limit in limits.items()}
    except OSError:
        with suppress(OSError):
            os.close(lock)
        raise
