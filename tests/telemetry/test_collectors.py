"""Hostile collectors: judged by status, read as far as needed, and never sent the same thing for ever."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from probed.clock import SystemClock
from probed.net import Network
from probed.telemetry.export import make_client
from probed.telemetry.post import Destination, Reply
from probed.telemetry.settings import Signal
from probed.telemetry.spool_records import Encoded
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio

TIMEOUT = 1.0
PROTOBUF = b"Content-Type: application/x-protobuf\r\n"
PARTIAL = ExportTraceServiceResponse()
PARTIAL.partial_success.rejected_spans = 2
PARTIAL.partial_success.error_message = "too old"


def answer(body: bytes, head: bytes = PROTOBUF, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)


def endless(piece: bytes, *, first: bytes, pause: float = 0.0) -> Callable[..., Any]:
    """A collector that sends a head, and then pieces until nobody reads them."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return send


OK = Reply()
NOT_OTLP = Reply("not_otlp", retry=True)
BIG = b"\x0a" + b"\x80" * 200_000
HTML = b"<!doctype html><title>Sign in</title>" + b"<p>x" * 50_000
CHUNKED = b"HTTP/1.1 200 OK\r\n" + PROTOBUF + b"Transfer-Encoding: chunked\r\n\r\n"
JSON = b"Content-Type: application/json; charset=utf-8\r\n"
COLLECTORS: dict[str, tuple[bytes | Callable[..., Any], Reply]] = {
    "accepted": (answer(b""), OK),
    "accepted, no content type": (answer(b"", b""), OK),
    "accepted, 202": (answer(b"", b"", b"202 Accepted"), OK),
    "accepted, 204": (b"HTTP/1.1 204 No Content\r\n\r\n", OK),
    "accepted, text without a body": (answer(b"", b"Content-Type: text/plain\r\n"), OK),
    "accepted, 200 KB": (answer(BIG), OK),
    "accepted, an endless body": (endless(b"x" * 8192, first=b"HTTP/1.1 200 OK\r\n" + PROTOBUF + b"\r\n"), OK),
    "accepted, endless chunks": (endless(b"1\r\nx\r\n" * 1000, first=CHUNKED), OK),
    "accepted, a body of a byte now and then": (endless(b"1\r\nx\r\n", first=CHUNKED, pause=0.02), OK),
    "accepted, not protobuf": (answer(b"\xff" * 100), OK),
    "accepted, a body that expands": (
        answer(gzip.compress(b"\0" * 50_000_000), PROTOBUF + b"Content-Encoding: gzip\r\n"), OK),
    "accepted, an unknown encoding": (answer(b"abc", PROTOBUF + b"Content-Encoding: br\r\n"), OK),
    "accepted in part": (answer(PARTIAL.SerializeToString()), Reply(rejected=2, message="too old")),
    "accepted in part, JSON": (
        answer(b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}', JSON),
        Reply(rejected=2, message="too old")),
    "accepted, JSON": (answer(b"{}", JSON), OK),
    "a web page": (answer(HTML, b"Content-Type: text/html\r\n"), NOT_OTLP),
    "a web page without end": (
        endless(HTML, first=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"), NOT_OTLP),
    "text": (answer(b"hello", b"Content-Type: text/plain\r\n"), NOT_OTLP),
    "JSON of something else": (answer(b"[1, 2]", JSON), NOT_OTLP),
    "JSON that is none": (answer(b"<html>", JSON), NOT_OTLP),
    "a redirect": (answer(b"x", b"Location: /login\r\n", b"302 Found"), Reply("302")),
    "refused": (answer(HTML, b"Content-Type: text/html\r\n", b"400 Bad Request"), Reply("400")),
    "refused, an endless body": (
        endless(b"x" * 8192, first=b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reply("400")),
    "not found": (answer(HTML, b"Content-Type: text/html\r\n", b"404 Not Found"), Reply("404")),
    "away": (answer(b"x" * 200_000, b"Retry-After: 7\r\n", b"503 Service Unavailable"),
             Reply("503", retry=True, retry_after=7.0)),
    "away, an endless body": (
        endless(b"x" * 8192, first=b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), Reply("502", retry=True)),
    "too many requests": (answer(b"", b"Retry-After: soon\r\n", b"429 X"), Reply("429", retry=True)),
    "closed in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", Reply("connection", retry=True)),
    "endless headers": (endless(b"x: y\r\n" * 999, first=b"HTTP/1.1 200 OK\r\n"), Reply("connection", retry=True)),
    "endless informational answers": (
        endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 99, first=b""), Reply("connection", retry=True)),
    "a head of a byte now and then": (endless(b"x", first=b"HTTP/1.1 200 OK\r\nx: ", pause=0.02),
                                      Reply("timeout", retry=True)),
}  # fmt: skip


@asynccontextmanager
async def collector(reply: bytes | Callable[..., Any]) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(4)
            if callable(reply):
                await reply(writer)
            else:
                writer.write(reply)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer has gone, or the test is over
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def post(port: int) -> Reply:
    signal = Signal("traces", f"http://127.0.0.1:{port}/v1/traces", {}, timeout=TIMEOUT)
    client = make_client(signal, Network(), SystemClock(), Redactor())
    async with client:
        with anyio.fail_after(TIMEOUT + 2):
            return await Destination(signal, client).post(
                Encoded("traces", b"body", 3, 0.0, gzip=False), SystemClock()
            )


@pytest.mark.parametrize("name", COLLECTORS)
async def test_a_collector_is_judged_by_its_status(name: str) -> None:
    reply, expected = COLLECTORS[name]
    async with collector(reply) as port:
        found = await post(port)
    if expected.error == "not_otlp":
        assert (found.error, found.retry) == ("not_otlp", True)
        assert "is not an OTLP collector" in found.message
    else:
        assert found == expected


def test_the_collectors_are_many() -> None:
    assert len(COLLECTORS) >= 26


async def test_what_is_not_a_collector_is_said_loudly_and_keeps_the_telemetry(
    board: Any, sink: Any, result: Any, samples: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.telemetry.test_export import ITEMS, running, settings_for

    page = (200, {"Content-Type": "text/html"}, b"<html>")
    sink.replies = [page, page]
    async with running(board, settings_for(sink.url, signals="traces")) as exporter:
        exporter.enqueue(result())
        await sink.until(lambda: len(sink.requests) == 3)
    seen = samples()
    assert seen(ITEMS, outcome="retried", error_type="not_otlp") == 6
    assert seen(ITEMS, otel_signal="traces", outcome="sent") == 3
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warnings == [
        f"{sink.url}/v1/traces: this is not an OTLP collector: it answers with text/html; will retry"
    ]
