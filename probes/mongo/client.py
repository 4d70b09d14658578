"""One node's client, for every kind that asks a MongoDB server. Imports the driver.

The driver connects only to a relay of ours, by its documented unix sockets. It looks no name up, dials
no address and speaks no TLS: the relay's streams do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pymongo
from bson.errors import BSONError, InvalidDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from probed import HostPort, ProbeError, Recorder, Relay, Run, Stream, Tls
from probes.mongo.errors import explain
from probes.mongo.login import Login
from probes.mongo.part import Call, Lost
from probes.mongo.reading import Document
from probes.mongo.reasons import MongoReason
from probes.mongo.wire import CODEC, MongoFraming

APP = "probed"
"""How the server and its people know us: `appName`."""


class Client:
    """A client of the node at `peer`, the address that was judged and has answered."""

    def __init__(self, run: Run, node: HostPort, peer: str, login: Login, tls: Tls | None) -> None:
        network, clock, redactor = run.network, run.clock, run.redactor
        options = tls.options if tls else None
        name = (tls.server_name if tls else None) or node.host

        async def dial() -> Stream:
            recorder = Recorder(clock, redactor)
            return await network.dial(recorder, peer, node.port, tls=options, server_name=name)

        self._framing = MongoFraming()
        self._relay = Relay(dial, self._framing)
        self._driver: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            self._relay.address,
            directConnection=True,  # else a secondary answers with what the primary says
            appName=APP,
            timeoutMS=5000,
            serverSelectionTimeoutMS=2000,
            connectTimeoutMS=1000,
            serverMonitoringMode="poll",  # else a wrong password is a network error the second time
            heartbeatFrequencyMS=600_000,  # each command tells whether the server is there
            maxPoolSize=1,
            retryReads=False,
            retryWrites=False,
            **login.options,
        )

        self._databases: dict[str, AsyncDatabase[dict[str, Any]]] = {}

    async def command(self, call: Call) -> Document:
        """Return the server's reply. Raises ProbeError: CommandError, Lost, or `mongo.incompatible`.

        What a reply makes the driver raise is the server's fault; what it raises before any reply has
        come is ours.
        """
        relay, before = self._relay, self._relay.replies
        self._framing.limit, relay.fault = call.limit, None
        try:
            with pymongo.timeout(call.budget):
                return await self._database(call.database).command(
                    dict(call.command), codec_options=CODEC
                )
        except Exception as error:
            if isinstance(relay.fault, ProbeError):
                raise Lost(relay.fault.reason, str(relay.fault)) from None
            if relay.fault is not None:
                raise relay.fault from None
            if isinstance(error, InvalidDocument | OverflowError) and relay.replies == before:
                raise ProbeError(MongoReason.COMMAND, "The command cannot be written.") from None
            if isinstance(error, PyMongoError | BSONError):
                raise explain(error, call.right) from None
            if relay.replies == before:
                raise
            raise Lost(MongoReason.PROTOCOL) from None

    def _database(self, name: str) -> AsyncDatabase[dict[str, Any]]:
        if name not in self._databases:
            self._databases[name] = self._driver[name]
        return self._databases[name]

    async def aclose(self) -> None:
        """Close the connections. The driver says goodbye to the server first, and waits for that."""
        try:
            with anyio.move_on_after(0.4, shield=True), pymongo.timeout(0.2):
                await self._driver.close()
        finally:
            with anyio.CancelScope(shield=True):
                await self._relay.aclose()


def named(call: Call, node: HostPort) -> Mapping[str, Any]:
    """Return the attributes of a command's span (OpenTelemetry's conventions for databases)."""
    found: dict[str, Any] = {
        "db.system.name": "mongodb",
        "db.operation.name": call.operation,
        "db.namespace": call.database,
        "server.address": node.host,
        "server.port": node.port,
    }
    if call.collection:
        found["db.collection.name"] = call.collection
    return found
