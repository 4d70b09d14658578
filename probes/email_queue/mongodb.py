"""A queue that is a collection of MongoDB. Imports the driver: it is imported with the first check
that needs it.
"""

from __future__ import annotations

import struct
from typing import Any

import anyio
import bson
import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from probed import NamedContext, Run, Stream
from probes.email_queue.reasons import QueueReason
from probes.email_queue.settings import Mongodb
from probes.email_queue.tally import Tally
from probes.email_queue.times import epoch_of

DEPTH = 1_000_000
"""Documents that are counted."""
BUDGET = 3.0
"""Seconds that each question may take the server."""
_HEADER = struct.Struct("<iiii")
"""Length, request, the request that it answers, operation (the wire protocol's MsgHeader)."""
_OP_MSG = 2013
_LONGEST = 48_000_000
_LOGIN = {13, 18}
"""Unauthorized and AuthenticationFailed."""


async def read_mongodb(run: Run, source: Mongodb, tally: Tally) -> None:
    """Phases `resolve`, `connect`, `tls` where asked for, `query`."""
    async with run.connect(source.address, tls=source.tls) as stream:
        peer = stream.peer
        with run.phase("hello"):
            await _greet(run, stream)
    client = _client(run, source, peer)
    try:
        with run.phase("query"):
            try:
                await _read(client, source, tally)
            except OperationFailure as error:
                reason = (
                    QueueReason.AUTH_REJECTED if error.code in _LOGIN else QueueReason.UNREADABLE
                )
                run.fail(reason, evidence={"code": error.code})
            except PyMongoError as error:
                run.fail(QueueReason.UNREADABLE, evidence={"error": type(error).__name__})
    finally:
        # It says goodbye to the server first, and waits for that.
        with anyio.move_on_after(0.4, shield=True), pymongo.timeout(0.2):
            await client.close()


async def _greet(run: Run, stream: Stream) -> None:
    """Fail unless it speaks MongoDB: the driver loses the socket of a peer that does not."""
    body = b"\0\0\0\0\0" + bson.encode({"hello": 1, "$db": "admin"})
    await stream.send(_HEADER.pack(_HEADER.size + len(body), 1, 0, _OP_MSG) + body)
    said = b""
    while len(said) < _HEADER.size:
        data = await stream.receive()
        if not data:
            raise EOFError
        said += data
    length, _, answers, operation = _HEADER.unpack_from(said)
    if (operation, answers) != (_OP_MSG, 1) or not _HEADER.size < length < _LONGEST:
        run.fail(QueueReason.NOT_UNDERSTOOD, "What answers is not MongoDB.")


async def _read(client: AsyncMongoClient[dict[str, Any]], source: Mongodb, tally: Tally) -> None:
    collection = client[source.database][source.collection]
    with pymongo.timeout(BUDGET):
        depth = await collection.count_documents(source.filter, limit=DEPTH)
        since = None
        if source.time is not None and depth:
            oldest = await collection.find_one(
                source.filter, {source.time: 1, "_id": 0}, sort=[(source.time, 1)]
            )
            value: Any = oldest
            for name in source.time.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            since = epoch_of(value)
    if depth == DEPTH:
        tally.truncated = f"after {DEPTH} documents"
    tally.lot(source.collection, depth, None if since is None else tally.now - since)


def _client(run: Run, source: Mongodb, peer: str) -> AsyncMongoClient[dict[str, Any]]:
    """A client of the address that was judged and has answered: it looks no names up itself."""
    login: dict[str, Any] = {}
    if source.username is not None and source.password is not None:
        login = {
            "username": source.username.text,
            "password": source.password.get_secret_value(),
            "authSource": source.auth_source,
        }
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        f"[{peer}]" if ":" in peer else peer,
        source.address.port,
        directConnection=True,
        appName="probed",
        serverSelectionTimeoutMS=2000,
        connectTimeoutMS=2000,
        serverMonitoringMode="poll",
        readPreference="secondaryPreferred",
        maxPoolSize=1,
        retryReads=False,
        retryWrites=False,
        tz_aware=True,
        **login,
    )
    if source.tls is not None:
        # Private: the driver builds its own contexts, and verifies for the address.
        context = run.network.contexts.get(source.tls.options)
        named = NamedContext(context, source.tls.server_name or source.address.host)
        client.options.pool_options._PoolOptions__ssl_context = named  # type: ignore[attr-defined]  # noqa: SLF001
    return client
