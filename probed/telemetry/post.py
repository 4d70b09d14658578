"""Sending one OTLP request over HTTP, and the meaning of the response (OTLP specification 1.x)."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import anyio
import httpx2
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from probed.clock import Clock
from probed.telemetry.settings import Signal, SignalName
from probed.telemetry.spool_records import Encoded
from probed.text.redact import sanitize

BODY_LIMIT = 64 * 1024
"""Bytes of a response that are read. The status decides; the body only says what was rejected."""
BODY_SHARE = 0.9
"""Share of the timeout after which the rest of a response's body is not waited for."""
PLAIN_LIMIT = 64 << 20
"""Maximum bytes of an uncompressed request."""
LONGEST_RETRY_AFTER = 600.0
TOO_LARGE, NOT_OTLP = "413", "not_otlp"
PROTOBUF, JSON = "application/x-protobuf", "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """Result of a request. `error` is an `error.type`; `retry_after` is seconds."""

    error: str | None = None
    retry: bool = False
    retry_after: float | None = None
    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Destination of a signal, and the client that sends to it."""

    signal: Signal
    client: httpx2.AsyncClient

    async def post(self, request: Encoded, clock: Clock) -> Reply:
        headers = {"Content-Type": "application/x-protobuf"}
        if request.gzip:
            headers["Content-Encoding"] = "gzip"
        for name, secret in self.signal.headers.items():
            headers[name] = secret.get_secret_value()
        try:
            with anyio.fail_after(self.signal.timeout):
                response = await self.client.post(
                    self.signal.url, content=request.body, headers=headers
                )
                return _judge(request.signal, response, clock)
        except (TimeoutError, httpx2.TimeoutException):
            return Reply("timeout", retry=True)
        except httpx2.ConnectError:
            return Reply("connect", retry=True)
        except (httpx2.HTTPError, OSError):
            return Reply("connection", retry=True)


def _judge(signal: SignalName, response: httpx2.Response, clock: Clock) -> Reply:
    """Judge by the status (OTLP specification 1.x, OTLP/HTTP response)."""
    status = response.status_code
    if 200 <= status < 300:
        return _accepted(signal, response)
    if status in {408, 429} or status >= 500:
        after = retry_after(response.headers.get("retry-after"), clock.time())
        return Reply(str(status), retry=True, retry_after=after)
    return Reply(str(status))


def _accepted(signal: SignalName, response: httpx2.Response) -> Reply:
    """Return success, with the number of rejected items. An unreadable body is a success, unless it is
    not of OTLP: something else answers at this address.
    """
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = response.content
    if not body or media in {"", PROTOBUF}:
        return _partial(signal, body)
    if media == JSON:
        try:
            return _partial_json(json.loads(body))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            pass
    said = f"this is not an OTLP collector: it answers with {sanitize(media, 60)}"
    return Reply(NOT_OTLP, retry=True, message=said)


def _partial(signal: SignalName, body: bytes) -> Reply:
    try:
        if signal == "traces":
            spans = ExportTraceServiceResponse.FromString(body).partial_success
            return Reply(rejected=spans.rejected_spans, message=sanitize(spans.error_message, 200))
        points = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Reply()
    return Reply(rejected=points.rejected_data_points, message=sanitize(points.error_message, 200))


def _partial_json(document: Any) -> Reply:
    """Read the JSON mapping of the response (protobuf's: 64-bit numbers are strings)."""
    partial = document.get("partialSuccess", {})
    rejected = partial.get("rejectedSpans", partial.get("rejectedDataPoints", 0))
    message = sanitize(str(partial.get("errorMessage", "")), 200)
    return Reply(rejected=int(rejected), message=message)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3), at most 600.

    `now` is seconds since the epoch. None if the value is missing or invalid.
    """
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdecimal() else _until(value, now)
    except (ValueError, OverflowError):
        return None
    return min(LONGEST_RETRY_AFTER, max(0.0, seconds))


def _until(date: str, now: float) -> float:
    when = parsedate_to_datetime(date)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now


def halves(request: Encoded) -> tuple[Encoded, Encoded] | None:
    """Split a request that was too large for the collector; None if it cannot be split."""
    kind = ExportTraceServiceRequest if request.signal == "traces" else ExportMetricsServiceRequest
    try:
        first, second = kind.FromString(_plain(request)), kind()
    except (zlib.error, DecodeError):
        return None
    second.CopyFrom(first)
    half = request.items // 2
    if not half or sum(map(len, _items(first))) != request.items:
        return None
    before = 0
    for left, right in zip(_items(first), _items(second), strict=True):
        cut = min(len(left), max(0, half - before))
        before += len(left)
        del left[cut:]
        del right[:cut]
    return _encoded(request, first, half), _encoded(request, second, request.items - half)


def _plain(request: Encoded) -> bytes:
    return (
        zlib.decompressobj(31).decompress(request.body, PLAIN_LIMIT)
        if request.gzip
        else request.body
    )


def _encoded(request: Encoded, message: Any, items: int) -> Encoded:
    body = message.SerializeToString()
    return replace(request, body=zlib.compress(body, 1, 31) if request.gzip else body, items=items)


def _items(message: Any) -> list[Any]:
    """Return the lists of spans or points of a request."""
    if isinstance(message, ExportTraceServiceRequest):
        return [scope.spans for part in message.resource_spans for scope in part.scope_spans]
    return [
        getattr(metric, metric.WhichOneof("data")).data_points
        for part in message.resource_metrics
        for scope in part.scope_metrics
        for metric in scope.metrics
    ]
