"""OTLP out of the daemon: kept runs as traces, the board as metrics, over HTTP.

Nothing here stops the event loop for more than some milliseconds: Results are queued as they are,
and turned into spans, encoded and compressed slice by slice, then handed to the spool.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import httpx2
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from opentelemetry.sdk.trace import ReadableSpan

from probed import __version__
from probed.clock import Clock
from probed.fields import Tls
from probed.http.client import Transport
from probed.model import Outcome, Result
from probed.net import Network, TlsOptions
from probed.telemetry.board import Board
from probed.telemetry.lane import Lane, rest
from probed.telemetry.otlp import MetricsView
from probed.telemetry.post import BODY_LIMIT, Destination
from probed.telemetry.sdk import sdk_resource
from probed.telemetry.settings import ExportSettings, Signal, SignalName, sampled
from probed.telemetry.spans import Spans, count_spans, encode_spans
from probed.telemetry.spool import FAIL, METRICS, OK, Spool
from probed.telemetry.spool_records import Encoded
from probed.text.redact import Redactor

SPAN_LIMIT = 8192
"""Spans that wait to be encoded."""
BATCH = 512
"""Spans of one request; so many are sent before the flush interval has passed."""
SLICE = 100
"""Spans that are encoded at a time, some 2.5 ms."""
POINTS = 5000
"""Metric points of one request."""
REQUEST_BYTES = 2 << 20
"""Bytes of one request before it is compressed; collectors take 4 MiB by default."""
SNAPSHOTS = 60.0
"""Seconds between two snapshots of the board that are kept while the collector cannot be reached."""
ROUNDING = 1e-6

Connect: TypeAlias = "Callable[[Signal], httpx2.AsyncClient]"


class Exporter:
    """Takes kept Results, and sends them and the board's metrics until it is drained.

    What waits is kept in `state_dir`, if there is one. `connect` makes the HTTP client of a signal;
    `jitter` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: ExportSettings,
        board: Board,
        clock: Clock,
        connect: Connect,
        *,
        state_dir: Path | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._daemon_metrics = board.daemon_metrics
        self._clock = clock
        self._connect = connect
        resource = sdk_resource(board.resource)
        self._spans = Spans(resource)
        self._view = MetricsView(board, resource)
        self._results: deque[tuple[Result, int]] = deque()
        self._pending = 0
        self._arrived = anyio.Event()
        self._full = anyio.Event()
        self._changed = anyio.Event()
        self._flushing = anyio.Lock()
        self._scope: anyio.CancelScope | None = None
        self._collecting: anyio.CancelScope | None = None
        self._collected = anyio.Event()
        self._finished: anyio.Event | None = None
        self._snapshot = -SNAPSHOTS
        self._spool = Spool(state_dir, settings.spool, board.daemon_metrics, clock)
        self._lanes = {
            lane: Lane(queue, self._destination(queue.signal), board.daemon_metrics, clock, jitter)
            for lane, queue in self._spool.queues.items()
        }
        self._retired: list[Destination] = []

    def _destination(self, name: SignalName) -> Destination | None:
        signal = getattr(self._settings, name)
        return None if signal is None else Destination(signal, self._connect(signal))

    def take(self, result: Result) -> None:
        """Queue the spans of a Result, if its trace is kept; the oldest go where there is no room."""
        count = count_spans(result) if self._settings.traces is not None else 0
        if not count:
            return
        self._results.append((result, count))
        self._pending += count
        while self._pending > SPAN_LIMIT:
            _, lost = self._results.popleft()
            self._pending -= lost
            self._daemon_metrics.exported("traces", "dropped", lost, "queue_full")
        self._arrived.set()
        if self._pending >= BATCH:
            self._full.set()

    async def flush(self) -> None:
        """Return when the spans of all Results taken so far wait where they survive a kill: on disk,
        if there is one. Costs nothing where there is nothing to do.
        """
        if not self._results and not self._flushing.locked():
            return
        with anyio.CancelScope(shield=True):
            async with self._flushing:
                await self._encode_spans()

    def apply(self, settings: ExportSettings, connect: Connect) -> None:
        """Go on with other settings. What is queued goes to the new destinations."""
        before, self._settings, self._connect = self._settings, settings, connect
        for lane in self._lanes.values():
            name = lane.queue.signal
            if getattr(before, name) != getattr(settings, name):
                if lane.destination is not None:
                    self._retired.append(lane.destination)
                lane.redirect(self._destination(name))
        self._changed.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Send until `drain` is called, first what an earlier life has left."""
        self._finished = anyio.Event()
        self._collecting = collecting = anyio.CancelScope()
        try:
            with anyio.CancelScope() as self._scope:
                await self._spool.open()
                async with anyio.create_task_group() as tasks:
                    for lane in self._lanes.values():
                        tasks.start_soon(lane.run)
                    tasks.start_soon(self._collect, collecting)
                    task_status.started()
        finally:
            self._collected.set()
            self._finished.set()

    async def _collect(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._send_traces)
                    tasks.start_soon(self._send_metrics)
        finally:
            self._collected.set()

    async def drain(self, seconds: float = 3.0) -> None:
        """Hand over what is left, for so long at most, and end `run`. What cannot be stays on disk,
        or is counted.
        """
        with anyio.move_on_after(seconds, shield=True):
            if self._collecting is not None:
                self._collecting.cancel()
                await self._collected.wait()
            await self._spool.open()
            await self.flush()
            if self._settings.metrics is not None:
                await self._encode_metrics()
            for lane in self._lanes.values():
                lane.hurry()
            if self._finished is not None:
                await self._finished.wait()
            # Where `run` was never begun, or was cancelled, the lanes have not come to their end.
            async with anyio.create_task_group() as tasks:
                for lane in self._lanes.values():
                    tasks.start_soon(lane.run)
        if self._scope is not None:
            self._scope.cancel()
        with anyio.CancelScope(shield=True):
            if self._finished is not None:
                await self._finished.wait()
            await self._spool.close()
            left = [lane.destination for lane in self._lanes.values()]
            for destination in (*self._retired, *left):
                if destination is not None:
                    await destination.client.aclose()

    async def _send_traces(self) -> None:
        while True:
            await self._arrived.wait()
            await rest(self._clock, self._settings.flush_interval, self._full)
            await self.flush()

    async def _send_metrics(self) -> None:
        lane = self._lanes[METRICS]
        last = self._clock.monotonic()
        while True:
            self._changed = anyio.Event()
            await self._spool.resize(self._settings.spool)
            if self._settings.metrics is None:
                await self._changed.wait()
                continue
            due = last + self._settings.metrics_interval
            await rest(self._clock, due - self._clock.monotonic(), self._changed)
            if self._changed.is_set():
                continue
            last = now = max(due, self._clock.monotonic())
            # Totals go on, so of a time without a collector few are worth their room.
            if lane.failing and now - self._snapshot < SNAPSHOTS - ROUNDING:
                continue
            self._snapshot = now
            await self._encode_metrics()

    async def _encode_spans(self) -> None:
        self._arrived, self._full = anyio.Event(), anyio.Event()
        batches: dict[str, _Batch] = {lane: self._batch("traces") for lane in (FAIL, OK)}
        left = len(self._results)
        while left > 0 and self._results:
            spans: dict[str, list[ReadableSpan]] = {FAIL: [], OK: []}
            count = 0
            while left > 0 and self._results and count < SLICE:
                result, held = self._results.popleft()
                self._pending -= held
                left -= 1
                count += held
                spans[self._lane_of(result)] += self._spans.of(result)
            for lane, some in spans.items():
                if some:
                    batches[lane].add(encode_spans(some), len(some), BATCH)
            await checkpoint()
        for lane, batch in batches.items():
            if requests := batch.end():
                await self._lanes[lane].put(*requests)

    def _lane_of(self, result: Result) -> str:
        """A run that was ok, and is kept by chance, can be spared first."""
        good = result.outcome is Outcome.OK and result.previous is None
        return OK if good and sampled(result.trace_id, self._settings.trace_ratio) else FAIL

    def _batch(self, name: SignalName) -> _Batch:
        signal = getattr(self._settings, name)
        return _Batch(name, self._spool.now(), gzip=signal is None or signal.gzip)

    async def _encode_metrics(self) -> None:
        lane, batch = self._lanes[METRICS], self._batch("metrics")
        for part in self._view.collect(self._clock.time()):
            batch.add(self._view.encode(part), part.count, POINTS)
            await checkpoint()
        await lane.put(*batch.end(), lasting=lane.failing)


class _Batch:
    """Encoded slices, joined to requests and compressed as they come."""

    def __init__(self, signal: SignalName, at: float, *, gzip: bool) -> None:
        self._signal: SignalName = signal
        self._at = at
        self._gzip = gzip
        self._requests: list[Encoded] = []
        self._begin()

    def _begin(self) -> None:
        self._items = self._plain = 0
        self._parts: list[bytes] = []
        self._deflate = zlib.compressobj(1, wbits=31) if self._gzip else None

    def add(self, data: bytes, items: int, limit: int) -> None:
        """A slice; a request has that many items, or is full, when it ends."""
        if self._items and self._plain + len(data) > REQUEST_BYTES:
            self._close()
        self._items += items
        self._plain += len(data)
        self._parts.append(data if self._deflate is None else self._deflate.compress(data))
        if self._items >= limit:
            self._close()

    def _close(self) -> None:
        if self._deflate is not None:
            self._parts.append(self._deflate.flush())
        body = b"".join(self._parts)
        self._requests.append(Encoded(self._signal, body, self._items, self._at, gzip=self._gzip))
        self._begin()

    def end(self) -> list[Encoded]:
        if self._items:
            self._close()
        return self._requests


class _ExporterTls(Tls):
    """A probe's settings cannot name a client certificate."""

    given: TlsOptions

    @property
    def options(self) -> TlsOptions:
        return self.given


def make_client(
    signal: Signal, network: Network, clock: Clock, redactor: Redactor
) -> httpx2.AsyncClient:
    """A client on the daemon's own dialer: no proxies, no redirects, nothing of the environment."""
    tls = _ExporterTls(given=signal.tls)
    transport = Transport(network, clock, redactor, tls=tls, body_limit=BODY_LIMIT)
    return httpx2.AsyncClient(
        transport=transport,
        headers={"User-Agent": f"probed/{__version__}"},
        trust_env=False,
        timeout=None,
        follow_redirects=False,
    )
