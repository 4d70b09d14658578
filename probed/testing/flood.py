"""A peer in a process of its own that sends faster than anybody reads.

`python -m probed.testing.flood` reads one line of JSON, a `Flood`, and prints the port on which it
serves it.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio

from probed.fields import HostPort

LIMIT = 512 << 20
"""Maximum number of bytes that one connection is sent."""
SECONDS = 30
"""Seconds for which the process lives at most."""
BURST = 64 * 1024
HEARD = 0.02
"""Seconds for which the peer hears a client out before it answers."""


@dataclass(frozen=True, slots=True)
class Flood:
    """The bytes that a peer sends: `greeting` at once, then after each request the next of `replies`, and at last
    `unit` again and again. Over UDP, `unit` is sent for each datagram that comes, until the next; its
    first two bytes are those of the query where `echo_id` is set. With `certificate` and `key`, paths of
    PEM files, it speaks TLS, and sends so many session `tickets` (RFC 8446 section 4.6.1) first.
    """

    unit: bytes
    greeting: bytes = b""
    replies: tuple[bytes, ...] = ()
    udp: bool = False
    echo_id: bool = False
    certificate: str | None = None
    key: str | None = None
    tickets: int = 2
    piece: int = BURST
    """Bytes that are sent at once."""


@asynccontextmanager
async def flooding(flood: Flood) -> AsyncIterator[HostPort]:
    """Serve the flood on 127.0.0.1 until the block ends."""
    fields = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in asdict(flood).items()
    }
    fields["replies"] = [reply.hex() for reply in flood.replies]
    command = [sys.executable, "-m", "probed.testing.flood"]
    async with await anyio.open_process(
        command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            await process.stdin.send(json.dumps(fields).encode() + b"\n")
            yield HostPort("127.0.0.1", int(await process.stdout.receive()))
        finally:
            process.kill()


def _serve_tcp(flood: Flood, listener: socket.socket) -> None:
    context = None
    if flood.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(flood.certificate, flood.key)
        context.num_tickets = flood.tickets
    burst = (flood.unit * (BURST // max(1, len(flood.unit)) + 1))[: max(flood.piece, 1)]
    whole = len(burst) - len(burst) % len(flood.unit) or len(burst)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            with suppress(OSError):
                _talk(flood, connection, context, burst[:whole])
            os._exit(0)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _talk(
    flood: Flood, connection: socket.socket, context: ssl.SSLContext | None, burst: bytes
) -> None:
    if context is not None:
        connection = context.wrap_socket(connection, server_side=True)
    connection.sendall(flood.greeting)
    for reply in flood.replies:
        _hear(connection)
        connection.sendall(reply)
    if flood.replies or not flood.greeting:
        _hear(connection)
    sent = 0
    while sent < LIMIT:
        connection.sendall(burst)
        sent += len(burst)


def _hear(connection: socket.socket) -> None:
    """Read a request, as long as more of it comes."""
    connection.recv(BURST)
    while select.select([connection], [], [], HEARD)[0] and connection.recv(BURST):
        pass


def _serve_udp(flood: Flood, sock: socket.socket) -> None:
    while True:
        query, sender = sock.recvfrom(BURST)
        datagram = query[:2] + flood.unit[2:] if flood.echo_id else flood.unit
        sent = 0
        while sent < LIMIT and not select.select([sock], [], [], 0)[0]:
            with suppress(OSError):
                sock.sendto(datagram, sender)
            sent += len(datagram)


def main() -> None:
    """Serve the flood that stands on the standard input, for `SECONDS` at most."""
    import signal  # noqa: PLC0415  # of this program alone

    signal.alarm(SECONDS)
    fields: dict[str, Any] = json.loads(sys.stdin.readline())
    for name in ("unit", "greeting"):
        fields[name] = bytes.fromhex(fields[name])
    flood = Flood(**fields | {"replies": tuple(map(bytes.fromhex, fields["replies"]))})
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if flood.udp else socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    if not flood.udp:
        sock.listen(16)
    sys.stdout.write(f"{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    (_serve_udp if flood.udp else _serve_tcp)(flood, sock)


if __name__ == "__main__":
    main()
