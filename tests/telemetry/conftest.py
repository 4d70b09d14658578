"""Fixtures: checks, results, a board, and a collector that misbehaves on request."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from probed.config.model import Check
from probed.fields import HostPort
from probed.model import Finding, Measure, Measurement, MetricType, Outcome, Phase, Result
from probed.probe import CERTIFICATE_NOT_AFTER, Probe, Run
from probed.telemetry.board import Board
from probed.telemetry.openmetrics import render

START = 1_767_225_600.0

STATUS = Measure("http.response.status_code", help="Status of the answer.")
QUEUE = Measure(
    "mail.queue.size", unit="{message}", help="Waiting.", attributes=("mail.queue",), series=3
)
SEEN = Measure("mail.seen", unit="{message}", kind=MetricType.COUNTER, help="Messages seen.")
BODY = Measure("http.client.response.body.size", unit="By", kind=MetricType.HISTOGRAM, help="Bytes.",
               buckets=(100.0, 1000.0))  # fmt: skip
EVENTS = Measure("mail.events", unit="{event}", kind=MetricType.COUNTER, help="Events.",
                 attributes=("mail.event",), series=2)  # fmt: skip


class Mail(Probe):
    """A kind with one measure of each type."""

    kind = "mail"
    address: HostPort
    measures = (STATUS, QUEUE, SEEN, BODY, EVENTS)

    async def probe(self, run: Run) -> None:
        raise NotImplementedError


class Other(Probe):
    """A kind that declares one of Mail's measures differently."""

    kind = "other"
    address: HostPort
    measures = (Measure("mail.seen", unit="s", help="Something else."),)

    async def probe(self, run: Run) -> None:
        raise NotImplementedError


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - START

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep_forever()


def make_check(name: str = "mx", probe: type[Probe] = Mail, **more: Any) -> Check:
    return Check(name, probe(address=HostPort("mx.example.com", 25)), **more)  # type: ignore[call-arg]


def make_result(
    outcome: Outcome = Outcome.OK,
    *measures: tuple[Measure, float] | tuple[Measure, float, Mapping[str, str]],
    reason: str = "connect.refused",
    **more: Any,
) -> Result:
    found = () if outcome is Outcome.OK else (Finding(outcome, reason, "It did not work."),)
    measured = tuple(
        Measurement(measure, value, tuple(sorted(dict(*rest).items())))
        for measure, value, *rest in measures
    )
    settings: dict[str, Any] = {
        "check": "mx", "probe": "mail", "target": "mx.example.com:25", "started_at": START,
        "duration_s": 0.02, "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331", "findings": found, "measures": measured,
        "phases": (Phase("resolve", 0.0, 0.001), Phase("connect", 0.001, 0.019)),
    }  # fmt: skip
    return Result(outcome=outcome, **(settings | more))


class Samples:
    """Samples of an exposition, by name and by labels other than the common ones."""

    def __init__(self, board: Board) -> None:
        self.text = b"".join(render(board, openmetrics=True)).decode()
        self.all = [
            sample
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float | None:
        found = [
            sample
            for sample in self.all
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert len(found) < 2, found
        return found[0].value if found else None

    def of(self, name: str, label: str) -> dict[str, float]:
        return {s.labels.get(label, ""): s.value for s in self.all if s.name == name}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    board = Board(clock, version="1.2.3", resource={"service.name": "probed"})
    board.add(make_check())
    return board


@pytest.fixture
def check() -> Callable[..., Check]:
    return make_check


@pytest.fixture
def result() -> Callable[..., Result]:
    return make_result


@pytest.fixture
def samples(board: Board) -> Callable[[], Samples]:
    return lambda: Samples(board)


@pytest.fixture
def measures() -> dict[str, Measure]:
    return {"status": STATUS, "queue": QUEUE, "seen": SEEN, "body": BODY, "events": EVENTS,
            "not_after": CERTIFICATE_NOT_AFTER}  # fmt: skip


@pytest.fixture
def other() -> type[Probe]:
    return Other


@dataclass
class Received:
    """One request that the collector received."""

    path: str
    headers: dict[str, str]
    message: Any
    size: int
    status: int | None = None


@dataclass
class Sink:
    """An OTLP collector. `replies` are sent in order, then 200; None means no response, and bytes are
    sent unchanged.
    """

    port: int = 0
    replies: list[tuple[int, dict[str, str], bytes] | bytes | None] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Return the value of `condition` as soon as it is true."""
        with anyio.fail_after(seconds):
            while not (found := condition()):
                await self._changed.wait()
        return found

    def spans(self, *, accepted: bool = False) -> list[Any]:
        return [
            span
            for request in self.requests
            if request.path == "/v1/traces" and (not accepted or request.status == 200)
            for resource in request.message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """Return the last metric of each name."""
        return {
            metric.name: metric
            for request in self.requests
            if request.path == "/v1/metrics"
            for resource in request.message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the peer has gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if "chunked" in headers.get("transfer-encoding", ""):
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        kind = ExportTraceServiceRequest if path.endswith("traces") else ExportMetricsServiceRequest
        reply = self.replies.pop(0) if self.replies else (200, {}, b"")
        said = reply[0] if isinstance(reply, tuple) else None
        self.requests.append(Received(path, headers, kind.FromString(plain), len(body), said))
        self._changed.set()
        self._changed = anyio.Event()
        if isinstance(reply, bytes):
            writer.write(reply)
            await writer.drain()
            return False
        if reply is None:
            await anyio.sleep_forever()
            return False
        status, more, answer = reply
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(answer)}"]
        lines += [f"{name}: {value}" for name, value in more.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer)
        await writer.drain()
        return headers.get("connection") != "close"

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).strip(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    yield sink
    server.close()
    await sink.close()
    await server.wait_closed()


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A reserved loopback port on which nothing listens."""
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
