"""All peers of the demo, and the two smallest: a TLS endpoint and a mail banner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import anyio.to_thread
from anyio.abc import TaskGroup

from probed.demo.certificates import certificates
from probed.demo.collector import Collector
from probed.demo.gateway import Billing, Catalog, Gateway
from probed.demo.mail import Relays
from probed.demo.mongo import Mongo
from probed.demo.names import Names
from probed.demo.peer import NOT_FOUND, Check, DemoPeer, HttpPeer, TcpPeer
from probed.demo.stripe import Stripe
from probed.testing.peer import Peer
from probed.testing.webserver import Answer


class TlsEndpoint(HttpPeer):
    """An https server with a certificate of a throw-away authority."""

    breaks: ClassVar[Mapping[str, str]] = {
        "tls": "the TLS endpoint presents a certificate that expired yesterday"
    }

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        self._authority = self.setting.directory / "ca.pem"
        self._valid, self._expired = await anyio.to_thread.run_sync(certificates, self._authority)
        self.server.tls = self._valid
        await self.serve(self.server)
        self.setting.urls["tls"] = self.server.url("/plain")

    async def break_(self, name: str) -> None:
        await super().break_(name)
        self.server.tls = self._expired

    async def mend(self, name: str) -> None:
        await super().mend(name)
        self.server.tls = self._valid

    async def answer(self, target: str) -> Answer:
        return Answer(200, body="OK\n") if target == "/plain" else NOT_FOUND

    def checks(self) -> list[Check]:
        trust = {
            "certificate": {"degraded": "21d", "failed": "3d"},
            "tls": {"ca": str(self._authority)},
        }
        return [
            {"name": "certificate", "probe": "tls", "address": str(self.server.address), **trust},
            {"name": "https", "probe": "gateway", "url": self.setting.urls["tls"], **trust},
        ]


class Banner(TcpPeer):
    """A mail server that greets (RFC 5321, section 4.2) and knows only QUIT."""

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        await self.serve(self.server)
        self.setting.urls["banner"] = f"tcp://{self.server.address}"

    async def handle(self, peer: Peer) -> None:
        await peer.send(b"220 demo ready\r\n")
        while (await peer.read_line()).upper() != b"QUIT":
            await peer.send(b"502 Command not implemented\r\n")
        await peer.send(b"221 demo closing\r\n")

    def checks(self) -> list[Check]:
        address = self.setting.urls["banner"].removeprefix("tcp://")
        return [{"name": "banner", "probe": "tcp", "address": address, "expect": "^220 "}]


PEERS: tuple[type[DemoPeer], ...] = (
    Gateway, Billing, Catalog, TlsEndpoint, Banner, Names, Relays, Mongo, Stripe, Collector,
)  # fmt: skip
"""All peers, in the order of their checks in the configuration."""
