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
    """Client of the node at `peer`: the address that passed the deny list and has answered."""

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
        relay, raised = self._relay, None
        self._framing.limit, relay.fault = call.limit, None
        try:
            with anyio.CancelScope() as scope, pymongo.timeout(call.budget):
                relay.on_fault = scope.cancel  # the driver would try again until its time is over
                return await self._database(call.database).command(
                    dict(call.command), codec_options=CODEC
                )
        except Exception as error:  # noqa: BLE001  # the table below is complete
            raised = error
        raise self._explained(raised, call) from None

    def _explained(self, error: Exception | None, call: Call) -> Exception:
        """Return the error to raise instead; without one, the relay has ended the command."""
        fault = self._relay.fault
        if isinstance(fault, ProbeError):
            return Lost(fault.reason, fault.message)
        if fault is not None or error is None:
            return fault or Lost(MongoReason.PROTOCOL)
        if isinstance(error, InvalidDocument | OverflowError):
            return ProbeError(MongoReason.COMMAND, "The command cannot be written as BSON.")
        if isinstance(error, PyMongoError | BSONError):
            return explain(error, call.right)
        return Lost(MongoReason.PROTOCOL) if self._relay.replies else error

    def _database(self, name: str) -> AsyncDatabase[dict[str, Any]]:
        if name not in self._databases:
            self._databases[name] = self._driver[name]
        return self._databases[name]

    async def aclose(self) -> None:
        """Close the connections. The driver says goodbye to the server first, and waits for that."""
        if not await self._close_driver():
            await self._relay.aclose()
            await self._close_driver()
        await self._relay.aclose()

    async def _close_driver(self) -> bool:
        """Return whether the driver has closed all that it has. A server can make its goodbye fail."""
        try:
            with anyio.move_on_after(0.4, shield=True) as scope, pymongo.timeout(0.2):
                await self._driver.close()
        except Exception:  # noqa: BLE001  # whatever a reply makes the driver raise
            return False
        return not scope.cancelled_caught


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
