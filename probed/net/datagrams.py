"""Sockets for dnspython. Its own are asyncio transports, and uvloop leaves one open that is cancelled
during its creation.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import anyio
import dns.exception
from dns.asyncbackend import (  # type: ignore[attr-defined]  # public, but not in `__all__`
    Backend as Base,
)
from dns.asyncbackend import (  # type: ignore[attr-defined]
    DatagramSocket,
    StreamSocket,
)

from probed.net.stream import Stream, connect, readable, writable

_DATAGRAM = 65535


class Datagrams(DatagramSocket):
    """A connected datagram socket: the kernel drops datagrams of other senders and reports ICMP errors."""

    def __init__(self, family: int, destination: Any) -> None:
        super().__init__(family, socket.SOCK_DGRAM)
        self._destination = destination
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(destination)
        except BaseException:
            self._socket.close()
            raise

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        self._destination = destination
        with _within(timeout):
            while True:
                try:
                    return self._socket.send(what)
                except BlockingIOError:
                    await writable(self._socket)
        raise dns.exception.Timeout(timeout=timeout)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:
        with _within(timeout):
            while True:
                try:
                    return self._socket.recv(min(size, _DATAGRAM)), self._destination
                except BlockingIOError:
                    await readable(self._socket)
        raise dns.exception.Timeout(timeout=timeout)

    async def close(self) -> None:
        self._socket.close()


class Connection(StreamSocket):
    """A stream as dnspython's `StreamSocket`."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.socket.family, socket.SOCK_STREAM)
        self._stream = stream

    async def sendall(self, what: bytes, timeout: float | None) -> None:
        with _within(timeout):
            await self._stream.send(what)
            return
        raise dns.exception.Timeout(timeout=timeout)

    async def recv(self, size: int, timeout: float | None) -> bytes:
        with _within(timeout):
            return await self._stream.receive(size)
        raise dns.exception.Timeout(timeout=timeout)

    async def close(self) -> None:
        self._stream.close()


class Backend(Base):
    """The backend by which dnspython's resolver opens its sockets."""

    def name(self) -> str:
        return "probed"

    def datagram_connection_required(self) -> bool:
        return True

    async def make_socket(
        self,
        family: int,
        kind: int,
        protocol: int = 0,  # noqa: ARG002
        source: Any = None,  # noqa: ARG002  # any source address
        destination: Any = None,
        timeout: float | None = None,
        ssl_context: Any = None,  # noqa: ARG002  # no DNS over TLS
        server_hostname: str | None = None,  # noqa: ARG002
    ) -> Any:
        if kind == socket.SOCK_DGRAM:
            return Datagrams(family, destination)
        with _within(timeout):
            return Connection(await connect(destination[0], destination[1]))
        raise dns.exception.Timeout(timeout=timeout)

    async def sleep(self, interval: float) -> None:
        await anyio.sleep(interval)


def _within(timeout: float | None) -> contextlib.AbstractContextManager[Any]:
    return anyio.move_on_after(timeout)
