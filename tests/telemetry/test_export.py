from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from probed.clock import SystemClock
from probed.config import Check
from probed.config.telemetry import Otlp, Telemetry
from probed.model import Measure, Outcome, Phase, Result
from probed.net import Network
from probed.telemetry.board import Board
from probed.telemetry.export import SPAN_LIMIT, Exporter, make_client
from probed.telemetry.post import retry_after
from probed.telemetry.settings import ExportSettings, Signal, export_settings
from probed.text.redact import Redactor, SecretStr

pytestmark = pytest.mark.anyio

MakeResult = Callable[..., Result]
ITEMS = "probed_export_items_total"


class Hasty(SystemClock):
    """A clock whose sleeps end at once and are recorded."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:  # type: ignore[override]
        self.slept.append(seconds)
        await anyio.sleep(min(seconds, 0.01))


class Patient(SystemClock):
    """A clock whose sleeps never end."""

    @staticmethod
    async def sleep(seconds: float) -> None:
        await anyio.sleep_forever()


def settings_for(url: str, *, signals: str = "traces,metrics", **otlp: Any) -> ExportSettings:
    environ = {
        f"OTEL_{name.upper()}_EXPORTER": "none"
        for name in ("traces", "metrics")
        if name not in signals
    }
    return export_settings(Telemetry(otlp=Otlp(endpoint=url, **otlp)), environ)


def connect(signal: Signal) -> httpx2.AsyncClient:
    return make_client(signal, Network(), SystemClock(), Redactor())


@asynccontextmanager
async def running(
    board: Board, settings: ExportSettings, clock: SystemClock | None = None
) -> AsyncIterator[Exporter]:
    exporter = Exporter(settings, board, clock or Hasty(), connect, jitter=lambda: 1.0)
    async with anyio.create_task_group() as tasks:
        await tasks.start(exporter.run)
        yield exporter
        await exporter.drain(1.0)


async def test_kept_runs_arrive_as_traces(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result(Outcome.FAILED))
        exporter.enqueue(result(sampled=False))
        spans = await sink.until(sink.spans)
        assert [span.name for span in spans] == ["probed.check mx", "resolve", "connect"]
        request = sink.requests[0]
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["content-encoding"] == "gzip"
        assert request.headers["user-agent"].startswith("probed/")
    assert len(sink.requests) == 1
    assert samples()(ITEMS, otel_signal="traces", outcome="sent") == 3


async def test_the_board_arrives_as_metrics_every_interval(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    board.record(result())
    clock = Hasty()
    settings = export_settings(
        Telemetry(metrics_interval=15.0, otlp=Otlp(endpoint=sink.url)),
        {"OTEL_TRACES_EXPORTER": "none"},
    )
    async with running(board, settings, clock):
        await sink.until(lambda: len(sink.requests) >= 3)
    (point,) = sink.metrics()["probed.check.duration"].histogram.data_points
    assert point.count == 1
    assert clock.slept[0] == pytest.approx(15.0, abs=0.5)
    assert (samples()(ITEMS, otel_signal="metrics", outcome="sent") or 0) > 60


async def test_headers_and_plain_bodies_are_sent_where_that_is_set(
    board: Board, sink: Any, result: MakeResult
) -> None:
    settings = settings_for(
        sink.url, signals="traces", compression="none",
        headers={"Authorization": SecretStr("Bearer hunter2")},
    )  # fmt: skip
    async with running(board, settings) as exporter:
        exporter.enqueue(result())
        await sink.until(sink.spans)
    assert sink.requests[0].headers["authorization"] == "Bearer hunter2"
    assert "content-encoding" not in sink.requests[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_be_tried_again_is(
    board: Board, sink: Any, result: MakeResult, samples: Any, status: int
) -> None:
    sink.replies = [(status, {}, b""), (status, {}, b"")]
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 3)
    seen = samples()
    assert seen(ITEMS, outcome="retried", error_type=str(status)) == 6
    assert seen(ITEMS, otel_signal="traces", outcome="sent") == 3


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
async def test_what_is_refused_is_not_tried_again(
    board: Board, sink: Any, result: MakeResult, samples: Any, status: int
) -> None:
    sink.replies = [(status, {"Location": "/elsewhere"}, b"no")]
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result())
        await sink.until(sink.spans)
    assert len(sink.requests) == 1
    assert samples()(ITEMS, outcome="rejected", error_type=str(status)) == 3


async def test_waits_grow_to_a_minute_and_retry_after_goes_before(
    board: Board, sink: Any, result: MakeResult
) -> None:
    sink.replies = [(503, {}, b"")] * 7 + [(429, {"Retry-After": "7"}, b"")]
    clock = Hasty()
    async with running(board, settings_for(sink.url, signals="traces"), clock) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 9)
    waits = [seconds for seconds in clock.slept if seconds >= 1.0][1:]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 7.0]


async def test_a_collector_that_comes_back_gets_what_waited(
    board: Board, sink: Any, result: MakeResult, samples: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        unused_port = held.getsockname()[1]
    caplog.set_level(logging.INFO, logger="probed.export")
    url = f"http://127.0.0.1:{unused_port}"
    async with running(board, settings_for(url, signals="traces")) as exporter:
        exporter.enqueue(result())
        with anyio.fail_after(10):
            while (samples()(ITEMS, outcome="retried", error_type="connect") or 0) < 9:
                await anyio.lowlevel.checkpoint()
        server = await asyncio.start_server(sink.serve, "127.0.0.1", unused_port)
        await sink.until(sink.spans)
        with anyio.fail_after(10):
            while not samples()(ITEMS, otel_signal="traces", outcome="sent"):
                await anyio.lowlevel.checkpoint()
        server.close()
        await sink.close()
        await server.wait_closed()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        f"{url}/v1/traces: connect; will retry",
        f"{url}/v1/traces: accepting fail again",
    ]


async def test_a_part_that_was_refused_is_counted(
    board: Board, sink: Any, result: MakeResult, samples: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too\nold"
    sink.replies = [(200, {}, answer.SerializeToString()), (200, {}, b"\xff not protobuf")]
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 1)
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 2)
    seen = samples()
    assert seen(ITEMS, outcome="rejected", error_type="partial_success") == 2
    assert seen(ITEMS, otel_signal="traces", outcome="sent") == 4
    assert "too\\x0aold" in caplog.text


async def test_refused_points_are_counted(board: Board, sink: Any, samples: Any) -> None:
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = 1
    sink.replies = [(200, {}, answer.SerializeToString())]
    exporter = Exporter(settings_for(sink.url, signals="metrics"), board, Hasty(), connect)
    await exporter.drain(5.0)
    assert samples()(ITEMS, otel_signal="metrics", error_type="partial_success") == 1


async def test_a_batch_does_not_wait_for_the_interval(
    board: Board, sink: Any, result: MakeResult
) -> None:
    exporter = Exporter(settings_for(sink.url, signals="traces"), board, Patient(), connect)
    async with anyio.create_task_group() as tasks:
        await tasks.start(exporter.run)
        for _ in range(171):
            exporter.enqueue(result())
        spans = await sink.until(sink.spans)
        assert len(spans) == 171 * 3
        await exporter.drain(1.0)


async def test_spans_past_the_limit_push_out_the_oldest(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    exporter = Exporter(settings_for(sink.url, signals="traces"), board, Patient(), connect)
    many = tuple(Phase(f"p{n}", 0, 0.1) for n in range(255))
    for number in range(SPAN_LIMIT // 256 + 2):
        exporter.enqueue(result(phases=many, check=f"c{number}"))
    assert samples()(ITEMS, otel_signal="traces", error_type="queue_full") == 512
    await exporter.drain(10.0)
    roots = [span.name for span in sink.spans() if not span.parent_span_id]
    assert roots == [f"probed.check c{n}" for n in range(2, SPAN_LIMIT // 256 + 2)]


async def test_what_is_left_is_handed_over_at_the_end(
    board: Board, sink: Any, result: MakeResult
) -> None:
    exporter = Exporter(settings_for(sink.url), board, Patient(), connect)
    async with anyio.create_task_group() as tasks:
        await tasks.start(exporter.run)
        board.record(result())
        exporter.enqueue(result())
        await exporter.drain(5.0)
    assert len(sink.spans()) == 3
    assert sink.metrics()["probed.check.runs"]


async def test_a_request_that_was_cancelled_under_way_is_sent_again(
    board: Board, sink: Any, result: MakeResult
) -> None:
    sink.replies = [None]
    exporter = Exporter(settings_for(sink.url, signals="traces"), board, Hasty(), connect)
    async with anyio.create_task_group() as tasks:
        await tasks.start(exporter.run)
        exporter.enqueue(result())
        await sink.until(sink.spans)
        tasks.cancel_scope.cancel()
    await exporter.drain(5.0)
    assert len(sink.requests) == 2
    assert sink.requests[0].message == sink.requests[1].message


async def test_a_request_that_is_under_way_at_the_end_may_end(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result())
        await sink.until(sink.spans)
    assert len(sink.requests) == 1
    assert samples()(ITEMS, otel_signal="traces", outcome="sent") == 3


async def test_a_collector_that_never_answers_holds_the_end_up_for_so_long_at_most(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    sink.replies = [None] * 100
    exporter = Exporter(settings_for(sink.url), board, SystemClock(), connect)
    async with anyio.create_task_group() as tasks:
        await tasks.start(exporter.run)
        exporter.enqueue(result())
        began = time.monotonic()
        await exporter.drain(0.5)
        assert 0.4 < time.monotonic() - began < 1.5
    assert samples()(ITEMS, otel_signal="traces", outcome="dropped", error_type="shutdown") == 3


async def test_a_collector_that_is_not_there_does_not_hold_the_end_up(
    board: Board, refused_port: int, result: MakeResult, samples: Any
) -> None:
    settings = settings_for(f"http://127.0.0.1:{refused_port}")
    exporter = Exporter(settings, board, SystemClock(), connect)
    async with anyio.create_task_group() as tasks:
        await tasks.start(exporter.run)
        exporter.enqueue(result())
        began = time.monotonic()
        await exporter.drain(3.0)
        assert time.monotonic() - began < 1.0
    assert samples()(ITEMS, otel_signal="traces", outcome="dropped", error_type="shutdown") == 3


async def test_the_end_is_orderly_also_where_nothing_was_begun(board: Board, sink: Any) -> None:
    exporter = Exporter(settings_for(sink.url), board, SystemClock(), connect)
    await exporter.drain(2.0)
    assert sink.metrics()["probed.build.info"]


async def test_a_slow_answer_is_a_timeout(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    sink.replies = [None]
    async with running(board, settings_for(sink.url, signals="traces", timeout=0.1)) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 2)
    assert samples()(ITEMS, outcome="retried", error_type="timeout") == 3


async def test_an_endless_answer_is_not_read_to_its_end(
    board: Board, sink: Any, result: MakeResult, samples: Any
) -> None:
    sink.replies = [(503, {}, b"x" * 10_000_000)]
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 2)
    assert samples()(ITEMS, otel_signal="traces", outcome="retried", error_type="503") == 3


async def test_credentials_are_never_logged(
    board: Board, sink: Any, result: MakeResult, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.replies = [(503, {}, b"hunter2"), (401, {}, b"hunter2")]
    settings = settings_for(sink.url, signals="traces", headers={"x-key": SecretStr("hunter2")})
    async with running(board, settings) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 2)
    assert [r.levelname for r in caplog.records if r.name == "probed.export"] == ["WARNING"] * 2
    assert "hunter2" not in caplog.text


async def test_thousands_of_series_are_encoded_in_slices_between_which_others_have_their_turn(
    board: Board,
    check: Callable[..., Check],
    result: MakeResult,
    measures: dict[str, Measure],
    samples: Any,
) -> None:
    taken: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        taken.append(len(request.content))
        return httpx2.Response(200)

    for number in range(500):
        board.add(check(f"check-{number}"))
        board.record(result(Outcome.OK, (measures["status"], 200), check=f"check-{number}"))
    exporter = Exporter(
        settings_for("http://127.0.0.1:1"), board, SystemClock(),
        lambda signal: httpx2.AsyncClient(transport=httpx2.MockTransport(answer)),
    )  # fmt: skip
    for number in range(500):
        exporter.enqueue(result(Outcome.FAILED, check=f"check-{number}"))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        await exporter.drain(20.0)
        tasks.cancel_scope.cancel()
    assert sum(taken) > 50_000
    sent = sum(
        series.value
        for series in samples().all
        if series.name == "probed_export_items_total" and series.labels["outcome"] == "sent"
    )
    assert sent > 10_000
    assert turns > sent / 250


async def test_tls_is_verified_against_the_given_authority(
    board: Board, sink: Any, result: MakeResult, samples: Any, tmp_path: Any
) -> None:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    untrusting = Exporter(settings_for(url, signals="metrics"), board, Hasty(), connect)
    await untrusting.drain(2.0)
    assert not sink.requests
    trusting = Exporter(
        settings_for(url, signals="metrics", ca=tmp_path / "ca.pem"), board, Hasty(), connect
    )
    await trusting.drain(5.0)
    assert sink.metrics()["probed.build.info"]
    server.close()
    await sink.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("7", 7.0), ("0", 0.0), ("99999", 600.0), ("-3", None), ("soon", None),
        ("1.5", None), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0), ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("9" * 400, 600.0),
    ],
)  # fmt: skip
async def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 1_767_225_600.0) == seconds
