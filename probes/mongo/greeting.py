"""The first message on a connection of our own, before the driver makes one. It tells apart what the
driver reports as one server selection timeout, after a second or more.
"""

from __future__ import annotations

from probed import HostPort, Network, ProbeError, Reason, Recorder, Stream, Tls, within
from probes.mongo.reading import Document, number
from probes.mongo.reasons import MongoReason
from probes.mongo.wire import MongoFraming, decode_reply, request_of

DIAL_SECONDS = 2.0
OLDEST = 9
"""maxWireVersion of MongoDB 4.4, the oldest that the driver speaks to."""
_HELLO = request_of({"isMaster": 1, "helloOk": True, "$db": "admin"})
"""Servers before 4.4.2 do not know `hello`."""


async def greet(
    network: Network, recorder: Recorder, node: HostPort, tls: Tls | None
) -> tuple[str, Document]:
    """Return the address that answered, and its reply to `hello`: phases `resolve`, `connect`, `tls`,
    `wait`.

    Raises ProbeError, OSError or ssl.SSLError; the connection is closed in any case.
    """
    with within(recorder, DIAL_SECONDS):
        stream = await network.dial(
            recorder, node.host, node.port, tls=tls.options if tls else None,
            server_name=tls.server_name if tls else None,
        )  # fmt: skip
        try:
            with recorder.phase("wait"):
                return stream.peer, await say_hello(stream, secure=tls is not None)
        finally:
            stream.close()
    raise AssertionError  # `within` has raised


async def say_hello(stream: Stream, *, secure: bool) -> Document:
    """Return the reply to `hello`. Raises ProbeError, OSError or ssl.SSLError."""
    try:
        await stream.send(_HELLO)
        reply = decode_reply(await _reply(stream))
    except (EOFError, ConnectionResetError):
        hint = "" if secure else ", or it wants TLS"
        raise ProbeError(
            Reason.CONNECT_CLOSED,
            "The server closed the connection before it answered: its limit of connections is "
            f"reached, it is shutting down{hint}.",
        ) from None
    if number(reply, "ok") != 1:
        raise ProbeError(MongoReason.COMMAND, "The server answered hello with an error.")
    if (number(reply, "maxWireVersion") or 0) < OLDEST:
        raise ProbeError(MongoReason.INCOMPATIBLE)
    return reply


async def _reply(stream: Stream) -> bytes:
    framing = MongoFraming()
    read = bytearray()
    length = framing.head
    while len(read) < length:
        data = await stream.receive(length - len(read))
        if not data:
            raise EOFError
        read += data
        if len(read) == framing.head == length:
            length = framing.reply_length(bytes(read), _HELLO)
    return bytes(read)
