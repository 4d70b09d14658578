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
    record_head,
)
from probed.net import Stream
from probed.reasons import ProbeError, Reason
from probed.record import Recorder

_BEGIN = b"HTTP/"


class _Parser:
    """The callbacks of llhttp for one response. Nothing is stored past the limits."""

    __slots__ = ("begin", "complete", "fed", "framed", "head_done", "informational", "limit", "llhttp", "parts",
                 "response", "too_many_headers")  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.fed = 0
        self.begin = b""
        self.llhttp = httptools.HttpResponseParser(self)
        self.response = Response()
        self.parts: list[bytes] = []
        self.head_done = False
        self.complete = False
        self.framed = False
        self.too_many_headers = False
        self.informational = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:
            return  # trailers
        key = name.decode("latin-1").lower()
        if len(self.response.headers) >= HEADER_COUNT:
            self.too_many_headers = True
            return
        self.response.headers.append((key, value))
        if key in {"content-length", "transfer-encoding"}:
            self.framed = True

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self.llhttp.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.informational += 1
            self.response.headers.clear()
            self.framed = False
            return
        self.response.status = status
        self.response.version = self.llhttp.get_http_version()
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
        """Parse what comes next. Raises ProbeError."""
        self.fed += len(data)
        if len(self.begin) < len(_BEGIN):
            # llhttp takes RTSP and ICE for HTTP.
            self.begin = (self.begin + data).lstrip(b"\r\n")[: len(_BEGIN)]
            if not _BEGIN.startswith(self.begin):
                raise ProbeError(Reason.HTTP_PROTOCOL)
        try:
            self.llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = True
        except httptools.HttpParserError:
            # Bytes after the end of the response are not part of it.
            if not self.complete and not self.response.truncated:
                raise ProbeError(Reason.HTTP_PROTOCOL) from None
        if self.head_done and self.fed > 2 * (HEADER_LIMIT + self.response.size):
            raise ProbeError(
                Reason.HTTP_PROTOCOL, "The peer floods the connection with chunks or trailers."
            )


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
    parser = _Parser(body_limit)
    try:
        return await _read_response(stream, recorder, request, parser, unread)
    finally:
        del parser.llhttp  # breaks a reference cycle, which only the garbage collector would find


async def _read_response(
    stream: Stream,
    recorder: Recorder,
    request: Request,
    parser: _Parser,
    unread: Callable[[int], bool] | None,
) -> Response:
    response = parser.response
    with recorder.phase("wait") as wait:
        await _read_head(stream, parser)
        if request.method == "HEAD":
            parser.complete = True
    record_head(recorder, response, wait.duration)
    if unread is not None and unread(response.status):
        return response
    with recorder.phase("receive"):
        while not parser.complete and not response.truncated:
            data = await stream.receive()
            if not data:
                if parser.framed:
                    raise ProbeError(
                        Reason.CONNECT_CLOSED,
                        f"The peer closed the connection after {response.size} bytes of the body.",
                    )
                break
            parser.feed(data)
    decode(response, b"".join(parser.parts), parser.limit)
    return response


async def _read_head(stream: Stream, parser: _Parser) -> None:
    while not parser.head_done:
        data = await stream.receive()
        if not data:
            raise ProbeError(
                Reason.CONNECT_CLOSED,
                "The peer closed the connection without sending a response."
                if not parser.fed
                else "The peer closed the connection in the middle of the headers.",
            )
        parser.feed(data)
        if parser.too_many_headers or (parser.fed > HEADER_LIMIT and not parser.head_done):
            raise ProbeError(Reason.HTTP_HEADERS_TOO_LARGE)
        if parser.informational > INFORMATIONAL_LIMIT:
            raise ProbeError(
                Reason.HTTP_PROTOCOL, "The peer keeps sending informational (1xx) responses."
            )
