"""One node's connection, and what is remembered of it between runs. Imports the driver, and so is
imported with the first check that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probed import Certificate, HostPort, Outcome, ProbeError, Tls
from probes.mongo import measures
from probes.mongo.client import Client, named
from probes.mongo.greeting import greet
from probes.mongo.login import Login
from probes.mongo.part import Call, CommandError, Lost, NodePart
from probes.mongo.reading import Document
from probes.mongo.reasons import MongoReason

LOGIN_AFTER = 60.0
"""Seconds without a login after one was rejected: accounts get locked."""
HELLO = Call("admin", {"hello": 1}, "log in", 2.0)


class Node:
    """A node, its client, and what is remembered of it between runs."""

    def __init__(self, address: HostPort, login: Login, tls: Tls | None) -> None:
        self.address = address
        self._login = login
        self._tls = tls
        self._client: Client | None = None
        self._certificate: Certificate | None = None
        self._facts: Mapping[str, Any] = {}
        self._barred_until = 0.0

    async def open(self, part: NodePart) -> Document:
        """Return the reply to `hello`, on an authenticated connection.

        A pooled connection that is broken is replaced; that is no failure of the server. Raises
        ProbeError, OSError or ssl.SSLError, each of which says why.
        """
        run, now = part.run, part.run.clock.monotonic()
        if self._client is not None:
            run.certificate = self._certificate
            for name, value in self._facts.items():
                run.fact(name, value)
            try:
                return await self.send(part, "hello", HELLO)
            except Lost:
                await self.aclose()
        peer, greeting = await greet(run.network, run, self.address, self._tls)
        if now < self._barred_until:
            raise ProbeError(
                MongoReason.AUTH_REJECTED,
                f"{MongoReason.AUTH_REJECTED.sentence} It is tried again in "
                f"{self._barred_until - now:.0f} s.",
                level=Outcome.UNKNOWN,
            )
        login = Login() if greeting.get("arbiterOnly") is True else self._login
        self._certificate, self._facts = run.certificate, dict(run.facts)
        self._client = Client(run, self.address, peer, login, self._tls)
        try:
            return await self.send(part, "hello", HELLO)
        except CommandError as error:
            if error.reason is MongoReason.AUTH_REJECTED:
                self._barred_until = now + LOGIN_AFTER
                await self.aclose()
            raise

    async def send(self, part: NodePart, phase: str, call: Call) -> Document:
        """Send a command, as a phase. Raises ProbeError: CommandError, Lost, or `mongo.incompatible`."""
        assert self._client is not None
        called = dict(named(call, self.address))
        begun = part.run.clock.monotonic()
        with part.run.phase(phase, called) as opened:
            try:
                return await self._client.command(call)
            except ProbeError as found:
                opened.error = found.reason
                if isinstance(found, CommandError):
                    called["db.response.status_code"] = str(found.code)
                raise
            finally:
                part.measure(
                    measures.DURATION,
                    part.run.clock.monotonic() - begun,
                    db__system__name="mongodb",
                    db__namespace=call.database,
                    db__operation__name=call.operation,
                )

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
