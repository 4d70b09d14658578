"""OTLP out of the daemon: kept runs as traces, the board as metrics, over HTTP.

Nothing here stops the event loop for more than some milliseconds: Results are queued as they are,
and turned into spans, encoded and compressed slice by slice.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable

import anyio
import httpx2
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from opentelemetry.sdk.trace import ReadableSpan

from probed import __version__
from probed.clock import Clock
from probed.fields import Tls
from probed.http.client import Transport
from probed.model import Result
from probed.net import Network, TlsOptions
from probed.redact import Redactor
from probed.telemetry.board import Board
from probed.telemetry.lane import BODY_LIMIT, Encoded, Lane
from probed.telemetry.otlp import MetricsView
from probed.telemetry.sdk import sdk_resource
from probed.telemetry.settings import ExportSettings, Signal
from probed.telemetry.spans import Spans, count_spans, encode_spans

SPAN_LIMIT = 8192
"""Spans that wait to be encoded."""
BATCH = 512
"""Spans of one request; so many are sent before the flush interval has passed."""
SLICE = 100
"""Spans that are encoded at a time, some 2.5 ms."""
POINTS = 5000
"""Metric points of one request."""


class Exporter:
    """Takes kept Results, and sends them and the board's metrics until it is drained.

    `connect` makes the HTTP client of a signal; `jitter` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: ExportSettings,
        board: Board,
        clock: Clock,
        connect: Callable[[Signal], httpx2.AsyncClient],
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._own = board.own
        self._clock = clock
        resource = sdk_resource(board.resource)
        self._spans = Spans(resource)
        self._view = MetricsView(board, resource)
        self._results: deque[tuple[Result, int]] = deque()
        self._pending = 0
        self._arrived = anyio.Event()
        self._full = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._collecting: anyio.CancelScope | None = None
        self._collected = anyio.Event()
        self._finished: anyio.Event | None = None
        lanes = {
            signal.name: Lane(signal, connect(signal), board.own, clock, jitter)
            for signal in settings.signals
        }
        self._traces, self._metrics = lanes.get("traces"), lanes.get("metrics")
        self._lanes = tuple(lanes.values())

    def take(self, result: Result) -> None:
        """Queue the spans of a Result, if its trace is kept; the oldest go where there is no room."""
        count = count_spans(result) if self._traces is not None else 0
        if not count:
            return
        self._results.append((result, count))
        self._pending += count
        while self._pending > SPAN_LIMIT:
            _, lost = self._results.popleft()
            self._pending -= lost
            self._own.exported("traces", "dropped", lost, "queue_full")
        self._arrived.set()
        if self._pending >= BATCH:
            self._full.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Send until `drain` is called."""
        self._finished = anyio.Event()
        self._collecting = collecting = anyio.CancelScope()
        try:
            with anyio.CancelScope() as self._scope:
                async with anyio.create_task_group() as tasks:
                    for lane in self._lanes:
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
                    if self._traces is not None:
                        tasks.start_soon(self._send_traces, self._traces)
                    if self._metrics is not None:
                        tasks.start_soon(self._send_metrics, self._metrics)
        finally:
            self._collected.set()

    async def drain(self, seconds: float = 3.0) -> None:
        """Hand over what is left, for so long at most, and end `run`. What cannot be is counted."""
        with anyio.move_on_after(seconds, shield=True):
            if self._collecting is not None:
                self._collecting.cancel()
                await self._collected.wait()
            if self._traces is not None:
                await self._encode_spans(self._traces)
            if self._metrics is not None:
                await self._encode_metrics(self._metrics)
            for lane in self._lanes:
                lane.hurry()
            if self._finished is not None:
                await self._finished.wait()
            # Where `run` was never begun, or was cancelled, the lanes have not come to their end.
            async with anyio.create_task_group() as tasks:
                for lane in self._lanes:
                    tasks.start_soon(lane.run)
        if self._scope is not None:
            self._scope.cancel()
        with anyio.move_on_after(1, shield=True):
            if self._finished is not None:
                await self._finished.wait()
            for lane in self._lanes:
                lane.abandon()
                await lane.close()

    async def _send_traces(self, lane: Lane) -> None:
        while True:
            await self._arrived.wait()
            await self._rest(self._settings.flush_interval)
            with anyio.CancelScope(shield=True):
                await self._encode_spans(lane)

    async def _rest(self, seconds: float) -> None:
        """That long, or until a whole batch waits."""
        async with anyio.create_task_group() as tasks:

            async def sleep() -> None:
                await self._clock.sleep(seconds)
                tasks.cancel_scope.cancel()

            tasks.start_soon(sleep)
            await self._full.wait()
            tasks.cancel_scope.cancel()

    async def _send_metrics(self, lane: Lane) -> None:
        interval = self._settings.metrics_interval
        due = self._clock.monotonic() + interval
        while True:
            await self._clock.sleep(due - self._clock.monotonic())
            due = max(due, self._clock.monotonic()) + interval
            await self._encode_metrics(lane)

    async def _encode_spans(self, lane: Lane) -> None:
        self._arrived, self._full = anyio.Event(), anyio.Event()
        while self._results:
            body = _Body(gzip=lane.signal.gzip)
            while self._results and body.items < BATCH:
                spans: list[ReadableSpan] = []
                while self._results and len(spans) < SLICE:
                    result, count = self._results.popleft()
                    self._pending -= count
                    spans += self._spans.of(result)
                body.add(encode_spans(spans), len(spans))
                await checkpoint()
            lane.put(body.end())

    async def _encode_metrics(self, lane: Lane) -> None:
        body = _Body(gzip=lane.signal.gzip)
        for part in self._view.collect(self._clock.time()):
            body.add(self._view.encode(part), part.count)
            if body.items >= POINTS:
                lane.put(body.end())
                body = _Body(gzip=lane.signal.gzip)
            await checkpoint()
        if body.items:
            lane.put(body.end())


class _Body:
    """Encoded slices, joined and compressed as they come."""

    def __init__(self, *, gzip: bool) -> None:
        self.items = 0
        self._parts: list[bytes] = []
        self._deflate = zlib.compressobj(1, wbits=31) if gzip else None

    def add(self, data: bytes, items: int) -> None:
        self.items += items
        self._parts.append(data if self._deflate is None else self._deflate.compress(data))

    def end(self) -> Encoded:
        if self._deflate is not None:
            self._parts.append(self._deflate.flush())
        return Encoded(b"".join(self._parts), self.items)


class _ExporterTls(Tls):
    """As a probe's, and with a client certificate, which the standard variables can name."""

    certificate: str | None = None
    key: str | None = None

    @property
    def options(self) -> TlsOptions:
        return TlsOptions(
            ca=None if self.ca is None else str(self.ca),
            certificate=self.certificate,
            key=self.key,
        )


def make_client(
    signal: Signal, network: Network, clock: Clock, redactor: Redactor
) -> httpx2.AsyncClient:
    """A client on the daemon's own dialer: no proxies, no redirects, nothing of the environment."""
    tls = _ExporterTls(
        ca=signal.ca,
        certificate=None if signal.certificate is None else str(signal.certificate),
        key=None if signal.key is None else str(signal.key),
    )
    transport = Transport(network, clock, redactor, tls=tls, body_limit=BODY_LIMIT)
    return httpx2.AsyncClient(
        transport=transport,
        headers={"User-Agent": f"probed/{__version__}"},
        trust_env=False,
        timeout=None,
        follow_redirects=False,
    )
