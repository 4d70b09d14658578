"""A lane sends to a real collector that misbehaves, on a test clock."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from probed.clock import SystemClock
from probed.config.telemetry import Spool as Limits
from probed.model import Outcome, Result
from probed.net import Network
from probed.telemetry.board import Board
from probed.telemetry.export import make_client
from probed.telemetry.lane import CATCH_UP, PAUSE, Lane
from probed.telemetry.otlp import MetricsView
from probed.telemetry.post import Destination, halves
from probed.telemetry.sdk import sdk_resource
from probed.telemetry.settings import Signal, SignalName
from probed.telemetry.spans import Spans, encode_spans
from probed.telemetry.spool import Spool
from probed.telemetry.spool_records import Encoded
from probed.testing import FakeClock
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio

ITEMS = "probed_export_items_total"
Make = Callable[..., Lane]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def destination(url: str, name: SignalName = "traces", timeout: float = 10.0) -> Destination:
    signal = Signal(name, f"{url}/v1/{name}", {}, timeout=timeout)
    return Destination(signal, make_client(signal, Network(), SystemClock(), Redactor()))


@pytest.fixture
def make(board: Board, clock: FakeClock) -> Make:
    def make(to: Destination | None, queue: str = "fail", jitter: float = 1.0) -> Lane:
        spool = Spool(None, Limits(), board.daemon_metrics, clock)
        return Lane(spool.queues[queue], to, board.daemon_metrics, clock, lambda: jitter)

    return make


@pytest.fixture
def encoded(
    board: Board, clock: FakeClock, result: Callable[..., Result]
) -> Callable[..., Encoded]:
    def encoded(count: int = 1, check: str = "mx") -> Encoded:
        spans = Spans(sdk_resource(board.resource))
        runs = [result(Outcome.FAILED, check=f"{check}{n}", phases=()) for n in range(count)]
        body = b"".join(encode_spans(spans.of(run)) for run in runs)
        return Encoded("traces", gzip.compress(body), count, clock.time(), gzip=True)

    return encoded


@asynccontextmanager
async def running(lane: Lane) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run)
        yield
        tasks.cancel_scope.cancel()


def names(sink: Any) -> list[list[str]]:
    """Return the checks of each request."""
    return [
        [
            span.name.removeprefix("probed.check ")
            for resource in request.message.resource_spans
            for span in resource.scope_spans[0].spans
        ]
        for request in sink.requests
    ]


async def until_sent(
    samples: Any, count: int, outcome: str = "sent", signal: str = "traces"
) -> None:
    with anyio.fail_after(10):
        while (
            sum(v.value for v in samples().all if v.name == ITEMS and
                v.labels["outcome"] == outcome and v.labels["otel_signal"] == signal) < count
        ):  # fmt: skip
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("jitter", [0.0, 1.0])
async def test_waits_double_to_a_minute(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any, jitter: float
) -> None:
    sink.replies = [(503, {}, b"")] * 8
    lane = make(destination(sink.url), jitter=jitter)
    waits = []
    async with running(lane):
        await lane.put(encoded())
        for _ in range(8):
            await clock.asleep()
            due = clock.next_due
            assert due is not None
            waits.append(due - clock.monotonic())
            await clock.advance(waits[-1])
        await until_sent(samples, 1)
    longest = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert waits == pytest.approx([wait * (0.5 + 0.5 * jitter) for wait in longest])
    assert samples()(ITEMS, outcome="retried", error_type="503") == 8


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 1.0), ("86400", 600.0), ("soon", 1.0)]
)
async def test_retry_after_is_followed_within_bounds(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, header: str, seconds: float
) -> None:
    sink.replies = [(429, {"Retry-After": header}, b"")]
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded())
        await clock.asleep()
        assert clock.next_due == pytest.approx(seconds)
        await clock.advance(seconds)
        await sink.until(lambda: len(sink.requests) == 2)


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x00\xff" * 50, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"SSH-2.0-x\r\n",
     b"HTTP/1.1 999999 X\r\n\r\n"],
)  # fmt: skip
async def test_an_answer_that_is_none_is_no_success(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any, garbage: bytes
) -> None:
    sink.replies = [garbage]
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded())
        await clock.asleep()
        assert lane.failing
        await clock.advance(1.0)
        await until_sent(samples, 1)
    assert samples()(ITEMS, outcome="retried", error_type="connection") == 1
    assert not lane.failing


async def test_silence_is_a_timeout(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any
) -> None:
    sink.replies = [None]
    lane = make(destination(sink.url, timeout=0.05))
    async with running(lane):
        await lane.put(encoded())
        await clock.asleep()
        assert samples()(ITEMS, outcome="retried", error_type="timeout") == 1


async def test_order_is_kept_while_one_is_tried_again(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any
) -> None:
    sink.replies = [(503, {}, b"")]
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded(check="a"), encoded(check="b"))
        await clock.asleep()
        await lane.put(encoded(check="c"))
        assert len(sink.requests) == 1
        for count in (1, 2, 3):
            assert clock.next_due is not None
            await clock.advance(clock.next_due - clock.monotonic())
            await until_sent(samples, count)
            if count < 3:
                await clock.asleep()
    assert names(sink) == [["a0"], ["a0"], ["b0"], ["c0"]]


async def test_a_backlog_is_sent_with_pauses(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any
) -> None:
    large = Encoded("traces", b"", 1, clock.time())
    body = ExportTraceServiceRequest()
    body.resource_spans.add().scope_spans.add().spans.add().name = "x" * 400_000
    large = replace(large, body=body.SerializeToString())
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded(), large, encoded())
        await clock.asleep()
        assert clock.next_due == pytest.approx(PAUSE)
        await clock.advance(PAUSE)
        await clock.asleep()
        assert clock.next_due == pytest.approx(PAUSE + len(large.body) / CATCH_UP)
        assert len(sink.requests) == 2
        await clock.advance(1.0)
        await until_sent(samples, 3)
        assert clock.sleepers == 0


async def test_at_the_end_there_are_no_pauses(make: Make, encoded: Any, sink: Any) -> None:
    lane = make(destination(sink.url))
    await lane.put(*(encoded() for _ in range(5)))
    lane.hurry()
    with anyio.fail_after(10):
        await lane.run()
    assert len(sink.requests) == 5


async def test_what_is_too_large_is_sent_as_two(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any
) -> None:
    sink.replies = [(413, {}, b""), (503, {}, b""), (200, {}, b""), (200, {}, b"")]
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded(5), encoded(1, "next"))
        await clock.asleep()
        for _ in range(3):
            await clock.advance(1.0)
        await until_sent(samples, 6)
    every = [f"mx{n}" for n in range(5)]
    assert (
        names(sink) == [every, every[:2], every[:2], every[2:], ["next0"]] or names(sink)[4:] == []
    )
    assert [sorted(part) for part in names(sink)][:4] == [every, every[:2], every[:2], every[2:]]
    assert samples()(ITEMS, otel_signal="traces", outcome="rejected") == 0


async def test_a_half_that_is_refused_too_is_given_up(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any
) -> None:
    sink.replies = [(413, {}, b""), (413, {}, b""), (200, {}, b"")]
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded(5))
        await clock.asleep()
        await clock.advance(1.0)
        await until_sent(samples, 3)
    assert len(sink.requests) == 3
    assert samples()(ITEMS, outcome="rejected", error_type="413") == 2
    assert lane.queue.size == 0


@pytest.mark.parametrize("body", [b"\xff not protobuf", b"", gzip.compress(b"\xff")[:-9]])
async def test_what_cannot_be_halved_is_given_up(
    make: Make, encoded: Any, sink: Any, clock: FakeClock, samples: Any, body: bytes
) -> None:
    assert halves(Encoded("traces", body, 7, 0.0, gzip=body[:1] == b"\x1f")) is None
    sink.replies = [(413, {}, b"")]
    lane = make(destination(sink.url))
    async with running(lane):
        await lane.put(encoded(1))
        await until_sent(samples, 1, "rejected")
    assert len(sink.requests) == 1


async def test_points_are_halved_too(board: Board, clock: FakeClock) -> None:
    view = MetricsView(board, sdk_resource(board.resource))
    parts = list(view.collect(clock.time()))
    body, count = b"".join(map(view.encode, parts)), sum(part.count for part in parts)
    whole = Encoded("metrics", body, count, 0.0)
    pieces = halves(whole)
    assert pieces is not None
    assert [piece.items for piece in pieces] == [count // 2, count - count // 2]
    found = [points(piece) for piece in pieces]
    assert [len(part) for part in found] == [count // 2, count - count // 2]
    assert found[0] + found[1] == points(whole)


def points(request: Encoded) -> list[bytes]:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    message = ExportMetricsServiceRequest.FromString(request.body)
    return [
        metric.name.encode() + point.SerializeToString()
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


async def test_a_new_destination_is_tried_at_once(
    make: Make, encoded: Any, sink: Any, refused_port: int, clock: FakeClock, samples: Any
) -> None:
    lane = make(destination(f"http://127.0.0.1:{refused_port}"))
    async with running(lane):
        await lane.put(encoded())
        await clock.asleep()
        assert samples()(ITEMS, outcome="retried", error_type="connect") == 1
        lane.redirect(destination(sink.url))
        await until_sent(samples, 1)
    assert clock.monotonic() == 0.0


async def test_without_a_destination_all_waits(
    make: Make, encoded: Any, sink: Any, samples: Any
) -> None:
    lane = make(None)
    async with running(lane):
        await lane.put(encoded())
        await anyio.wait_all_tasks_blocked()
        assert lane.queue.size > 0
        lane.redirect(destination(sink.url))
        with anyio.fail_after(10):
            while lane.queue.size:
                await anyio.lowlevel.checkpoint()
    assert samples()(ITEMS, otel_signal="traces", outcome="sent") == 1
