"""A server that speaks MongoDB's wire protocol and replies to each command as a test says, whatever
that is.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bson import decode, encode
from bson.int64 import Int64

from probed.testing import Peer, serve
from probed.testing.servers import Server

HEADER = struct.Struct("<iiii")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HELLO: Mapping[str, Any] = {
    "ok": 1.0, "helloOk": True, "ismaster": True, "isWritablePrimary": True, "setName": "rs0",
    "setVersion": 1, "me": "127.0.0.1:27017", "hosts": ["127.0.0.1:27017"], "primary": "127.0.0.1:27017",
    "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
    "localTime": NOW, "minWireVersion": 0, "maxWireVersion": 21, "logicalSessionTimeoutMinutes": 30,
    "connectionId": 7, "readOnly": False,
}  # fmt: skip
CURSOR: Mapping[str, Any] = {"cursor": {"id": Int64(0), "ns": "x.y", "firstBatch": []}, "ok": 1.0}

Reply = Mapping[str, Any] | bytes | Callable[[Peer, int], Any]
"""A document; the bytes of one; or a coroutine function of the connection and the request's id."""


def message(
    body: bytes, to: int, *, length: int | None = None, kind: int = 2013, flags: int = 0
) -> bytes:
    """Return an OP_MSG of one section, with a length that may be a lie."""
    whole = HEADER.size + 5 + len(body)
    head = HEADER.pack(whole if length is None else length, 1, to, kind)
    return head + struct.pack("<iB", flags, 0) + body


def nested(depth: int, kind: int = 3) -> bytes:
    """Return a document (or, as kind 4, arrays) within a document, and so on."""
    heads, size = [], 5
    for _ in range(depth):
        size += 8
        heads.append(struct.pack("<i", size) + bytes([kind]) + b"0\0")
    return b"".join(reversed(heads)) + b"\x05\0\0\0\0" + b"\0" * depth


def cursor(*documents: Any) -> dict[str, Any]:
    """Return the reply to an aggregation or a find."""
    return {"cursor": {"id": Int64(0), "ns": "x.y", "firstBatch": list(documents)}, "ok": 1.0}


@dataclass
class Mongod:
    """The replies by command name; `$currentOp` and the names of collections stand for the aggregations
    on them. `asked` has the names of the commands in their order.

    The greeting of ours, before the driver, is `isMaster` with the id 1; it is replied to by `greeting`
    if that is set.
    """

    replies: dict[str, Reply] = field(default_factory=dict)
    greeting: Reply | None = None
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def talk(self, peer: Peer) -> None:
        while True:
            head = await _exactly(peer, HEADER.size)
            if not head:
                return
            length, number, _, _ = HEADER.unpack(head)
            body = await _exactly(peer, length - HEADER.size)
            command = decode(body[5:])
            await self._reply(peer, number, command)

    async def _reply(self, peer: Peer, number: int, command: Mapping[str, Any]) -> None:
        name = next(iter(command))
        if name == "aggregate":
            name = "$currentOp" if command[name] == 1 else command[name]
        if name in {"isMaster", "ismaster", "hello"}:
            name = "hello"
        self.asked.append(name)
        reply = self.replies.get(name, HELLO if name == "hello" else CURSOR)
        if (
            name == "hello"
            and number == 1
            and "client" not in command
            and self.greeting is not None
        ):
            reply = self.greeting
        if callable(reply):
            await reply(peer, number)
        else:
            await peer.send(message(reply if isinstance(reply, bytes) else encode(reply), number))


async def _exactly(peer: Peer, count: int) -> bytes:
    read = b""
    while len(read) < count:
        data = await peer.receive(count - len(read))
        if not data:
            return b""
        read += data
    return read


@asynccontextmanager
async def mongod(**replies: Reply) -> AsyncIterator[Mongod]:
    """Serve; the keyword `greeting` is the reply to our own greeting."""
    made = Mongod(replies=dict(replies), greeting=replies.pop("greeting", None))
    async with serve(made.talk) as server:
        made.port = server.port
        yield made


__all__ = ["CURSOR", "HELLO", "NOW", "Mongod", "Server", "cursor", "message", "mongod", "nested"]
