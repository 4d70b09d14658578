"""The peers of the demo, and the smallest of them: a TLS endpoint, a mail banner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from probed.demo.certificates import certificates
from probed.demo.collector import Collector
from probed.demo.gateway import Billing, Catalog, Gateway
from probed.demo.mail import Relays
from probed.demo.mongo import Mongo
from probed.demo.names import Names
from probed.demo.peer import Check, HttpPeer, Peer, TcpPeer
from probed.demo.stripe import Stripe
from probed.demo.wire import NOT_FOUND, Response, serve_http

# --- TLS --------------------------------------------------------------------------------------------


class TlsEndpoint(HttpPeer):
    """An https server whose certificate is of a throw-away authority."""

    breaks: ClassVar[Mapping[str, str]] = {
        "tls": "the TLS endpoint presents a certificate that expired yesterday"
    }

    async def start(self, tasks: TaskGroup) -> None:
        self._authority = self.setting.directory / "ca.pem"
        self._valid, self._expired = await anyio.to_thread.run_sync(certificates, self._authority)
        await self.port.listen(tasks, self.handle)
        self.setting.urls["tls"] = f"https://{self.port}/plain"

    async def handle(self, stream: ByteStream) -> None:
        context = self._expired if "tls" in self.broken else self._valid
        # Not "standard compatible": closing does not wait for the peer to close.
        wrapped = await TLSStream.wrap(
            stream, server_side=True, ssl_context=context, standard_compatible=False
        )
        await serve_http(self.answer, wrapped)

    async def answer(self, target: str) -> Response:
        return Response(200, b"OK\n") if target == "/plain" else NOT_FOUND

    def checks(self) -> list[Check]:
        trust = {
            "certificate": {"degraded": "21d", "failed": "3d"},
            "tls": {"ca": str(self._authority)},
        }
        return [
            {"name": "certificate", "probe": "tls", "address": str(self.port), **trust},
            {"name": "https", "probe": "gateway", "url": self.setting.urls["tls"], **trust},
        ]


# --- a banner -----------------------------------------------------------------------------------------


class Banner(TcpPeer):
    """What a mail server says first (RFC 5321, section 4.2); it takes QUIT and nothing else."""

    _LINE_LIMIT = 512

    async def start(self, tasks: TaskGroup) -> None:
        await self.port.listen(tasks, self.handle)
        self.setting.urls["banner"] = f"tcp://{self.port}"

    async def handle(self, stream: ByteStream) -> None:
        await stream.send(b"220 demo ready\r\n")
        lines = BufferedByteReceiveStream(stream)
        while (await lines.receive_until(b"\r\n", self._LINE_LIMIT)).upper() != b"QUIT":
            await stream.send(b"502 Command not implemented\r\n")
        await stream.send(b"221 demo closing\r\n")

    def checks(self) -> list[Check]:
        address = self.setting.urls["banner"].removeprefix("tcp://")
        return [{"name": "banner", "probe": "tcp", "address": address, "expect": "^220 "}]


PEERS: tuple[type[Peer], ...] = (
    Gateway, Billing, Catalog, TlsEndpoint, Banner, Names, Relays, Mongo, Stripe, Collector,
)  # fmt: skip
"""In the order of their checks in the configuration."""
