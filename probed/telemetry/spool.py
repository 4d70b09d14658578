"""What waits to be sent: on disk in the state directory, in memory where there is none.

Three lanes: `fail` has the traces that tell of trouble, `ok` those of healthy runs, `metrics` the
board's points. Each is a queue with a limit of its own, so that a flood in one takes no room of the
others; where there is no room the oldest goes, and is counted. Once `Queue.put` has returned, what
was put survives a kill and, as far as the disk keeps its word, a loss of power. It is sent at least
once.

The disk is touched in one thread, so the event loop never waits for it. Where it fails, what comes
is kept in memory, and goes to disk with the next `put` that succeeds. The directory is locked: a
second daemon keeps its own in memory until the first has ended.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from probed.clock import Clock
from probed.config.model import Spool as Limits
from probed.telemetry.daemon_metrics import DaemonMetrics
from probed.telemetry.settings import SignalName
from probed.telemetry.spool_records import Encoded
from probed.telemetry.spool_segments import Segments

log = logging.getLogger("probed.spool")
T = TypeVar("T")

FAIL, OK, METRICS = LANES = ("fail", "ok", "metrics")
SIGNALS: Mapping[str, SignalName] = {FAIL: "traces", OK: "traces", METRICS: "metrics"}
MEMORY = {FAIL: 6 << 20, OK: 2 << 20, METRICS: 8 << 20}
"""Bytes that wait in memory where they cannot wait on disk: 8 MiB of each signal."""
METRICS_AGE = 7200.0
"""Seconds after which metrics are of no use: few backends take older ones."""
RETRY = 60.0
"""Seconds between attempts to use a directory that could not be used."""
DIRECTORY, LOCK = "spool", "lock"


class Memory:
    """What waits in memory, oldest first. A request that is dropped while it is held counts as
    dropped when it is let go, unless it was sent.
    """

    def __init__(self, limit: int, lose: Callable[[int, str], None]) -> None:
        self.requests: deque[Encoded] = deque()
        self.limit = limit
        self.size = 0
        self.held: Encoded | None = None
        self._orphan: Encoded | None = None
        self._lose = lose

    def put(self, requests: Sequence[Encoded]) -> None:
        self.requests += requests
        self.size += sum(request.size for request in requests)
        while self.size > self.limit:
            self.drop("queue_full")

    def pop(self) -> Encoded:
        request = self.requests.popleft()
        self.size -= request.size
        return request

    def drop(self, why: str) -> None:
        request = self.pop()
        if request is self.held:
            self._orphan = request
        else:
            self._lose(request.items, why)

    def head(self, since: float) -> Encoded | None:
        """Hold the oldest request that is not from before `since`; those before are dropped."""
        self.release()
        while self.requests and self.requests[0].at < since:
            self.drop("too_old")
        self.held = self.requests[0] if self.requests else None
        return self.held

    def sent(self) -> None:
        if self.held is not None and self.requests and self.requests[0] is self.held:
            self.pop()
        self.held = self._orphan = None

    def release(self) -> None:
        if self._orphan is not None:
            self._lose(self._orphan.items, "queue_full")
        self.held = self._orphan = None

    def clear(self) -> None:
        self.requests.clear()
        self.size = 0
        self.held = None


class Queue:
    """One lane's requests. Methods that are coroutines may wait for the disk."""

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
        """Bytes that wait."""
        return self._memory.size + (0 if self.disk is None else self.disk.size)

    def seen(self) -> tuple[float, float, float]:
        """Bytes that wait, room for them, and how many seconds the oldest has waited."""
        disk, memory = self.disk, self._memory
        oldest = None if disk is None else disk.oldest
        if oldest is None and memory.requests:
            oldest = memory.requests[0].at
        room = memory.limit if disk is None or self._failing else disk.limit
        return self.size, room, 0.0 if oldest is None else max(0.0, self._spool.now() - oldest)

    async def put(self, requests: Sequence[Encoded], *, lasting: bool = True) -> None:
        """Queue them; on disk, together with what waits in memory, unless `lasting` is false."""
        with anyio.CancelScope(shield=True):
            if lasting:
                await self._spool.open()
            async with self._using:
                if not lasting or not await self._spill(requests):
                    self._memory.put(requests)

    async def spill(self) -> None:
        """Put on disk what waits in memory."""
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
                log.warning("spool: lane %s cannot be written (%s); it is kept in memory for now",
                            self.lane, error.strerror)  # fmt: skip
            return False
        if self._failing:
            self._failing = False
            log.info("spool: lane %s is written again", self.lane)
        memory.clear()
        return True

    async def head(self) -> Encoded | None:
        """The oldest request; the same one until `sent` is called or there is no room for it."""
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
        """The request that `head` gave is done with."""
        with anyio.CancelScope(shield=True):
            async with self._using:
                if self._memory.held is not None or self.disk is None:
                    self._memory.sent()
                else:
                    await self._in_thread(self.disk.sent)

    async def resize(self, limit: int, age: float) -> None:
        async with self._using:
            before, disk = self.limit, self.disk
            self.limit, self.age = limit, age
            if disk is not None and limit != before:
                await self._in_thread(lambda: disk.resize(limit))

    async def close(self) -> int:
        """What cannot be put on disk is dropped; returns how many items that was."""
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
            self.take_lost(disk)

    def take_lost(self, disk: Segments) -> None:
        """Count what the disk's part has dropped."""
        lost, disk.lost = disk.lost, []
        for items, why in lost:
            self._lose(items, why)

    def _lose(self, items: int, why: str) -> None:
        self._spool.daemon_metrics.exported(self.signal, "dropped", items, why)


