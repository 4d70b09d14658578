"""One query to one name server: over UDP and, if the answer is truncated, over TCP.

The size of an answer is checked before it is parsed: parsing 3,000 tiny records blocks the event
loop for 143 ms.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import anyio
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from probed.net.answer import RECORD_LIMIT, Answer, Said, Server, text_of
from probed.net.datagrams import Connection, Datagrams
from probed.net.dns_errors import reason_of_socket_error
from probed.net.stream import connect, family_of
from probed.reasons import OURS

ANSWER_LIMIT = 16 * 1024
"""Bytes of an answer that is parsed; a larger one is `too_large`."""
PAYLOAD = 1232
"""Largest answer accepted over UDP, in bytes (DNS Flag Day 2020); a larger one comes over TCP."""
_STRAYS = 64
"""Datagrams with a wrong id that are ignored before the query fails."""
_CHAIN_ENDS = {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
_NO_EDNS = {dns.rcode.FORMERR, dns.rcode.NOTIMP}


async def exchange(
    name: dns.name.Name, kind: str, server: Server, *, recurse: bool = True, patience: float
) -> Answer:
    """Query one server once: over UDP, and over TCP if the answer is truncated. `patience` is in
    seconds.
    """
    shown = text_of(name)
    start = anyio.current_time()
    answer = Answer(shown, kind, Said.TIMEOUT)
    with anyio.move_on_after(patience):
        try:
            answer = await _exchange(name, kind, server, recurse=recurse)
        except _TooLargeError:
            answer = Answer(shown, kind, Said.TOO_LARGE)
        except (dns.exception.DNSException, EOFError, ValueError):
            answer = Answer(shown, kind, Said.MALFORMED)
        except OSError as error:
            reason = reason_of_socket_error(error)
            ours = reason if reason in OURS else None
            answer = Answer(shown, kind, Said.UNREACHABLE, ours=ours)
    return replace(answer, server=server, seconds=anyio.current_time() - start)


async def _exchange(name: dns.name.Name, kind: str, server: Server, *, recurse: bool) -> Answer:
    query = dns.message.make_query(
        name, kind, use_edns=0, payload=PAYLOAD, flags=dns.flags.AD | (recurse * dns.flags.RD)
    )
    reply = await _udp(query, server)
    if reply.message.rcode() in _NO_EDNS:  # older than RFC 6891
        query.use_edns(edns=False)
        reply = await _udp(query, server)
    return _read(reply, text_of(name), kind)


@dataclass(frozen=True, slots=True)
class _Reply:
    message: dns.message.Message
    size: int
    cut: bool
    tcp: bool


def _read(reply: _Reply, name: str, kind: str) -> Answer:
    message = reply.message
    rcode = message.rcode()
    answer = Answer(
        name,
        kind,
        Said.SERVER_FAILURE,
        rcode=dns.rcode.to_text(rcode),
        tcp=reply.tcp,
        size=reply.size,
        cut=reply.cut,
        authoritative=bool(message.flags & dns.flags.AA),
        authentic=bool(message.flags & dns.flags.AD),
    )
    if rcode not in _CHAIN_ENDS:
        return answer
    assert isinstance(message, dns.message.QueryMessage)
    chain = message.resolve_chaining()
    aliases = tuple(text_of(rrset[0].target) for rrset in chain.cnames)
    if chain.answer is None:
        said = Said.NODATA if rcode == dns.rcode.NOERROR else Said.NXDOMAIN
        if aliases and said is Said.NODATA and not message.flags & dns.flags.RA:
            said = Said.CNAME_ONLY
        return replace(answer, said=said, aliases=aliases)
    beside = any(
        rrset.rdtype == dns.rdatatype.CNAME != chain.answer.rdtype
        and rrset.name == chain.answer.name
        for rrset in message.answer
    )
    return replace(
        answer,
        said=Said.ANSWER,
        data=tuple(chain.answer),
        ttl=chain.minimum_ttl,
        aliases=aliases,
        alias_beside=beside,
    )


async def _udp(query: dns.message.Message, server: Server) -> _Reply:
    made = Datagrams(family_of(server[0]), server)
    async with _BoundedSocket(made, query.id) as sock:
        try:
            message = await dns.asyncquery.udp(
                query,
                server[0],
                port=server[1],
                ignore_unexpected=True,
                ignore_errors=True,
                raise_on_truncation=True,
                sock=cast("Any", sock),
            )
        except dns.message.Truncated:
            return await _tcp(query, server)
        return _Reply(message, sock.size, sock.cut, tcp=False)


async def _tcp(query: dns.message.Message, server: Server) -> _Reply:
    async with Connection(await connect(*server)) as sock:
        wire = query.to_wire()
        await sock.sendall(len(wire).to_bytes(2, "big") + wire, None)
        size = int.from_bytes(await _exactly(sock, 2), "big")
        if size > ANSWER_LIMIT:
            raise _TooLargeError
        whole = await _exactly(sock, size)
    part, cut = trim(whole)
    message = dns.message.from_wire(part)
    if not query.is_response(message):
        raise dns.exception.FormError
    return _Reply(message, size, cut, tcp=True)


async def _exactly(sock: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await sock.recv(count - len(data), None)
        if not more:
            raise EOFError
        data += more
    return data


class _TooLargeError(Exception):
    """The answer is larger than `ANSWER_LIMIT`."""


class _BoundedSocket:
    """A datagram socket for dnspython that drops datagrams that are not worth parsing."""

    def __init__(self, sock: Any, query_id: int) -> None:
        self._sock = sock
        self._id = query_id.to_bytes(2, "big")
        self._strays = _STRAYS
        self.family = sock.family
        self.size = 0
        self.cut = False

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        return int(await self._sock.sendto(what, destination, timeout))

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:
        while self._strays:
            self._strays -= 1
            wire, source = await self._sock.recvfrom(size, timeout)
            await anyio.lowlevel.checkpoint()
            if wire[:2] != self._id:
                continue  # somebody else's, or forged
            self.size = len(wire)
            if self.size > ANSWER_LIMIT:
                raise _TooLargeError
            try:
                part, self.cut = trim(wire)
            except ValueError:
                continue
            return part, source
        raise dns.exception.FormError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        with contextlib.suppress(OSError):
            await self._sock.close()


def trim(wire: bytes) -> tuple[bytes, bool]:
    """Return the message with its question and at most `RECORD_LIMIT` answers, and whether it had more.

    Raises ValueError for anything but a message with one question.
    """
    try:
        flags, questions, answers = struct.unpack_from("!HHH", wire, 2)
        if questions > 1:
            raise ValueError("more than one question")
        end = 12
        if questions:
            end = _past_name(wire, end) + 4
        count = min(answers, RECORD_LIMIT)
        for _ in range(count):
            end = _past_name(wire, end)
            end += 10 + int.from_bytes(wire[end + 8 : end + 10], "big")
    except (struct.error, IndexError):
        raise ValueError("truncated") from None
    if end > len(wire):
        if not flags & dns.flags.TC:
            raise ValueError("truncated")
        count, end = 0, _past_name(wire, 12) + 4 if questions else 12
    return wire[:2] + struct.pack("!HHHHH", flags, questions, count, 0, 0) + wire[
        12:end
    ], answers > RECORD_LIMIT


def _past_name(wire: bytes, at: int) -> int:
    while True:
        length = wire[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at
