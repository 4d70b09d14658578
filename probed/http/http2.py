"""One request over one HTTP/2 connection (RFC 9113), with the same bounds as over HTTP/1.1.

`h2` holds the protocol state. This module bounds everything else that a peer may send: pings,
settings, empty or tiny frames, and frames that never end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

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

FRAME_LIMIT = 16_384
"""Bytes of one frame: the initial value of SETTINGS_MAX_FRAME_SIZE (RFC 9113 section 6.5.2)."""
FRAMES = 1000
"""Frames that a peer may send, plus one per 64 bytes of body."""
YIELD_EVERY = 64
"""Frames after which other tasks get a turn."""
STREAM = 1
_GOAWAY = 7
_CONFIG = h2.config.H2Configuration(client_side=True, header_encoding=None)


def check_agreed(stream: Stream) -> None:
    """Raise ProbeError `http.version` if ALPN did not select HTTP/2 (RFC 7301)."""
    if stream.tls is not None and stream.tls.selected_alpn_protocol() != "h2":
        raise ProbeError(Reason.HTTP_VERSION, "The peer does not offer HTTP/2 over TLS (ALPN).")


async def exchange(
    recorder: Recorder,
    stream: Stream,
    request: Request,
    extra: bytes,
    body_limit: int,
    unread: Callable[[int], bool] | None,
) -> Response:
    """Send the request and read the response: phases `request, wait, receive`."""
    connection = _Connection(stream, body_limit)
    with recorder.phase("request"):
        check_agreed(stream)
        await connection.send(request, extra)
    response = connection.response
    with recorder.phase("wait") as wait:
        while not response.status:
            await connection.receive()
    record_head(recorder, response, wait.duration)
    if unread is not None and unread(response.status):
        return response
    with recorder.phase("receive"):
        while not connection.complete and not response.truncated:
            await connection.receive()
    decode(response, b"".join(connection.parts), body_limit)
    return response


class _Connection:
    """The state of the connection, and the response so far. Nothing is stored past the limits."""

    def __init__(self, stream: Stream, limit: int) -> None:
        self.response = Response(version="2")
        self.parts: list[bytes] = []
        self.complete = False
        self._stream = stream
        self._limit = limit
        self._state = h2.connection.H2Connection(_CONFIG)
        self._state.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: 1,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
            },
        )
        self._state.initiate_connection()
        self._buffer = b""
        self._at = 0
        self._seen = 0
        self._frames = 0
        self._informational = 0

    async def send(self, request: Request, extra: bytes) -> None:
        """Send the request, or as much of it as the peer accepts before it responds."""
        fields = [
            (b":method", request.method.encode()),
            (b":scheme", b"https" if request.url.secure else b"http"),
            (b":path", request.url.path_and_query.encode()),
            *request.fields,
        ]
        for line in extra.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                fields.append((name.lower(), value.strip()))
        self._state.send_headers(STREAM, fields, end_stream=not request.body)
        await self._flush()
        body = request.body
        while body and not self.response.status:
            window = self._state.local_flow_control_window(STREAM)
            part = body[: min(window, self._state.max_outbound_frame_size)]
            if not part:
                await self.receive()
                continue
            body = body[len(part) :]
            self._state.send_data(STREAM, part, end_stream=not body)
            await self._flush()

    async def receive(self) -> None:
        """Read and process the next frame."""
        if self._frames % YIELD_EVERY == YIELD_EVERY - 1:
            await asyncio.sleep(0)
        frame = await self._frame()
        self._bound(len(frame))
        if frame[3] == _GOAWAY:
            # `h2` rejects responses that follow a GOAWAY; RFC 9113 section 6.8 allows them.
            self._check_goaway(frame[9:])
            return
        try:
            events = self._state.receive_data(frame)
        except h2.exceptions.DenialOfServiceError:
            raise ProbeError(Reason.HTTP_HEADERS_TOO_LARGE) from None
        except h2.exceptions.ProtocolError as error:
            kind = type(error).__name__
            raise ProbeError(
                Reason.HTTP_PROTOCOL, f"The peer violates the HTTP/2 protocol ({kind})."
            ) from None
        for event in events:
            self._handle(event)
        await self._flush()

    async def _frame(self) -> bytes:
        """Return the next whole frame: 9 bytes of header, then the length that it gives."""
        while True:
            left = len(self._buffer) - self._at
            if left >= 9:
                length = int.from_bytes(self._buffer[self._at : self._at + 3], "big")
                if not self._frames and self._buffer.startswith(b"HTTP/"):
                    raise ProbeError(Reason.HTTP_VERSION, "The peer responds in HTTP/1.")
                if length > FRAME_LIMIT:
                    raise ProbeError(
                        Reason.HTTP_PROTOCOL, "The peer violates the HTTP/2 protocol (frame size)."
                    )
                if left >= 9 + length:
                    frame = self._buffer[self._at : self._at + 9 + length]
                    self._at += len(frame)
                    return frame
            data = await self._stream.receive()
            if not data:
                raise ProbeError(Reason.CONNECT_CLOSED, self._closed_message())
            self._buffer, self._at = self._buffer[self._at :] + data, 0

    async def _flush(self) -> None:
        data = self._state.data_to_send()
        if data and not self.complete:
            await self._stream.send(data)

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self._add_body(event)
        elif isinstance(event, h2.events.ResponseReceived):
            self._set_head(event.headers or [])
        elif isinstance(event, h2.events.StreamEnded):
            self.complete = True
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self._informational += 1
            if self._informational > INFORMATIONAL_LIMIT:
                raise ProbeError(
                    Reason.HTTP_PROTOCOL, "The peer keeps sending informational (1xx) responses."
                )
        elif isinstance(event, h2.events.StreamReset) and event.stream_id == STREAM:
            raise _stream_reset(int(event.error_code or 0))

    def _check_goaway(self, payload: bytes) -> None:
        last, code = (int.from_bytes(part, "big") for part in (payload[:4], payload[4:8]))
        if len(payload) < 8 or code != ErrorCodes.NO_ERROR or last & 0x7FFFFFFF < STREAM:
            raise _stream_reset(code)

    def _set_head(self, headers: object) -> None:
        response = self.response
        assert isinstance(headers, list)
        if len(headers) > HEADER_COUNT:
            raise ProbeError(Reason.HTTP_HEADERS_TOO_LARGE)
        status = b""
        for name, value in headers:
            if name == b":status":
                status = bytes(value)
            else:
                response.headers.append((name.decode("latin-1"), bytes(value)))
        if len(status) != 3 or not status.isdigit() or status < b"200":
            raise ProbeError(Reason.HTTP_PROTOCOL)
        response.status = int(status)

    def _add_body(self, event: h2.events.DataReceived) -> None:
        response = self.response
        data = bytes(event.data or b"")
        room = self._limit - response.size
        if len(data) > room:
            data = data[:room]
            response.truncated = True
        response.size += len(data)
        self.parts.append(data)
        if event.flow_controlled_length and not response.truncated:
            self._state.acknowledge_received_data(event.flow_controlled_length, STREAM)

    def _bound(self, length: int) -> None:
        """Raise ProbeError if the peer sends too much that is not body: padding, an unfinished header
        block, or frames without content.
        """
        size = self.response.size
        self._frames += 1
        self._seen += length
        if self._frames > FRAMES + size // 64 or (
            self.response.status and self._seen > HEADER_LIMIT + 2 * size + FRAME_LIMIT
        ):
            raise ProbeError(
                Reason.HTTP_PROTOCOL, "The peer floods the connection with HTTP/2 frames."
            )
        if not self.response.status and self._seen > HEADER_LIMIT + FRAME_LIMIT:
            raise ProbeError(Reason.HTTP_HEADERS_TOO_LARGE)

    def _closed_message(self) -> str:
        if self.response.status:
            size = self.response.size
            return f"The peer closed the connection after {size} bytes of the body."
        return "The peer closed the connection without sending a response."


def _stream_reset(code: int) -> ProbeError:
    if code == ErrorCodes.HTTP_1_1_REQUIRED:
        return ProbeError(Reason.HTTP_VERSION, "The peer requires HTTP/1.1 for this request.")
    known = code in ErrorCodes.__members__.values()
    name = ErrorCodes(code).name if known else "an unknown error code"
    return ProbeError(Reason.HTTP_STREAM_RESET, f"The peer reset the stream: {name}.")
