"""A byte stream over a non-blocking socket, plain or TLS: the one way in which data of a peer is read.

Data is read only on request, so a peer cannot fill the memory. A peer that sends faster than it is read
cannot hold the event loop: reads that do not wait are small, and others get a turn before each. Closing
never waits for the peer. Cancelling a wait leaves nothing behind on the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from contextlib import suppress

from probed.reasons import ProbeError, Reason, classify

CHUNK = 65536
EAGER = 16384
"""Bytes that are read at once from a peer that is faster than we are: a few milliseconds of the dearest
parser.
"""
RECORDS = 16384 + 512
"""Bytes of TLS that are decrypted at once: a full record (RFC 8446 section 5.2). OpenSSL stays in its
handshake messages for as long as there are some, and gives no turn to others meanwhile.
"""
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


async def receive(sock: socket.socket, limit: int, *, eager: bool) -> tuple[bytes, bool]:
    """Return what comes next, and whether it was there already. `eager` says that of the read before:
    then others get a turn first.
    """
    if eager:
        await asyncio.sleep(0)
    waited = False
    while True:
        try:
            return sock.recv(limit), not waited
        except BlockingIOError:
            waited = True
            await readable(sock)


async def send(sock: socket.socket, data: bytes) -> None:
    """Send all the data."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await writable(sock)


class Stream:
    """One connection. Methods raise the socket's errors: OSError, ssl.SSLError. `tls` is the TLS session,
    from the handshake on.
    """

    __slots__ = ("_buffer", "_eager", "_incoming", "_outgoing", "peer", "socket", "tls")
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.socket = sock
        self.peer = peer
        self.tls: ssl.SSLObject | None = None
        self._buffer = b""
        self._eager = False

    async def send(self, data: bytes) -> None:
        """Send all the data."""
        try:
            if self.tls is None:
                await send(self.socket, data)
                return
            for start in range(0, len(data), CHUNK):
                self.tls.write(data[start : start + CHUNK])
                await self._flush()
        except ConnectionError:
            await self._raise_last_words()
            raise

    async def _flush(self) -> None:
        """Send what the TLS session has to say."""
        if self._outgoing.pending:
            await send(self.socket, self._outgoing.read())

    async def _fill(self) -> None:
        """Hand what comes next to the TLS session."""
        await self._flush()
        data, self._eager = await receive(self.socket, RECORDS, eager=self._eager)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _raise_last_words(self) -> None:
        """Raise the alert that came before the connection broke, if one did: it says why."""
        if self.tls is None:
            return
        try:
            self._incoming.write(self.socket.recv(RECORDS))
            self.tls.read(1)
        except (ssl.SSLWantReadError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                raise

    async def part(self) -> None:
        """Say that no more will come, and wait for what the peer says to that: with TLS 1.3 it judges
        our certificate after the handshake. Raises ssl.SSLError where it does not accept it.
        """
        # Without a goodbye of TLS: an alert would be taken for the answer to it.
        with suppress(OSError):  # the peer has closed
            self.socket.shutdown(socket.SHUT_WR)
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
        if self.tls is None:
            limit = min(limit, EAGER) if self._eager else limit
            data, self._eager = await receive(self.socket, limit, eager=self._eager)
            return data
        while True:
            try:
                return self.tls.read(limit)
            except ssl.SSLWantReadError:
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

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
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLError:
                with suppress(OSError):  # the alert that says why, as far as there is room for it
                    self.socket.send(self._outgoing.read())
                raise
            else:
                await self._flush()
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
