"""One request over one HTTP/1.1 connection (RFC 9112), parsed by llhttp with every read bounded."""

from __future__ import annotations

from collections.abc import Callable

import httptools

from probed.http.message import (
    HEADER_COUNT,
    HEADER_LIMIT,
    INFORMATIONAL_LIMIT,
    Request,
    Response,
    decode,
    note,
)
from probed.net import Stream
from probed.reasons import ProbeError, Reason
from probed.record import Recorder


class _Answer:
    """What llhttp tells of an answer. Nothing is kept past the limits."""

    __slots__ = ("complete", "framed", "head_done", "informational", "limit", "parser", "parts",
                 "response", "too_many")  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parser = httptools.HttpResponseParser(self)
        self.response = Response()
        self.parts: list[bytes] = []
        self.head_done = False
        self.complete = False
        self.framed = False
        self.too_many = False
        self.informational = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:
            return  # trailers
        key = name.decode("latin-1").lower()
        if len(self.response.headers) >= HEADER_COUNT:
            self.too_many = True
            return
        self.response.headers.append((key, value))
        if key in {"content-length", "transfer-encoding"}:
            self.framed = True

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self.parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.informational += 1
            self.response.headers.clear()
            self.framed = False
            return
        self.response.status = status
        self.response.version = self.parser.get_http_version()
        self.head_done = True

    def on_body(self, data: bytes) -> None:
        if self.complete:
            return
        response = self.response
        room = self.limit - response.size
        if len(data) > room:
            data = data[:room]
            response.truncated = True
        response.size += len(data)
        self.parts.append(data)

    def on_message_complete(self) -> None:
        if self.head_done:
            self.complete = True

    def feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = True
        except httptools.HttpParserError:
            # Bytes after the end of the answer say nothing about the answer.
            if not self.complete and not self.response.truncated:
                raise ProbeError(Reason.HTTP_PROTOCOL) from None


async def exchange(
    recorder: Recorder,
    stream: Stream,
    request: Request,
    extra: bytes,
    body_limit: int,
    unread: Callable[[int], bool] | None,
) -> Response:
    with recorder.phase("request"):
        await stream.send(request.head + extra + b"\r\n" + request.body)
    answer = _Answer(body_limit)
    try:
        return await _answered(stream, recorder, request, answer, unread)
    finally:
        del answer.parser  # it holds the answer: garbage of each run that only a search would find


async def _answered(
    stream: Stream,
    recorder: Recorder,
    request: Request,
    answer: _Answer,
    unread: Callable[[int], bool] | None,
) -> Response:
    response = answer.response
    with recorder.phase("wait") as wait:
        await _read_head(stream, answer)
        if request.method == "HEAD":
            answer.complete = True
    note(recorder, response, wait.duration)
    if unread is not None and unread(response.status):
        return response
    with recorder.phase("receive"):
        while not answer.complete and not response.truncated:
            data = await stream.receive()
            if not data:
                if answer.framed:
                    raise ProbeError(
                        Reason.CONNECT_CLOSED,
                        f"The peer closed the connection within the body, after {response.size} bytes.",
                    )
                break
            answer.feed(data)
    decode(response, b"".join(answer.parts), answer.limit)
    return response


async def _read_head(stream: Stream, answer: _Answer) -> None:
    seen = 0
    while not answer.head_done:
        data = await stream.receive()
        if not data:
            raise ProbeError(
                Reason.CONNECT_CLOSED,
                "The peer closed the connection without an answer."
                if not seen
                else "The peer closed the connection within the headers.",
            )
        seen += len(data)
        answer.feed(data)
        if answer.too_many or (seen > HEADER_LIMIT and not answer.head_done):
            raise ProbeError(Reason.HTTP_HEADERS_TOO_LARGE)
        if answer.informational > INFORMATIONAL_LIMIT:
            raise ProbeError(Reason.HTTP_PROTOCOL, "The peer sends informational answers only.")
