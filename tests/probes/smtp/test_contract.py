"""smtp: the contract of all kinds, in clear, with TLS from the start, and by STARTTLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import Authority, Peer, ProbeContract, Scenario, Server, serve
from probed.testing.contract import Scenarios
from probes.smtp import SmtpProbe


async def greet(peer: Peer) -> None:
    await peer.send(b"220 mx.example.test ESMTP\r\n")
    await converse(peer)


async def converse(peer: Peer) -> None:
    while True:
        line = await peer.read_line()
        if line.startswith(b"EHLO"):
            await peer.send(b"250-mx.example.test\r\n250 SIZE 1000\r\n")
        elif line == b"QUIT":
            await peer.send(b"221 Bye\r\n")
            return
        else:
            await peer.send(b"250 Ok\r\n")


def probe(address: HostPort, tls: Tls | None, mode: str) -> Probe:
    settings: dict[str, Any] = {} if tls is None else {"tls": tls.model_dump(exclude_unset=True)}
    relay = {"name": "mx", "host": address.host, "port": address.port}
    mode = "none" if tls is None else mode
    return SmtpProbe(relays=[relay | {"tls": mode}], helo="probe.test", **settings)


class Contract(ProbeContract):
    __test__ = False
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "close_early": (Outcome.FAILED, "connect.closed"),
        "half_line": (Outcome.FAILED, "connect.closed"),
        "reset_mid_line": (Outcome.FAILED, "connect.reset"),
        "endless_line": (Outcome.FAILED, "smtp.not_smtp"),
        "endless_lines": (Outcome.FAILED, "smtp.protocol_flood"),
        "garbage": (Outcome.FAILED, "smtp.not_smtp"),
        "tls_on_plain": (Outcome.FAILED, "timeout.banner"),
        "drip": (Outcome.FAILED, "smtp.banner_incomplete"),
        "hostile_line": (Outcome.FAILED, "timeout.command"),
    }

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        async with serve(greet) as server:
            yield Scenario(probe(server.address, None, "none"))

    @asynccontextmanager
    async def encrypted(self) -> AsyncIterator[Scenario]:
        authority = Authority()
        async with over_tls(authority.issue("127.0.0.1").context) as server:
            tls = Tls(verify=False)
            yield Scenario(probe(server.address, tls, "implicit"))

    def scenarios(self) -> Scenarios:
        return {"greeting": self.good, "over TLS": self.encrypted}


def over_tls(context: ssl.SSLContext) -> Server:
    return serve(greet, tls=context)


class TestImplicit(Contract):
    __test__ = True

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return probe(address, tls, "implicit")


class TestStarttls(Contract):
    __test__ = True

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return probe(address, tls, "starttls")

    async def before_tls(self, peer: Peer) -> None:
        await peer.send(b"220 mx.example.test ESMTP\r\n")
        await peer.read_line()
        await peer.send(b"250-mx.example.test\r\n250 STARTTLS\r\n")
        await peer.read_line()
        await peer.send(b"220 Go ahead\r\n")
