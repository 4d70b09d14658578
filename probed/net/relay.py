"""A relay between a driver and its server: the driver connects only to a socket of this process, and
streams of the dialer carry its messages to the server.

So the deny list, TLS, the deadline and the limits on what a peer may send are ours, whichever driver
it is. The socket is in Linux's abstract namespace (unix(7)): it needs no file and no writable folder.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

from probed.net.stream import CHUNK, Stream, send

PATIENCE = 5.0
"""Seconds for dialing, and for one request with its reply."""
REQUEST_LIMIT = 1 << 20
"""Maximum size of a request, in bytes."""
_BACKLOG = 16
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group (unix(7), SO_PEERCRED)."""


class Framing(Protocol):
    """Where messages of a protocol end, and which replies may pass. `head` is the number of bytes that
    tell the length.
    """

    head: int

    def request_length(self, head: bytes) -> int:
        """Return the bytes of the request that begins so."""

    def reply_length(self, head: bytes, request: bytes) -> int:
        """Return the bytes of the reply that begins so. Raises ProbeError if it must not pass."""

    def filtered(self, reply: bytes, request: bytes) -> bytes:
        """Return the reply that the driver is given for one of at most `CHUNK` bytes; longer ones pass
        piece by piece. Raises ProbeError if it must not pass.
        """


class Relay:
    """Carries a driver's requests to its server, and one reply for each back.

    `dial` opens the stream of one connection. `address` is the path to give to the driver. At most
    twice `CHUNK` bytes of a reply are held at a time. `replies` counts those that the driver was given.
    `fault` is what the server did wrong, or an error of our own; `on_fault` is called then.
    """

    def __init__(self, dial: Callable[[], Awaitable[Stream]], framing: Framing) -> None:
        self.address = f"\0probed-{os.getpid()}-{secrets.token_hex(16)}.sock"
        self.replies = 0
        self.fault: Exception | None = None
        self.on_fault: Callable[[], None] = _ignore
        self._dial = dial
        self._framing = framing
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind(self.address)
            self._listener.listen(_BACKLOG)
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
        except BaseException:
            self._listener.close()
            raise

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        accepted.setblocking(False)
        process, _, _ = _CREDENTIALS.unpack(
            accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if process != os.getpid():  # abstract names can be read by everybody on this machine
            accepted.close()
            return
        driver = _Driver(accepted)
        driver.carrier = task = asyncio.get_running_loop().create_task(self._carry(driver))
        self._tasks.add(task)
        task.add_done_callback(lambda _: driver.close())  # also if it never began
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, driver: _Driver) -> None:
        server: Stream | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                server = await self._dial()
            while request := await self._request(driver):
                async with asyncio.timeout(PATIENCE):
                    await server.send(request)
                    await self._reply(driver, server, request)
                self.replies += 1
        except (OSError, EOFError, ssl.SSLError):
            pass  # the driver sees that its connection ends
        except Exception as error:  # noqa: BLE001  # who sent the request raises it
            self.fault = error
            self.on_fault()
        finally:
            if server is not None:
                server.close()

    async def _request(self, driver: _Driver) -> bytes:
        """Return the driver's next request, whole; empty where it has closed."""
        request = await driver.receive()
        while request and len(request) < self._framing.head:
            request += await _more(driver.receive())
        length = self._framing.request_length(request) if request else 0
        while len(request) < length:
            request += await _more(driver.receive())
        return request

    async def _reply(self, driver: _Driver, server: Stream, request: bytes) -> None:
        data = await _more(server.receive())
        while len(data) < self._framing.head:
            data += await _more(server.receive())
        left = self._framing.reply_length(data, request)
        if left <= CHUNK:
            while len(data) < left:
                data += await _more(server.receive())
            await driver.send(self._framing.filtered(data[:left], request))
            return
        while True:
            # What follows a reply belongs to no request: the driver does not see it.
            await driver.send(data[:left])
            left -= len(data)
            if left <= 0:
                return
            await asyncio.sleep(0)  # both may be ready at once, for as long as the reply is
            data = await _more(server.receive())

    async def aclose(self) -> None:
        """Close the driver's and the server's connections at once."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _Driver:
    """The driver's connection. It is always read, so that its end ends the relaying at once: a driver
    closes a connection whose command has timed out.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.carrier: asyncio.Task[None] | None = None
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._gone = False
        self._arrived = asyncio.Event()
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._data += data
        self._arrived.set()
        if not data or len(self._data) > REQUEST_LIMIT:
            self._gone = True
            self._loop.remove_reader(self._socket)
            if self.carrier is not None:
                self.carrier.cancel()

    async def receive(self) -> bytes:
        """Return the next bytes; empty at the end."""
        await self._arrived.wait()
        data, self._data = self._data, b""
        if not self._gone:
            self._arrived.clear()
        return data

    async def send(self, data: bytes) -> None:
        """Send all the data."""
        await send(self._socket, data)

    def close(self) -> None:
        """Close at once."""
        self.carrier = None  # it holds us: garbage that only a search would find
        if not self._gone:
            self._loop.remove_reader(self._socket)
        self._socket.close()


def _ignore() -> None:
    pass


async def _more(data: Awaitable[bytes]) -> bytes:
    found = await data
    if not found:
        raise EOFError
    return found
