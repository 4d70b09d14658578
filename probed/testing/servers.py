"""Servers that misbehave, by name: `async with serve("silent") as server: server.port`."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from probed.testing import http_behaviours as http
from probed.testing import tcp_behaviours as tcp
from probed.testing.endpoint import Endpoint
from probed.testing.peer import BUFFER_LIMIT, Peer, ready
from probed.testing.tcp_behaviours import Talk

Layer = Literal["tcp", "tls", "http"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A way to misbehave. `talk` is None if the peer never accepts; `layer` is the lowest protocol whose
    clients notice.

    With `broken`, no client of that layer gets a valid answer, so none may report ok.
    """

    talk: Talk | None
    layer: Layer
    broken: bool = True

    @property
    def sentence(self) -> str:
        return (self.talk.__doc__ if self.talk else None) or "It never accepts."


class Server(Endpoint):
    """A TCP server that runs `talk` for each connection, with `tls` after a TLS handshake.

    `connections` counts accepted connections, `received` is the first 1 MiB of what they sent. `tls`
    may be changed while the server runs. `refuse` and `resume` take it away and bring it back.
    """

    def __init__(
        self, talk: Talk | None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        super().__init__(host)
        self.connections = 0
        self.tls = tls
        self._talk = talk
        self._received = bytearray()
        self._listener: socket.socket | None = None
        self._reserved: socket.socket | None = None

    @property
    def received(self) -> bytes:
        return bytes(self._received)

    async def _start(self) -> None:
        self.resume()

    async def refuse(self) -> None:
        """Reset all connections and refuse new ones until `resume`. The port stays reserved."""
        if self._listener is None:
            return
        # A bound socket that never listens keeps the port (SO_REUSEPORT, socket(7)).
        self._reserved = self._bound(socket.SOCK_STREAM, self.port, reuse=True)
        await self._cancel_tasks()
        self._close(self._listener)
        self._listener = None

    def resume(self) -> None:
        """Accept connections again, on the same port."""
        if self._listener is not None:
            return
        self._listener = self._bound(socket.SOCK_STREAM, self.port, reuse=True)
        self._listener.listen(256)
        self._spawn(self._accept(self._listener, self._handle))
        if self._reserved is not None:
            self._close(self._reserved)
            self._reserved = None

    def _close(self, sock: socket.socket) -> None:
        self._sockets.remove(sock)
        sock.close()

    async def _handle(self, peer: Peer) -> None:
        if self.tls is not None:
            await peer.start_tls(self.tls)
        await self._serve(peer)

    async def _serve(self, peer: Peer) -> None:
        assert self._talk is not None
        await self._talk(peer)

    def _accepted(self) -> None:
        self.connections += 1
        self._notify()

    def _heard(self, data: bytes) -> None:
        self._received += data[: BUFFER_LIMIT - len(self._received)]
        self._notify()


class _Refusing(Server):
    """A port that is bound but refuses connections."""

    async def _start(self) -> None:
        self._bound(socket.SOCK_STREAM)


class _BlackHole(Server):
    """Its accept queue is full, so the kernel drops new connections."""

    async def _start(self) -> None:
        listener = self._bound(socket.SOCK_STREAM)
        listener.listen(0)
        for _ in range(8):
            sock = socket.socket(listener.family, socket.SOCK_STREAM)
            self._sockets.append(sock)
            sock.setblocking(False)
            sock.connect_ex((self.host, self.port))
            try:
                async with asyncio.timeout(0.1):
                    await ready(sock, write=True)
            except TimeoutError:
                return
        raise OSError(errno.ENOTSUP, "this kernel accepts connections although the queue is full")


_LINE = """
import os, signal, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
os.kill(os.getpid(), signal.SIGSTOP)
while True:
    listener.accept()[0].sendall(b"220 awake\\r\\n")
"""


class _Frozen(Server):
    """Its `process` is stopped (SIGSTOP): the kernel accepts, and nothing reads."""

    process: subprocess.Popen[bytes]

    async def _start(self) -> None:
        listener = self._bound(socket.SOCK_STREAM)
        listener.listen(64)
        number = listener.fileno()
        self.process = subprocess.Popen(  # noqa: S603, ASYNC220  # our own program, and 1 ms
            [sys.executable, "-I", "-S", "-c", _LINE, str(number)], pass_fds=[number]
        )
        await asyncio.to_thread(os.waitid, os.P_PID, self.process.pid, os.WSTOPPED)

    async def _stop(self) -> None:
        await super()._stop()
        self.process.kill()
        self.process.wait()


_MUTE = {"refused": _Refusing, "black_hole": _BlackHole, "frozen": _Frozen}
"""Behaviours that never accept."""


def serve(
    behaviour: str | Talk, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Server:
    """Return a server on a free port, for an `async with` block. `behaviour` is a name in `BEHAVIOURS`,
    or a coroutine function that takes a Peer.
    """
    if isinstance(behaviour, str) and behaviour in _MUTE:
        return _MUTE[behaviour](None, host=host)
    talk = BEHAVIOURS[behaviour].talk if isinstance(behaviour, str) else behaviour
    return Server(talk, tls=tls, host=host)


_TCP = {
    "silent": tcp.silent,
    "drip": tcp.drip(),
    "reset": tcp.reset,
    "reset_mid_line": tcp.reset_mid_line,
    "close_early": tcp.close_early,
    "half_close": tcp.half_close,
    "half_line": tcp.half_line,
    "endless_line": tcp.endless_line,
    "garbage": tcp.garbage,
    "tls_on_plain": tcp.tls_on_plain,
}
_TLS = {
    "plain_on_tls": tcp.plain_on_tls,
    "tls_stall": tcp.tls_stall,
    "tls_close": tcp.tls_close,
    "tls_alert": tcp.tls_alert,
    "tls_old": tcp.tls_old,
}
_WHOLE = ("no_content_with_body", "redirect_to_metadata")
_HTTP_BROKEN = {
    "reset_mid_response": http.reset_mid_response,
    "stall_body": http.stall_body,
    "drip_headers": tcp.drip(start=b"HTTP/1.1 200 OK\r\nX-Drip: "),
    "drip_body": http.drip_body(),
    "slow_body": http.slow_body(),
    "endless_headers": http.endless_headers,
    "endless_header_line": http.endless_header_line,
    "informational_flood": http.informational_flood,
    "chunked_garbage": http.chunked_garbage,
    **{name: talk for name, talk in http.CANNED.items() if name not in _WHOLE},
}
_HTTP_ODD = {
    "answer_first": http.answer_first,
    "huge_body": http.huge_body,
    "gzip_bomb": http.gzip_bomb,
    "double_gzip_bomb": http.double_gzip_bomb,
    "deflate_bomb": http.deflate_bomb,
    "redirect_loop": http.redirect_loop,
    **{name: http.CANNED[name] for name in _WHOLE},
}

BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType(
    {
        "refused": Behaviour(None, "tcp"),
        "black_hole": Behaviour(None, "tcp"),
        "frozen": Behaviour(None, "tcp"),
        **{name: Behaviour(talk, "tcp") for name, talk in _TCP.items()},
        "hostile_line": Behaviour(tcp.hostile_line, "tcp", broken=False),
        "endless_lines": Behaviour(tcp.endless_lines, "tcp", broken=False),
        **{name: Behaviour(talk, "tls") for name, talk in _TLS.items()},
        **{name: Behaviour(talk, "http") for name, talk in _HTTP_BROKEN.items()},
        **{name: Behaviour(talk, "http", broken=False) for name, talk in _HTTP_ODD.items()},
    }
)
"""All misbehaviours by name: a closed set."""
