"""Connections of a listener, bounded in number, bytes and time before anybody has shown a password.

uvicorn bounds none of this for its httptools protocol: `limit_concurrency` answers 503 to everybody while
idle strangers hold their connections, and `h11_max_incomplete_event_size` is for h11 alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from itertools import islice
from math import inf
from time import monotonic
from typing import Any

import anyio
import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

log = logging.getLogger("probed.web")

PIECE, PIECES = 4096, 32
"""Bytes that are parsed before they are counted, and such pieces that are parsed in one turn of the event
loop, of all connections: a rush of requests delays nothing else.
"""
LOG_INTERVAL = 60.0
"""Seconds between two log lines about refused connections."""
REASONS = ("evicted", "malformed", "stalled", "timeout", "too_large")
"""Why a connection was closed: for another one, not HTTP, an answer that is not read, a request that does
not arrive in time, a request that is too large.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections of one listener, in seconds and bytes."""

    connections: int = 128
    idle: float = 5.0
    """Without a request, also before the first one."""
    head: float = 5.0
    body: float = 10.0
    stalled: float = 10.0
    """Without reading 48 KiB of an answer, or the rest of it."""
    head_bytes: int = 16 << 10
    headers: int = 100
    """Headers and trailers of a request: each costs a call, however short it is."""
    body_bytes: int = 4 << 10
    """No request needs a body, and each byte of it may be a chunk of its own."""
    pipelined: int = 2
    """Maximum number of requests that wait for the answer to an earlier one."""
    tick: float = 0.5
    """Between two checks of the time limits."""


class _Part(Enum):
    """The part of a request that is being received."""

    NONE = 0
    HEAD = 1
    BODY = 2


class _ExcessError(Exception):
    """There is too much of something; raised in a callback of the parser, it ends parsing."""


class Connections:
    """All connections of one listener. `refused` receives each reason for which one was closed."""

    def __init__(self, name: str, limits: Limits, refused: Callable[[str], None]) -> None:
        self.limits = limits
        self._name = name
        self._refused = refused
        self._open: set[Connection] = set()
        self._unparsed: dict[Connection, None] = {}
        self._unlogged: Counter[str] = Counter()
        self._logged = -inf

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._unparsed.pop(connection, None)

    def enqueue(self, connection: Connection) -> None:
        """Have the connection parse what it has received, as soon as it is its turn."""
        if not self._unparsed:
            connection.loop.call_soon(self._parse, connection.loop)
        self._unparsed[connection] = None

    def _parse(self, loop: asyncio.AbstractEventLoop) -> None:
        """Parse a piece of each of some connections; the others have the next turn of the event loop."""
        for connection in list(islice(self._unparsed, PIECES)):
            del self._unparsed[connection]
            if connection.parse():
                self._unparsed[connection] = None  # behind the others
        if self._unparsed:
            loop.call_soon(self._parse, loop)

    def count(self, reason: str) -> None:
        """Count a connection that was closed for this reason, and log it: one line a minute at most."""
        self._refused(reason)
        self._unlogged[reason] += 1
        now = monotonic()
        if now - self._logged < LOG_INTERVAL:
            return
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self._unlogged.items()))
        level = logging.WARNING if "evicted" in self._unlogged else logging.INFO
        log.log(level, "%s listener: closed connections of clients: %s", self._name, counts)
        self._logged = now
        self._unlogged.clear()

    def make_room(self) -> bool:
        """Close the connection that is needed least: an idle one before one that receives an answer, and
        the oldest of these first. Return False where there is none.
        """
        if not self._open:
            return False
        victim = min(self._open, key=Connection.rank)
        self._open.discard(victim)
        self.count("evicted")
        victim.transport.abort()
        return True

    async def sweep(self) -> None:
        """Close connections whose time is up, until cancelled."""
        while True:
            await anyio.sleep(self.limits.tick)
            for connection in list(self._open):
                connection.check()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits."""

    def __init__(self, *arguments: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections = connections
        self._limits = connections.limits
        self._part = _Part.NONE
        self._since = monotonic()
        self._size = 0
        self._paused: float | None = None
        self._closing: float | None = None
        self._running: RequestResponseCycle | None = None
        self._excess = False
        self._unparsed = bytearray()
        self._overflowed = False

    def rank(self) -> tuple[int, float]:
        """Return how much the connection is needed; the lowest is closed first."""
        if self.transport.is_closing():
            return 0, self._since
        if not self._answering:
            return 1, self._since
        return (3, self._since) if self._paused is None else (2, self._paused)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # Called by the event loop.

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)
        # uvicorn tells the last request only; an earlier one would wait for ever.
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = None

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        room = self._limits.head_bytes + self._limits.body_bytes + PIECE - len(self._unparsed)
        self._unparsed += data[:room]
        self._overflowed |= len(data) > room
        self._connections.enqueue(self)

    def parse(self) -> bool:
        """Parse a piece of what has arrived. Return whether there is more of it."""
        if self.transport.is_closing():
            return False
        piece = bytes(self._unparsed[:PIECE])
        del self._unparsed[:PIECE]
        self._size += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self.cycle is not None:
                self.cycle.keep_alive = False  # to nothing: the request is answered as it is
        except httptools.HttpParserError:
            self._refuse("too_large" if self._excess else "malformed")
            return False
        limit = self._limits.body_bytes
        if self._part is not _Part.BODY and not self._answering:
            limit = self._limits.head_bytes
        if self._size > limit or (self._overflowed and not self._unparsed):
            self._refuse("too_large")
            return False
        return bool(self._unparsed)

    # Called by the parser.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._enter(_Part.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._bound(len(self.headers), self._limits.headers)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._bound(len(self.pipeline), self._limits.pipelined)
        super().on_headers_complete()
        self._enter(_Part.BODY)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._enter(_Part.NONE)

    def _bound(self, count: int, limit: int) -> None:
        """Stop parsing where there are as many as there may be."""
        if count >= limit:
            self._excess = True
            raise _ExcessError

    def _enter(self, part: _Part) -> None:
        self._part, self._since, self._size = part, monotonic(), 0

    # Called by a request's answer.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self._part is _Part.NONE:
            self._since = monotonic()
        super().on_response_complete()

    # Limits.

    def check(self) -> None:
        """Close the connection if its time is up."""
        now, limits = monotonic(), self._limits
        if self.transport.is_closing():
            self._closing = self._closing or now
            if now - self._closing > limits.stalled:
                self._abort("stalled")
        elif self._paused is not None and now - self._paused > limits.stalled:
            self._abort("stalled")
        elif self._part is _Part.NONE:
            if not self._answering and now - self._since > limits.idle:
                self.transport.close()
        elif now - self._since > (limits.head if self._part is _Part.HEAD else limits.body):
            self._refuse("timeout")

    def _abort(self, reason: str) -> None:
        self._connections.discard(self)
        self._connections.count(reason)
        self.transport.abort()

    def _refuse(self, reason: str) -> None:
        if self._answering:  # what is written now would be a part of that answer
            self._abort(reason)
            return
        status = {
            "malformed": HTTPStatus.BAD_REQUEST,
            "timeout": HTTPStatus.REQUEST_TIMEOUT,
            "too_large": (
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                if self._part is _Part.HEAD
                else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            ),
        }[reason]
        self._connections.count(reason)
        text = f"{status.phrase}\n"
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\n"
            f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode()
        )
        self.transport.close()
