"""OTLP export over HTTP: sampled runs as traces, the board as metrics.

Nothing here blocks the event loop for more than some milliseconds: Results are queued unchanged,
then converted to spans, encoded and compressed in slices, and put into the spool.
"""

from __future__ import annotations

import random
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
from probed.telemetry.batch import Batch
from probed.telemetry.board import Board
from probed.telemetry.lane import Lane, rest
from probed.telemetry.otlp import MetricsView
from probed.telemetry.post import BODY_LIMIT, BODY_SHARE, Destination
from probed.telemetry.sdk import sdk_resource
from probed.telemetry.settings import ExportSettings, Signal, SignalName, sampled
from probed.telemetry.spans import Spans, count_spans, encode_spans
from probed.telemetry.spool import FAIL, METRICS, OK, Spool
from probed.text.redact import Redactor

SPAN_LIMIT = 8192
"""Maximum number of spans that wait to be encoded."""
BATCH = 512
"""Spans in one request; that many are sent before the flush interval has passed."""
SLICE = 100
"""Spans that are encoded at once, in some 2.5 ms."""
POINTS = 5000
"""Metric points in one request."""
SNAPSHOTS = 60.0
"""Seconds between two snapshots of the board while the collector is unreachable."""
ROUNDING = 1e-6

Connect: TypeAlias = "Callable[[Signal], httpx2.AsyncClient]"


class Exporter:
    """Exporter of sampled Results and the board's metrics, until it is drained.

    Pending requests are stored in `state_dir`, if set. `connect` creates the HTTP client of a
    signal; `jitter` returns numbers from 0 to 1.
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

    def enqueue(self, result: Result) -> None:
        """Queue the spans of a Result if its trace is sampled; drop the oldest if the queue is full."""
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
        """Wait until the spans of all queued Results are in the spool, where they survive a kill if it
        is on disk. Costs nothing if no spans are pending.
        """
        if not self._results and not self._flushing.locked():
            return
        with anyio.CancelScope(shield=True):
            async with self._flushing:
                await self._encode_spans()

    def apply(self, settings: ExportSettings, connect: Connect) -> None:
        """Switch to other settings. Queued requests go to the new destinations."""
        before, self._settings, self._connect = self._settings, settings, connect
        for lane in self._lanes.values():
            name = lane.queue.signal
            if getattr(before, name) != getattr(settings, name):
                if lane.destination is not None:
                    self._retired.append(lane.destination)
                lane.redirect(self._destination(name))
        self._changed.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Export until `drain` is called, starting with requests of an earlier process."""
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
        """Export pending telemetry within `seconds`, and end `run`. The rest stays on disk, or is
        counted as dropped.
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
            # If `run` was never started, or was cancelled, the lanes have not finished.
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
            # Counters are cumulative, so few snapshots are worth storing while the collector is away.
            if lane.failing and now - self._snapshot < SNAPSHOTS - ROUNDING:
                continue
            self._snapshot = now
            await self._encode_metrics()

    async def _encode_spans(self) -> None:
        self._arrived, self._full = anyio.Event(), anyio.Event()
        batches: dict[str, Batch] = {lane: self._batch("traces") for lane in (FAIL, OK)}
        left = len(self._results)
        while left > 0 and self._results:
            spans: dict[str, list[ReadableSpan]] = {FAIL: [], OK: []}
            count = 0
            while left > 0 and self._results and count < SLICE:
                result, size = self._results.popleft()
                self._pending -= size
                left -= 1
                count += size
                spans[self._lane_of(result)] += self._spans.of(result)
            for lane, some in spans.items():
                if some:
                    batches[lane].add(encode_spans(some), len(some), BATCH)
            await checkpoint()
        for lane, batch in batches.items():
            if requests := batch.end():
                await self._lanes[lane].put(*requests)

    def _lane_of(self, result: Result) -> str:
        """Return the lane: runs that were ok and sampled by ratio are dropped first."""
        good = result.outcome is Outcome.OK and result.previous is None
        return OK if good and sampled(result.trace_id, self._settings.trace_ratio) else FAIL

    def _batch(self, name: SignalName) -> Batch:
        signal = getattr(self._settings, name)
        return Batch(name, self._spool.now(), gzip=signal is None or signal.gzip)

    async def _encode_metrics(self) -> None:
        lane, batch = self._lanes[METRICS], self._batch("metrics")
        for part in self._view.collect(self._clock.time()):
            batch.add(self._view.encode(part), part.count, POINTS)
            await checkpoint()
        await lane.put(*batch.end(), lasting=lane.failing)


class _ExporterTls(Tls):
    """TLS options of the exporter; unlike those of probes they may have a client certificate."""

    given: TlsOptions

    @property
    def options(self) -> TlsOptions:
        return self.given


def make_client(
    signal: Signal, network: Network, clock: Clock, redactor: Redactor
) -> httpx2.AsyncClient:
    """Return a client on the daemon's dialer: no proxies, no redirects, no environment."""
    tls = _ExporterTls(given=signal.tls)
    transport = Transport(
        network, clock, redactor,
        tls=tls, body_limit=BODY_LIMIT, cut_after=BODY_SHARE * signal.timeout,
    )  # fmt: skip
    return httpx2.AsyncClient(
        transport=transport,
        headers={"User-Agent": f"probed/{__version__}"},
        trust_env=False,
        timeout=None,
        follow_redirects=False,
    )
