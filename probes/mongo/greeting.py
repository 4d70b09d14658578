"""The first words on a connection of our own, before the driver makes one: what it cannot tell apart
is found out here (it calls all of it a server selection timeout, after a second or more).

OP_MSG: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from bson import CodecOptions, DatetimeConversion, decode, encode
from bson.errors import BSONError

from probed import HostPort, Network, ProbeError, Reason, Recorder, Stream, Tls, within
from probes.mongo.reading import Document, number
from probes.mongo.reasons import MongoReason

DIAL_SECONDS = 2.0
ANSWER_SECONDS = 2.0
REPLY_LIMIT = 1 << 20
OLDEST = 9
"""maxWireVersion of MongoDB 4.4, the oldest that the driver speaks to."""
OP_MSG = 2013
OP_REPLY = 1
_HEADER = struct.Struct("<iiii")

CODEC: CodecOptions[Mapping[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)
_BODY = encode(
    {"isMaster": 1, "helloOk": True, "$db": "admin"}
)  # servers before 4.4.2 know no hello
_HELLO = _HEADER.pack(16 + 5 + len(_BODY), 1, 0, OP_MSG) + bytes(5) + _BODY


async def greet(
    network: Network, recorder: Recorder, node: HostPort, tls: Tls | None
) -> tuple[str, Document]:
    """Phases `resolve`, `connect`, `tls`, `wait`: the address that answered, and its hello.

    Raises ProbeError, OSError or ssl.SSLError; the connection is closed in any case.
    """
    with within(recorder, DIAL_SECONDS):
        stream = await network.dial(
            recorder, node.host, node.port, tls=tls.options if tls else None,
            server_name=tls.server_name if tls else None,
        )  # fmt: skip
        try:
            return stream.peer, await _say_hello(recorder, stream, secure=tls is not None)
        finally:
            stream.close()
    raise AssertionError  # `within` has raised


async def _say_hello(recorder: Recorder, stream: Stream, *, secure: bool) -> Document:
    with recorder.phase("wait"):
        try:
            await stream.send(_HELLO)
            header = await _exactly(stream, 16)
            length, _, _, kind = _HEADER.unpack(header)
            if kind not in {OP_MSG, OP_REPLY} or not 16 + 5 < length <= REPLY_LIMIT:
                raise ProbeError(MongoReason.PROTOCOL)
            reply = _decode(kind, await _exactly(stream, length - 16))
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


def _decode(kind: int, body: bytes) -> Mapping[str, Any]:
    try:
        # OP_MSG: flags and a section of kind 0. OP_REPLY: flags, cursor, two numbers.
        document: Mapping[str, Any] = decode(body[5 if kind == OP_MSG else 20 :], CODEC)
    except (BSONError, ValueError, IndexError, OverflowError):
        raise ProbeError(MongoReason.PROTOCOL) from None
    return document


async def _exactly(stream: Stream, count: int) -> bytes:
    read = b""
    while len(read) < count:
        data = await stream.receive(count - len(read))
        if not data:
            raise EOFError
        read += data
    return read