class Spool:
    """The queues, in `state_dir/spool` or, where that is None or cannot be used, in memory."""

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
        self._told = False
        daemon_metrics.spool = lambda: {lane: queue.seen() for lane, queue in self.queues.items()}

    def now(self) -> float:
        """Seconds since the epoch on a clock that does not jump: a wall clock that is set right must
        not make all that waits too old.
        """
        return self._clock.monotonic() + self._ahead

    async def in_thread(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._thread)

    async def open(self) -> None:
        """Use the directory, if it can be; otherwise it is tried again after a while."""
        directory = self._directory
        if self._lock is not None or (directory is None and self._told):
            return
        async with self._opening:
            if self._lock is not None or self._clock.monotonic() < self._due:
                return
            self._due = self._clock.monotonic() + RETRY
            if directory is None:
                self._told = True
                log.info("no state directory: telemetry that cannot be sent waits in memory only")
                return
            limits = {lane: queue.limit for lane, queue in self.queues.items()}
            try:
                with anyio.CancelScope(shield=True):
                    self._lock, lanes = await self.in_thread(lambda: _open(directory, limits))
            except OSError as error:
                if not self._told:
                    held = isinstance(error, BlockingIOError)
                    log.warning(
                        "spool: %s %s; telemetry that cannot be sent waits in memory only", directory,
                        "is in use by another probed" if held
                        else f"cannot be used ({error.strerror})",
                    )  # fmt: skip
                self._told = True
                return
            if self._told:
                log.info("spool: %s is used now", directory)
            for lane, disk in lanes.items():
                self.queues[lane].disk = disk
                self.queues[lane].take_lost(disk)

    async def resize(self, limits: Limits) -> None:
        for lane, (limit, age) in _rules(limits).items():
            await self.queues[lane].resize(limit, age)

    async def close(self) -> None:
        """Leave to the next life what is left, and let go of the directory."""
        for queue in self.queues.values():
            left = await queue.close()
            if left:
                log.warning("%s: %d items could not be handed over at the end", queue.lane, left)
        lock, self._lock = self._lock, None
        self._due = float("-inf")
        if lock is not None:
            os.close(lock)


def _rules(limits: Limits) -> Mapping[str, tuple[int, float]]:
    """Bytes and seconds by lane."""
    return {
        FAIL: (limits.fail, limits.age),
        OK: (limits.ok, limits.age),
        METRICS: (limits.metrics, min(limits.age, METRICS_AGE)),
    }


def _open(directory: Path, limits: Mapping[str, int]) -> tuple[int, dict[str, Segments]]:
    """The locked file and the lanes' parts on disk. Raises OSError, BlockingIOError if another
    process has it.
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
