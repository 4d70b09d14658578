"""What the demo's peers are made of: a port that listens or refuses, and a little HTTP/1.1.

As much of RFC 9112 as a health endpoint needs: one request without a body per connection, every
read bounded in size, every connection in time.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TypeAlias

import anyio
from anyio.abc import ByteStream, Listener, SocketStream, TaskGroup, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from probed import http
from probed.clock import SystemClock
from probed.fields import Url
from probed.http import Request
from probed.net import Network
from probed.record import Recorder
from probed.text.redact import Redactor

HOST = "127.0.0.1"
PATIENCE = 10.0
"""Seconds after which a connection is closed, whatever its state."""
HEAD_LIMIT = 16 * 1024
ANSWER_LIMIT = 256 * 1024

Handler: TypeAlias = Callable[[ByteStream], Awaitable[None]]
Answer: TypeAlias = "Callable[[str], Awaitable[Response]]"
"""From the path and query of a GET request to its response."""

_PEER_LEFT = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.DelimiterNotFound,
)


class Port:
    """One TCP port on loopback. It listens or it refuses, but nobody else can have it.

    A bound socket that never listens keeps the number meanwhile (SO_REUSEPORT, socket(7)).
    """

    def __init__(self) -> None:
        self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind((HOST, 0))
        self.number: int = self._reserved.getsockname()[1]
        self._scope: anyio.CancelScope | None = None
        self._closed = anyio.Event()

    def __str__(self) -> str:
        return f"{HOST}:{self.number}"

    async def listen(self, tasks: TaskGroup, handler: Handler) -> None:
        """Serve each connection with `handler`, as tasks of `tasks`, until `refuse`."""
        if self._scope is not None:
            return
        listener = await anyio.create_tcp_listener(
            local_host=HOST, local_port=self.number, reuse_port=True
        )
        await tasks.start(self._serve, listener, handler)

    async def refuse(self) -> None:
        """Drop all connections and refuse new ones."""
        if self._scope is not None:
            self._scope.cancel()
            await self._closed.wait()

    async def release(self) -> None:
        """Refuse, and give the number back."""
        await self.refuse()
        self._reserved.close()

    async def _serve(
        self,
        listener: Listener[SocketStream],
        handler: Handler,
        *,
        task_status: TaskStatus[None],
    ) -> None:
        self._closed = anyio.Event()
        try:
            with anyio.CancelScope() as self._scope:
                task_status.started()
                await listener.serve(partial(_converse, handler))
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()
            self._scope = None
            self._closed.set()


async def _converse(handler: Handler, stream: SocketStream) -> None:
    async with stream:
        try:
            with anyio.move_on_after(PATIENCE):
                await handler(stream)
        except _PEER_LEFT:
            pass


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response whose body is at hand."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, *, head_only: bool = False) -> bytes:
        lines = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Cache-Control": "no-store",
            "Connection": "close",
            **self.headers,
        }
        first = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
        head = first + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        return head.encode("latin-1") + (b"" if head_only else self.body)


NOT_FOUND = Response(404, b"Not Found\n")


async def serve_http(answer: Answer, stream: ByteStream) -> None:
    """Read one request, send its answer."""
    head = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", HEAD_LIMIT)
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    target, _, version = rest.partition(" ")
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not target.startswith("/"):
        response = Response(400, b"Bad Request\n")
    elif method not in {"GET", "HEAD"}:
        response = Response(405, b"Method Not Allowed\n", headers={"Allow": "GET, HEAD"})
    else:
        response = await answer(target)
    await stream.send(response.encode(head_only=method == "HEAD"))


async def fetch(url: str) -> Response:
    """GET a URL of one of our peers, as a probe would. Raises OSError or ProbeError."""
    recorder = Recorder(SystemClock(), Redactor())
    request = Request(Url.parse(url))
    answer = await http.fetch(recorder, Network(), request, body_limit=ANSWER_LIMIT)
    kind = answer.header("content-type") or "application/octet-stream"
    return Response(answer.status, answer.body, kind)
