"""One accepted connection of a test or demo server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

CHUNK = 65536
BUFFER_LIMIT = 1 << 20
"""Bytes that are buffered, and that a server records of what it receives."""
SEND_LIMIT = 1100 << 20
"""Bytes after which a peer stops sending."""


class Gone(Exception):  # noqa: N818  # an end, as StopIteration is
    """The other side closed the connection, or a limit was reached."""


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def ready(sock: socket.socket, *, write: bool = False) -> None:
    """Wait until the socket is readable, or with `write` writable."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    number = sock.fileno()
    if write:
        loop.add_writer(number, _wake, future)
    else:
        loop.add_reader(number, _wake, future)
    try:
        await future
    finally:
        if write:
            loop.remove_writer(number)
        else:
            loop.remove_reader(number)


class Peer:
    """A byte stream that reads only what it is asked to, and can end in every bad way.

    Methods raise OSError, ssl.SSLError or Gone if the other side fails; a behaviour does not catch
    them.
    """

    def __init__(self, sock: socket.socket, heard: Callable[[bytes], None]) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._heard = heard
        self._buffer = b""
        self._sent = 0

    async def send(self, data: bytes) -> None:
        """Send all data, and let other tasks run."""
        self._sent += len(data)
        if self._sent > SEND_LIMIT:
            raise Gone
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await ready(self.socket, write=True)
            except ssl.SSLWantReadError:
                await ready(self.socket)
        await asyncio.sleep(0)

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return the next bytes, at most `limit`; empty at the end."""
        if self._buffer:
            data, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return data
        return await self._read(limit)

    async def _read(self, limit: int = CHUNK) -> bytes:
        while True:
            try:
                data = self.socket.recv(limit)
            except (BlockingIOError, ssl.SSLWantReadError):
                await ready(self.socket)
            except ssl.SSLWantWriteError:
                await ready(self.socket, write=True)
            except ssl.SSLEOFError:
                return b""
            else:
                self._heard(data)
                return data

    async def read_until(self, mark: bytes) -> bytes:
        """Return everything before the mark. Raises Gone at the end of the stream, or at the limit."""
        while mark not in self._buffer:
            data = await self._read()
            if not data or len(self._buffer) > BUFFER_LIMIT:
                raise Gone
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    async def read_line(self) -> bytes:
        """Return the next line without its end."""
        return (await self.read_until(b"\n")).removesuffix(b"\r")

    async def read_exactly(self, count: int) -> bytes:
        """Return that many bytes. Raises Gone if the stream ends before."""
        while len(self._buffer) < count:
            data = await self._read()
            if not data or count > 64 * BUFFER_LIMIT:
                raise Gone
            self._buffer += data
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Start TLS, as the server."""
        wrapped = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket = wrapped
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await ready(wrapped)
            except ssl.SSLWantWriteError:
                await ready(wrapped, write=True)
            else:
                return

    async def until_gone(self) -> None:
        """Stay silent until the other side closes; discard what it sends."""
        while await self._read():
            pass

    async def pause(self, seconds: float) -> None:
        """Wait so many seconds. Raises Gone as soon as the other side closes."""
        try:
            async with asyncio.timeout(seconds):
                await self.until_gone()
        except TimeoutError:
            return
        raise Gone

    def half_close(self) -> None:
        """Close the sending direction (FIN)."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST: unread data is lost."""
        if self.socket.fileno() >= 0:
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.socket.close()

    def reset_or_close(self, task: asyncio.Task[None]) -> None:
        """Close after the task of the connection has ended: with RST if it was cancelled."""
        if task.cancelled():
            self.reset()
        else:
            self.close()

    def close(self) -> None:
        """Close; over TLS with a close_notify, without waiting for an answer."""
        if self.socket.fileno() < 0:
            return
        if isinstance(self.socket, ssl.SSLSocket):
            try:
                self.socket.unwrap()
            except (OSError, ValueError):
                pass
        self.socket.close()
