"""One signal's way out: a bounded queue in memory, and one request at a time, tried again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import anyio
import httpx2
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from probed.clock import Clock
from probed.redact import sanitize
from probed.telemetry.own import Own

if TYPE_CHECKING:
    from probed.telemetry.settings import Signal

log = logging.getLogger("probed.export")

QUEUE_BYTES = 8 << 20
"""Encoded requests of one signal that wait in memory; the two signals together have 16 MiB."""
BODY_LIMIT = 64 * 1024
"""Bytes of an answer that are read."""
FIRST_DELAY, LAST_DELAY = 1.0, 30.0
LONGEST_RETRY_AFTER = 600.0
HURRIED_DELAY = 0.25
"""Seconds between attempts while shutting down."""

RETRYABLE = frozenset({408, 429, 502, 503, 504})
"""The OTLP specification's, and 408. All other errors say that the request itself is refused."""


@dataclass(slots=True)
class Encoded:
    """One request's body, and how many spans or points it holds."""

    body: bytes
    items: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request. `error` is an `error.type`; `retry_after` is seconds."""

    error: str | None = None
    retry: bool = False
    retry_after: float | None = None
    rejected: int = 0
    message: str = ""


class Lane:
    """Sends encoded requests in order. What is dropped, refused or tried again is counted.

    Requests are sent at least once: one whose answer was lost is sent again.
    """

    def __init__(
        self,
        signal: Signal,
        client: httpx2.AsyncClient,
        own: Own,
        clock: Clock,
        jitter: Callable[[], float],
        *,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.signal = signal
        self._client = client
        self._own = own
        self._clock = clock
        self._jitter = jitter
        self._limit = queue_bytes
        self._queue: deque[Encoded] = deque()
        self._bytes = 0
        self._failures = 0
        self._state = "well"
        self._filled = anyio.Event()
        self._hurried = anyio.Event()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def put(self, request: Encoded) -> None:
        """Queue a request; the oldest are dropped where there is no room."""
        self._queue.append(request)
        self._bytes += len(request.body)
        self._trim()
        self._filled.set()

    def _restore(self, request: Encoded) -> None:
        self._queue.appendleft(request)
        self._bytes += len(request.body)
        self._trim()

    def _trim(self) -> None:
        while self._bytes > self._limit:
            self._drop("queue_full")

    def _drop(self, why: str) -> None:
        oldest = self._queue.popleft()
        self._bytes -= len(oldest.body)
        self._own.exported(self.signal.name, "dropped", oldest.items, why)

    async def run(self) -> None:
        """Send what comes, until `hurry` is called and all is sent, or nobody is there to take it."""
        while True:
            if not self._queue:
                if self._hurried.is_set():
                    return
                self._filled = anyio.Event()
                await self._filled.wait()
                continue
            reply = await self._send()
            if reply.retry:
                if self._hurried.is_set() and reply.error == "connect":
                    return
                await self._rest(self._delay(reply))

    def hurry(self) -> None:
        """Nothing more will come: send what is left without long waits, then end."""
        self._hurried.set()
        self._filled.set()

    async def _rest(self, seconds: float) -> None:
        if self._hurried.is_set():
            await self._clock.sleep(HURRIED_DELAY)
            return
        async with anyio.create_task_group() as tasks:

            async def sleep() -> None:
                await self._clock.sleep(seconds)
                tasks.cancel_scope.cancel()

            tasks.start_soon(sleep)
            await self._hurried.wait()
            tasks.cancel_scope.cancel()

    def abandon(self) -> None:
        """Give up what is left, and count it."""
        left = sum(request.items for request in self._queue)
        while self._queue:
            self._drop("shutdown")
        if left:
            log.warning("%s: %d items could not be handed over at the end", self.signal.name, left)

    async def close(self) -> None:
        await self._client.aclose()

    def _delay(self, reply: Reply) -> float:
        if reply.retry_after is not None:
            return reply.retry_after
        longest = min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures - 1, 10))
        return longest * (0.5 + 0.5 * self._jitter())

    async def _send(self) -> Reply:
        request = self._queue.popleft()
        self._bytes -= len(request.body)
        reply = None
        try:
            reply = await self._post(request)
        finally:
            # Without a reply the wait was cancelled; it may have arrived, or not.
            if reply is None or reply.retry:
                self._restore(request)
        self._account(request, reply)
        return reply

    def _account(self, request: Encoded, reply: Reply) -> None:
        name, items = self.signal.name, request.items
        if reply.retry:
            self._failures += 1
            self._own.exported(name, "retried", items, reply.error)
            self._note("failing", "%s: %s; trying again", reply)
            return
        self._failures = 0
        rejected = min(items, reply.rejected) if reply.error is None else items
        if rejected:
            self._own.exported(name, "rejected", rejected, reply.error or "partial_success")
        if rejected < items:
            self._own.exported(name, "sent", items - rejected)
        if reply.error is not None:
            self._note("refused", "%s: refused: %s", reply)
        elif rejected or reply.message:
            self._note("partial", "%s: accepted in part: %s", reply)
        elif self._state != "well":
            self._state = "well"
            log.info("%s: %s is taken again", self.signal.shown, name)

    def _note(self, state: str, text: str, reply: Reply) -> None:
        if self._state != state:
            self._state = state
            log.warning(text, self.signal.shown, reply.message or reply.error)

    async def _post(self, request: Encoded) -> Reply:
        headers = {"Content-Type": "application/x-protobuf"}
        if self.signal.gzip:
            headers["Content-Encoding"] = "gzip"
        for name, secret in self.signal.headers.items():
            headers[name] = secret.get_secret_value()
        try:
            with anyio.fail_after(self.signal.timeout):
                async with self._client.stream(
                    "POST", self.signal.url, content=request.body, headers=headers
                ) as response:
                    return await self._read(response)
        except (TimeoutError, httpx2.TimeoutException):
            return Reply("timeout", retry=True)
        except httpx2.ConnectError:
            return Reply("connect", retry=True)
        except (httpx2.HTTPError, OSError):
            return Reply("connection", retry=True)

    async def _read(self, response: httpx2.Response) -> Reply:
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk[: BODY_LIMIT - len(body)]
            if len(body) >= BODY_LIMIT:
                break
        status = response.status_code
        if 200 <= status < 300:
            return _accepted(self.signal.name, body)
        if status in RETRYABLE:
            after = retry_after(response.headers.get("retry-after"), self._clock.time())
            return Reply(str(status), retry=True, retry_after=after)
        return Reply(str(status))


def _accepted(signal: str, body: bytes) -> Reply:
    """A success, unless the answer says that a part was refused. What is no answer is a success."""
    try:
        if signal == "traces":
            spans = ExportTraceServiceResponse.FromString(body).partial_success
            return Reply(rejected=spans.rejected_spans, message=sanitize(spans.error_message, 200))
        points = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Reply()
    return Reply(rejected=points.rejected_data_points, message=sanitize(points.error_message, 200))


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds from the header's value, a number or a date (RFC 9110, 10.2.3), at most ten minutes.

    `now` is seconds since the epoch. None where there is none that makes sense.
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
