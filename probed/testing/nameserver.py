"""Small name server for one zone, over UDP and TCP, that can misbehave."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from probed.testing.endpoint import Endpoint
from probed.testing.peer import Peer, ready
from probed.testing.tcp_behaviours import SEED

Fault = Literal[
    "nxdomain", "servfail", "refused", "silent", "truncated", "garbage", "wrong_id", "cname_loop",
    "wrong_question", "pointer_loop",
]  # fmt: skip
FAULTS: tuple[str, ...] = get_args(Fault)
"""All misbehaviours by name (a closed set)."""

Faults = Mapping[str | tuple[str, str], Fault]
"""Faults of single names, or of one record type of a name."""
Zone = Mapping[tuple[str, str], list[str]]
QUERIES = 10_000
"""Maximum number of queries that are recorded."""
_CHAIN = 8
_POINTER_LOOP = bytes.fromhex(
    "8180 0001 0001 0000 0000 c00c 0001 0001 c00c 0001 0001 00000000 0000"
)
"""Response without its id, with a name that is a pointer to itself (RFC 1035, 4.1.4)."""
_RCODES = {
    "nxdomain": dns.rcode.NXDOMAIN, "servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """A question; the name is in lower case, without the last dot."""

    name: str
    type: str
    transport: Literal["udp", "tcp"]


class DnsServer(Endpoint):
    """Name server that answers from `zone`: `{(name, type): [record as in a zone file, …]}`.

    A name without records, and without names below it, does not exist; CNAMEs are followed within
    the zone. `fault` applies to all names, `faults` to single names or record types; all three may
    be changed while the server runs. `queries` are the questions so far. `port` 0 means any free
    port.
    """

    def __init__(
        self,
        zone: Zone | None = None,
        *,
        fault: Fault | None = None,
        faults: Faults | None = None,
        ttl: int = 60,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host)
        self._wanted_port = port
        self.zone: dict[tuple[str, str], list[str]] = dict(zone or {})
        self.fault = fault
        self.faults: dict[str | tuple[str, str], Fault] = dict(faults or {})
        self.ttl = ttl
        self.queries: list[Query] = []

    @property
    def server(self) -> tuple[str, int]:
        """Address for `Resolver(servers=[…])`."""
        return self.host, self.port

    async def _start(self) -> None:
        udp, tcp = self._pair()
        self._spawn(self._datagrams(udp))
        self._spawn(self._accept(tcp, self._connection))

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        """Return sockets on the wanted port, or on one that is free for both transports."""
        for _ in range(20):
            udp = self._bound(socket.SOCK_DGRAM, self._wanted_port)
            try:
                tcp = self._bound(socket.SOCK_STREAM, self.port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or self._wanted_port:
                    raise
                continue
            tcp.listen(64)
            return udp, tcp
        raise OSError(errno.EADDRINUSE, "no port is free for both UDP and TCP")

    async def _datagrams(self, sock: socket.socket) -> None:
        while True:
            await ready(sock)
            try:
                wire, source = sock.recvfrom(65535)
                answer = self._answer(wire, "udp")
                if answer is not None:
                    sock.sendto(answer, source)
            except OSError:
                continue  # the client has gone

    async def _connection(self, peer: Peer) -> None:
        while True:
            size = int.from_bytes(await peer.read_exactly(2), "big")
            answer = self._answer(await peer.read_exactly(size), "tcp")
            if answer is None:
                await peer.until_gone()
                return
            await peer.send(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, wire: bytes, transport: Literal["udp", "tcp"]) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        name = _plain(question.name)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append(Query(name, kind, transport))
        del self.queries[:-QUERIES]
        self._notify()
        fault = self.faults.get((name, kind)) or self.faults.get(name, self.fault)
        if fault == "silent":
            return None
        if fault == "garbage":
            return random.Random(SEED).randbytes(60)  # noqa: S311  # garbage is no secret
        if fault == "pointer_loop":
            return wire[:2] + _POINTER_LOOP
        if fault == "wrong_question":
            other = dns.message.make_query("another.example", question.rdtype, id=query.id)
            query, question = other, other.question[0]
        answer = dns.message.make_response(query, recursion_available=True)
        answer.flags |= dns.flags.AA
        self._fill(answer, question, fault)
        if fault == "wrong_id":
            answer.id ^= 0x5555
        if transport == "tcp":
            return answer.to_wire(max_size=65535)
        if fault == "truncated":
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        room = query.payload if query.edns >= 0 else 512
        return answer.to_wire(max_size=max(room, 512), prefer_truncation=True)

    def _fill(
        self, answer: dns.message.Message, question: dns.rrset.RRset, fault: Fault | None
    ) -> None:
        name = _plain(question.name)
        if fault in _RCODES:
            answer.set_rcode(_RCODES[fault])
            return
        if fault == "cname_loop":
            self._add(answer, name, "CNAME", [f"loop.{name}."])
            self._add(answer, f"loop.{name}", "CNAME", [f"{name}."])
            return
        kind = dns.rdatatype.to_text(question.rdtype)
        for _ in range(_CHAIN):
            records = self.zone.get((name, kind))
            if records is not None:
                self._add(answer, name, kind, records)
                return
            alias = self.zone.get((name, "CNAME"))
            if alias is None:
                break
            self._add(answer, name, "CNAME", alias)
            name = alias[0].rstrip(".").lower()
        if not any(known == name or known.endswith("." + name) for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)

    def _add(self, answer: dns.message.Message, name: str, kind: str, records: list[str]) -> None:
        if records:
            answer.answer.append(_rrset(name, self.ttl, kind, tuple(records)))


def dns_server(
    zone: Zone | None = None,
    *,
    fault: Fault | None = None,
    faults: Faults | None = None,
    ttl: int = 60,
    host: str = "127.0.0.1",
) -> DnsServer:
    """Return a name server on a free port, for an `async with` block."""
    return DnsServer(zone, fault=fault, faults=faults, ttl=ttl, host=host)


@lru_cache(maxsize=64)
def _rrset(name: str, ttl: int, kind: str, records: tuple[str, ...]) -> dns.rrset.RRset:
    """Return the records of a name; parsing a thousand of them takes 50 ms."""
    return dns.rrset.from_text_list(name + ".", ttl, "IN", kind, records)


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
