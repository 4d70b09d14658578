"""One node's client. Imports the driver, and so is imported with the first check that needs it.

PyMongo's documented options do most of it; what they do not offer is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import pymongo
from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from probed import Certificate, HostPort, NamedContext, Network, Outcome, ProbeError, Tls
from probes.mongo import measures
from probes.mongo.errors import explain
from probes.mongo.greeting import CODEC, greet
from probes.mongo.part import Call, CommandError, Lost, NodePart
from probes.mongo.reading import Document
from probes.mongo.reasons import MongoReason

APP = "probed"
"""How the server and its people know us: `appName`."""
LOGIN_AFTER = 60.0
"""Seconds without a login after one was rejected: accounts get locked."""
HELLO = Call("admin", {"hello": 1}, "log in", 2.0)


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Whom we are. NodePart of the key of what is kept: others have other connections."""

    username: str = ""
    password: str = ""
    source: str = "admin"
    mechanism: str = ""

    @property
    def options(self) -> dict[str, Any]:
        if self.mechanism == "MONGODB-X509":
            return {"authMechanism": self.mechanism, "authSource": "$external"}
        if not self.username:
            return {}
        options = {"username": self.username, "password": self.password, "authSource": self.source}
        return options | ({"authMechanism": self.mechanism} if self.mechanism else {})


class Node:
    """A node, the client that asks it, and what is remembered between runs. `monotonic` tells time."""

    def __init__(self, address: HostPort, login: Login, tls: Tls | None) -> None:
        self.address = address
        self._login = login
        self._tls = tls
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._certificate: Certificate | None = None
        self._facts: Mapping[str, Any] = {}
        self._barred_until = 0.0

    async def open(self, part: NodePart) -> Document:
        """Return the reply to `hello`, on an authenticated connection.

        A pooled connection that is broken is replaced; that is no failure of the server. Raises
        ProbeError, OSError or ssl.SSLError, each of which says why.
        """
        run, network, now = part.run, part.run.network, part.run.clock.monotonic()
        if self._client is not None:
            run.certificate = self._certificate
            for name, value in self._facts.items():
                run.fact(name, value)
            try:
                return await self.send(part, "hello", HELLO)
            except Lost:
                await self.aclose()
        peer, greeting = await greet(network, run, self.address, self._tls)
        if now < self._barred_until:
            raise ProbeError(
                MongoReason.AUTH_REJECTED,
                f"{MongoReason.AUTH_REJECTED.sentence} It is tried again in "
                f"{self._barred_until - now:.0f} s.",
                level=Outcome.UNKNOWN,
            )
        login = Login() if greeting.get("arbiterOnly") is True else self._login
        self._certificate, self._facts = run.certificate, dict(run.facts)
        self._client = self._make(network, peer, login)
        try:
            return await self.send(part, "hello", HELLO)
        except CommandError as error:
            if error.reason is MongoReason.AUTH_REJECTED:
                self._barred_until = now + LOGIN_AFTER
                await self.aclose()
            raise

    def _make(self, network: Network, peer: str, login: Login) -> AsyncMongoClient[dict[str, Any]]:
        """A client of the address that was judged and has answered: it looks no names up itself."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            f"[{peer}]" if ":" in peer else peer,
            self.address.port,
            directConnection=True,  # else a secondary answers with what the primary says
            appName=APP,
            timeoutMS=5000,
            serverSelectionTimeoutMS=2000,
            connectTimeoutMS=1000,
            serverMonitoringMode="poll",  # else a wrong password is a network error the second time
            maxPoolSize=1,
            retryReads=False,
            retryWrites=False,
            **login.options,
        )
        if self._tls is not None:
            # Private: the driver builds its own contexts (20 ms each) and verifies for the address.
            named = NamedContext(
                network.contexts.get(self._tls.options), self._tls.server_name or self.address.host
            )
            client.options.pool_options._PoolOptions__ssl_context = named  # type: ignore[attr-defined]  # noqa: SLF001
        return client

    async def send(self, part: NodePart, phase: str, call: Call) -> Document:
        """Send a command, as a phase. Raises ProbeError: CommandError, Lost, or `mongo.incompatible`."""
        assert self._client is not None
        called: dict[str, Any] = {
            "db.system.name": "mongodb",
            "db.operation.name": call.operation,
            "db.namespace": call.database,
            "server.address": self.address.host,
            "server.port": self.address.port,
        }
        if call.collection:
            called["db.collection.name"] = call.collection
        begun = part.run.clock.monotonic()
        with part.run.phase(phase, called) as opened:
            try:
                with pymongo.timeout(call.budget):
                    return await self._client[call.database].command(
                        dict(call.command), codec_options=CODEC
                    )
            except (PyMongoError, BSONError) as error:
                found = explain(error, call.right)
                opened.error = found.reason
                if isinstance(found, CommandError):
                    called["db.response.status_code"] = str(found.code)
                raise found from None
            finally:
                part.measure(
                    measures.DURATION,
                    part.run.clock.monotonic() - begun,
                    db__system__name="mongodb",
                    db__namespace=call.database,
                    db__operation__name=call.operation,
                )

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            # It says goodbye to the server first, and waits for that.
            with anyio.move_on_after(0.4, shield=True), pymongo.timeout(0.2):
                await client.close()
