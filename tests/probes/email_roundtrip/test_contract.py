"""email_roundtrip: the contract of all kinds. The mailbox is asked first, and so misbehaves."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import Peer, ProbeContract, Scenario, serve
from probed.testing.contract import Scenarios
from probes.email_roundtrip import EmailRoundtripProbe


class Post:
    """A relay and a mailbox: what the one takes, the other has in `folder`."""

    def __init__(self, folder: bytes = b"INBOX") -> None:
        self.folder = folder
        self.token = b""

    async def relay(self, peer: Peer) -> None:
        await peer.send(b"220 mx ESMTP\r\n")
        while True:
            line = await peer.read_line()
            if line.startswith(b"EHLO"):
                await peer.send(b"250-mx\r\n250 SIZE 1000\r\n")
            elif line == b"DATA":
                await peer.send(b"354 go\r\n")
                mail = await peer.read_until(b"\r\n.\r\n")
                self.token = re.findall(rb"X-Probed-Token: (\S+)", mail)[0]
                await peer.send(b"250 2.0.0 taken\r\n")
            elif line == b"QUIT":
                await peer.send(b"221 bye\r\n")
                return
            else:
                await peer.send(b"250 ok\r\n")

    async def imap(self, peer: Peer) -> None:
        await peer.send(b"* OK ready\r\n")
        selected = b""
        while True:
            tag, _, command = (await peer.read_line()).partition(b" ")
            if command.startswith(b"AUTHENTICATE"):
                await peer.send(b"+ \r\n")
                await peer.read_line()
            elif command.startswith(b"SELECT"):
                selected = command.partition(b" ")[2].strip(b'"')
            elif command.startswith(b"UID SEARCH"):
                mine = self.token and self.token in command and selected == self.folder
                await peer.send(b"* SEARCH 7\r\n" if mine else b"* SEARCH\r\n")
            elif command.startswith(b"UID FETCH 7 "):
                header = b"X-Probed-Token: %s\r\n\r\n" % self.token
                await peer.send(
                    b"* 1 FETCH (UID 7 BODY[HEADER.FIELDS (X-PROBED-TOKEN DATE)] {%d}\r\n%s)\r\n"
                    % (len(header), header)
                )
            elif command.startswith(b"CAPABILITY"):
                await peer.send(b"* CAPABILITY IMAP4rev1 UIDPLUS\r\n")
            await peer.send(tag + b" OK done\r\n")


def probe(imap: HostPort, relay: int, tls: Tls | None = None, **more: Any) -> Probe:
    settings: dict[str, Any] = {} if tls is None else {"tls": tls.model_dump(exclude_unset=True)}
    return EmailRoundtripProbe(
        relay={"name": "mx", "host": "127.0.0.1", "port": relay, "tls": "none"},
        imap={
            "host": imap.host, "port": imap.port, "tls": "none" if tls is None else "implicit",
            "username": "canary-name", "secret": "canary-pass",
        },
        helo="probe.test", poll="50ms", **{"from": "a@probed.test", "rcpt": "b@probed.test"},
        **settings, **more,
    )  # fmt: skip


class TestContract(ProbeContract):
    resolves = False  # a mailbox elsewhere is not asked without TLS
    timeout = 1.0
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "close_early": (Outcome.FAILED, "connect.closed"),
        "half_line": (Outcome.FAILED, "connect.closed"),
        "reset_mid_line": (Outcome.FAILED, "connect.reset"),
        "endless_line": (Outcome.FAILED, "imap.protocol"),
        "endless_lines": (Outcome.FAILED, "imap.protocol"),
        "garbage": (Outcome.FAILED, "imap.protocol"),
        "hostile_line": (Outcome.FAILED, "imap.protocol"),
        "tls_on_plain": (Outcome.FAILED, "timeout.banner"),
        "drip": (Outcome.FAILED, "timeout.banner"),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return probe(address, 9, tls)

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        post = Post()
        async with serve(post.imap) as imap, serve(post.relay) as relay:
            yield Scenario(probe(imap.address, relay.port))

    @asynccontextmanager
    async def junk(self) -> AsyncIterator[Scenario]:
        post = Post(b"Junk")
        async with serve(post.imap) as imap, serve(post.relay) as relay:
            yield Scenario(
                probe(imap.address, relay.port),
                outcome=Outcome.DEGRADED,
                reason="roundtrip.junk",
            )

    @asynccontextmanager
    async def lost(self) -> AsyncIterator[Scenario]:
        post = Post(b"Elsewhere")
        async with serve(post.imap) as imap, serve(post.relay) as relay:
            yield Scenario(
                probe(imap.address, relay.port),
                outcome=Outcome.FAILED,
                reason="roundtrip.not_arrived",
            )

    def scenarios(self) -> Scenarios:
        return {"arrives": self.good, "among the junk": self.junk, "lost": self.lost}
