"""MongoDB's messages on the wire: their header, and the rules that a reply must keep to.

OP_MSG: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from bson import CodecOptions, DatetimeConversion, decode, encode
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError

from probed import ProbeError
from probes.mongo.reading import count, milliseconds, number
from probes.mongo.reasons import MongoReason

REPLY_LIMIT = 128 << 10
"""Bytes of one reply to what probed asks: decoding so much takes 50 ms at most. The server's
`maxMessageSizeBytes` does not count, because a server can claim any size.
"""
LOGIN_LIMIT = 64 << 10
"""Bytes of one reply to a handshake or a step of a login."""
ITERATIONS = 100_000
"""SCRAM iterations: so many take 60 ms, during which the event loop is blocked. The server's default is
15,000.
"""
OP_MSG = 2013
OP_REPLY = 1
_HEADER = struct.Struct("<iiii")
"""Length, id, id of the request that it answers, operation."""
_FLAGGED = struct.Struct("<iiiiI")
"""A header, and the flags of OP_MSG."""
_MORE_TO_COME = 2
"""A flag of OP_MSG: another reply follows without a request."""
_NAME = 26
"""Where the first key of an OP_MSG's document begins: the command's name."""
_LOGIN = {b"hello", b"isMaster", b"ismaster", b"saslStart", b"saslContinue", b"authenticate"}
"""Commands of a handshake or a login."""

_NUMBERS = (
    "code", "connectionId", "conversationId", "logicalSessionTimeoutMinutes", "maxBsonObjectSize",
    "maxMessageSizeBytes", "maxWireVersion", "maxWriteBatchSize", "minWireVersion",
)  # fmt: skip
_FIELDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (bool, ("arbiterOnly", "done", "helloOk", "isWritablePrimary", "isreplicaset", "ismaster",
            "readOnly", "secondary")),
    (str, ("codeName", "errmsg", "msg", "setName")),
    (bytes, ("payload",)),
)  # fmt: skip
_LAST_DATE = 253_402_300_800_000
"""The end of the year 9999 in milliseconds: the driver raises for later dates."""
_LISTS = ("errorLabels", "saslSupportedMechs")

CODEC: CodecOptions[Mapping[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)


class MongoFraming:
    """The length of each message, for a relay. `limit` is in bytes: the longest reply that may pass."""

    head = _FLAGGED.size

    def __init__(self) -> None:
        self.limit = REPLY_LIMIT

    def request_length(self, head: bytes) -> int:
        """Return the bytes of the request that begins so."""
        return int(_HEADER.unpack_from(head)[0])

    def reply_length(self, head: bytes, request: bytes) -> int:
        """Return the bytes of the reply that begins so.

        Raises ProbeError `mongo.protocol` for one that is too large or compressed, or that announces
        further replies.
        """
        length, _, _, operation, flags = _FLAGGED.unpack_from(head)
        limit = LOGIN_LIMIT if _is_login(request) else self.limit
        if length > limit:
            raise ProbeError(
                MongoReason.PROTOCOL,
                f"The server's reply is too large: {length} bytes, more than {limit}.",
            )
        more = operation == OP_MSG and flags & _MORE_TO_COME
        if operation not in {OP_MSG, OP_REPLY} or length <= self.head or more:
            raise ProbeError(MongoReason.PROTOCOL)
        return int(length)

    def filtered(self, reply: bytes, request: bytes) -> bytes:
        """Return the reply; of a handshake or a login, only what the driver uses, in the types that it
        expects: it looks at those replies in tasks of its own, where nobody catches what they make it
        raise.

        Raises ProbeError `mongo.protocol` for one that cannot be decoded, and where the server demands
        too many SCRAM iterations.
        """
        if not _is_login(request):
            return reply
        document = _typed(decode_reply(reply))
        if not all(map(_is_bearable, _payloads(document))):
            raise ProbeError(
                MongoReason.PROTOCOL,
                f"The server demands more than {ITERATIONS} iterations of SCRAM for a login.",
            )
        _, own, answers, _ = _HEADER.unpack_from(reply)
        return message_of(document, own, answers)


def _typed(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a reply to a handshake or a login that have the type they should have."""
    found: dict[str, Any] = {"ok": 1.0 if number(reply, "ok") == 1 else 0.0}
    for name in _NUMBERS:
        value = count(reply, name)
        if value is not None and value < 1 << 31:
            found[name] = int(value)
    for kind, names in _FIELDS:
        found |= {name: reply[name] for name in names if isinstance(reply.get(name), kind)}
    date = milliseconds(reply, "localTime")
    if date is not None and 0 <= date < _LAST_DATE:
        found["localTime"] = DatetimeMS(date)
    for name in _LISTS:
        if isinstance(reply.get(name), list):
            found[name] = [each for each in reply[name] if isinstance(each, str)]
    inner = reply.get("speculativeAuthenticate")
    if isinstance(inner, Mapping) and isinstance(inner.get("payload"), bytes):
        found["speculativeAuthenticate"] = _typed(inner)
    return found if found["ok"] else {"code": 0, "errmsg": "", **found}


def _payloads(reply: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the SCRAM messages of a reply."""
    for holder in (reply, reply.get("speculativeAuthenticate", {})):
        if "payload" in holder:
            yield holder["payload"]


def _is_bearable(message: bytes) -> bool:
    """Return whether the iteration counts of a SCRAM message are small (RFC 5802 section 5.1)."""
    counts = [part[2:] for part in message.split(b",") if part.startswith(b"i=")]
    return all(
        each.isdigit() and len(each) <= len(str(ITERATIONS)) and int(each) <= ITERATIONS
        for each in counts
    )


def _is_login(request: bytes) -> bool:
    return request[_NAME : request.index(0, _NAME)] in _LOGIN


def request_of(command: Mapping[str, Any]) -> bytes:
    """Return the command as an OP_MSG with the id 1."""
    return message_of(command, 1, 0)


def message_of(document: Mapping[str, Any], number: int, answers: int) -> bytes:
    """Return the document as an OP_MSG: its id, and that of the request that it answers."""
    body = encode(document)
    return _FLAGGED.pack(_FLAGGED.size + 1 + len(body), number, answers, OP_MSG, 0) + b"\0" + body


def decode_reply(message: bytes) -> Mapping[str, Any]:
    """Return the document of a reply. Raises ProbeError `mongo.protocol`."""
    _, _, _, operation = _HEADER.unpack_from(message)
    # OP_MSG: flags and a section of kind 0. OP_REPLY: flags, cursor, two numbers.
    begin = _HEADER.size + (5 if operation == OP_MSG else 20)
    try:
        document: Mapping[str, Any] = decode(message[begin:], CODEC)
    except (BSONError, ValueError, IndexError, OverflowError, RecursionError):
        raise ProbeError(MongoReason.PROTOCOL) from None
    return document
