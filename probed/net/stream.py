"""A byte stream over a non-blocking socket, plain or TLS.

Data is read only on request, so a peer cannot fill the memory. Closing never waits for the peer.
Cancelling a wait leaves nothing behind on the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

from probed.reasons import ProbeError, Reason, classify

CHUNK = 65536
LINE_LIMIT = 4096
EPHEMERAL = 32768
"""First port of the range from which the kernel assigns source ports."""


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def readable(sock: socket.socket) -> None:
    """Wait until the socket is readable."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    descriptor = sock.fileno()
    loop.add_reader(descriptor, _wake, future)
    try:
        await future
    finally:
        loop.remove_reader(descriptor)


async def writable(sock: socket.socket) -> None:
    """Wait until the socket is writable, or its connection attempt has ended."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    descriptor = sock.fileno()
    loop.add_writer(descriptor, _wake, future)
    try:
        await future
    finally:
        loop.remove_writer(descriptor)


class Stream:
    """One connection. Methods raise the socket's errors: OSError, ssl.SSLError."""

    __slots__ = ("_buffer", "peer", "socket")

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.socket = sock
        self.peer = peer
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send all the data."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await writable(self.socket)
            except ssl.SSLWantReadError:
                await readable(self.socket)
            except (ConnectionError, ssl.SSLEOFError):
                self._raise_last_words()
                raise

    def _raise_last_words(self) -> None:
        """Raise the alert that came before the connection broke, if one did: it says why."""
        if isinstance(self.socket, ssl.SSLSocket):
            try:
                self.socket.recv(1)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError):
                pass
            except OSError as error:
                if isinstance(error, ssl.SSLError):
                    raise

    async def part(self) -> None:
        """Say that no more will come, and wait for what the peer says to that: with TLS 1.3 it judges
        our certificate after the handshake. Raises ssl.SSLError where it does not accept it.
        """
        try:
            # Not `unwrap`: it takes an alert for a goodbye.
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        except OSError:
            pass  # the peer has closed
        try:
            await self.receive()
        except OSError as error:
            # Other alerts are about our sudden end.
            if classify(error)[0] is Reason.TLS_CLIENT_CERTIFICATE:
                raise

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return the next bytes, at most `limit`; empty at the end of the stream."""
        if self._buffer:
            data, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return data
        while True:
            try:
                return self.socket.recv(limit)
            except (BlockingIOError, ssl.SSLWantReadError):
                await readable(self.socket)
            except ssl.SSLWantWriteError:
                await writable(self.socket)

    async def readline(self, limit: int = LINE_LIMIT) -> bytes:
        """Return the next line without its line end.

        Raises ProbeError `banner.too_long` for a line over `limit` bytes and `connect.closed` where
        the peer closes before the line has ended.
        """
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if len(line) > limit:
                raise ProbeError(Reason.BANNER_TOO_LONG)
            if newline:
                self._buffer = rest
                return line.removesuffix(b"\r")
            partial, self._buffer = self._buffer, b""
            try:
                data = await self.receive(limit + 2)
            finally:
                self._buffer = partial
            if not data:
                raise ProbeError(Reason.CONNECT_CLOSED)
            self._buffer = partial + data

    async def handshake(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """Do the TLS handshake. Raises ssl.SSLError or OSError."""
        if self._buffer:
            # Data from before the handshake is not protected by it (STARTTLS injection).
            raise ProbeError(Reason.TLS_NOT_TLS, "The peer sent text ahead of the TLS handshake.")
        wrapped = context.wrap_socket(
            self.socket, server_hostname=server_name, do_handshake_on_connect=False
        )
        self.socket = wrapped
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await readable(wrapped)
            except ssl.SSLWantWriteError:
                await writable(wrapped)
            else:
                return

    def close(self) -> None:
        """Close at once, without waiting for the peer."""
        self.socket.close()


async def connect(address: str, port: int) -> Stream:
    """Connect to an address and port. Raises OSError."""
    sock = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect((address, port))
        except BlockingIOError:
            await writable(sock)
        except OSError as error:
            if error.errno == errno.ENETUNREACH:
                # Immediate, so it is this machine's routing table: no packet was sent.
                raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN)) from None
            raise
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and port >= EPHEMERAL and sock.getsockname() == sock.getpeername():
            # On loopback, a socket can connect to itself where nothing listens.
            code = errno.ECONNREFUSED
        if code:
            raise OSError(code, os.strerror(code))  # noqa: TRY301  # one place closes the socket
    except BaseException:
        sock.close()
        raise
    return Stream(sock, address)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
