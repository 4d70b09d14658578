"""The peers of the demo, and those of them that are not HTTP: TLS, a mail banner, DNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import anyio
import anyio.to_thread
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.zone
from anyio.abc import ByteStream, SocketAttribute, TaskGroup, UDPSocket
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from probed.demo.certificates import certificates
from probed.demo.collector import Collector
from probed.demo.gateway import Billing, Catalog, Gateway
from probed.demo.mail import Relays
from probed.demo.mongo import Mongo
from probed.demo.peer import Check, HttpPeer, Peer, Setting, TcpPeer
from probed.demo.stripe import Stripe
from probed.demo.wire import HOST, NOT_FOUND, Response, serve_http

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


# --- DNS ------------------------------------------------------------------------------------------------

_ZONE = """
$TTL 60
@       SOA   ns hostmaster 1 3600 600 86400 60
@       NS    ns
@       A     192.0.2.10
@       AAAA  2001:db8::10
@       MX    10 mail
@       TXT   "v=spf1 mx -all"
ns      A     127.0.0.1
mail    A     192.0.2.25
"""


class Names(Peer):
    """An authoritative name server for `demo.test`, over UDP (RFC 1035)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._zone = dns.zone.from_text(_ZONE, origin="demo.test.", relativize=False)
        self._socket: UDPSocket | None = None

    async def start(self, tasks: TaskGroup) -> None:
        self._socket = await anyio.create_udp_socket(local_host=HOST)
        port = self._socket.extra(SocketAttribute.local_port)  # noqa: S610  # not Django's
        self.setting.urls["dns"] = f"udp://{HOST}:{port}"
        tasks.start_soon(self._serve, self._socket)

    async def stop(self) -> None:
        if self._socket is not None:
            await self._socket.aclose()

    async def _serve(self, socket: UDPSocket) -> None:
        try:
            async for packet, (host, port) in socket:
                reply = self.reply(packet)
                if reply is not None:
                    await socket.sendto(reply, host, port)
        except anyio.ClosedResourceError:
            pass

    def reply(self, packet: bytes) -> bytes | None:
        """The reply to one packet; none to what is not a query."""
        try:
            query = dns.message.from_wire(packet)
            response = dns.message.make_response(query)
        except (dns.exception.DNSException, ValueError):
            return None
        self._answer(query, response)
        size = max(512, query.payload if query.edns >= 0 else 0)
        return response.to_wire(max_size=min(size, 1232))

    def _answer(self, query: dns.message.Message, response: dns.message.Message) -> None:
        origin = self._zone.origin
        assert origin is not None
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return
        question = query.question[0]
        if not question.name.is_subdomain(origin) or question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
            return
        response.flags |= dns.flags.AA
        found = self._zone.get_rrset(question.name, question.rdtype)
        if found is not None:
            response.answer.append(found)
            return
        if self._zone.get_node(question.name) is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = self._zone.get_rrset(origin, dns.rdatatype.SOA)
        assert soa is not None
        response.authority.append(soa)

    def checks(self) -> list[Check]:
        server = self.setting.urls["dns"].removeprefix("udp://")
        return [
            {
                "name": "names",
                "probe": "dns",
                "query": "demo.test",
                "type": "A",
                "server": server,
                "expect": ["192.0.2.10"],
            }
        ]


PEERS: tuple[type[Peer], ...] = (
    Gateway, Billing, Catalog, TlsEndpoint, Banner, Relays, Names, Mongo, Stripe, Collector,
)  # fmt: skip
"""In the order of their checks in the configuration."""
