"""One question to one name server, over UDP and, if its answer was cut off, over TCP.

An answer is measured before it is parsed, for parsing is what costs: 3,000 tiny records take 143 ms
of the event loop.
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

from probed.net.answer import KEPT, Answer, Said, Server, text_of
from probed.net.datagrams import Connection, Datagrams
from probed.net.dns_errors import reason_of_socket_error
from probed.net.stream import connect, family_of
from probed.reasons import OURS

ANSWER_LIMIT = 16 * 1024
"""Bytes of an answer that is parsed; a larger one is `too_large`."""
PAYLOAD = 1232
"""Bytes that we take over UDP (the DNS flag day of 2020): more is asked for over TCP."""
_STRAYS = 64
"""Datagrams that are passed over before a server is given up."""
_CHAIN_ENDS = {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
_NO_EDNS = {dns.rcode.FORMERR, dns.rcode.NOTIMP}


async def exchange(
    name: dns.name.Name, kind: str, server: Server, *, recurse: bool = True, patience: float
) -> Answer:
    """Ask one server once: over UDP, and over TCP if the answer was cut off."""
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
    found = await _udp(query, server)
    if found.message.rcode() in _NO_EDNS:  # older than RFC 6891
        query.use_edns(edns=False)
        found = await _udp(query, server)
    return _read(found, text_of(name), kind)


@dataclass(frozen=True, slots=True)
class _Found:
    message: dns.message.Message
    size: int
    cut: bool
    tcp: bool


def _read(found: _Found, name: str, kind: str) -> Answer:
    message = found.message
    rcode = message.rcode()
    answer = Answer(
        name,
        kind,
        Said.SERVER_FAILURE,
        rcode=dns.rcode.to_text(rcode),
        tcp=found.tcp,
        size=found.size,
        cut=found.cut,
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


async def _udp(query: dns.message.Message, server: Server) -> _Found:
    made = Datagrams(family_of(server[0]), server)
    async with _Measured(made, query.id) as sock:
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
        return _Found(message, sock.size, sock.cut, tcp=False)


async def _tcp(query: dns.message.Message, server: Server) -> _Found:
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
    return _Found(message, size, cut, tcp=True)


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


class _Measured:
    """A datagram socket for dnspython that passes on only what may be parsed."""

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
                continue  # whoever guesses may have sent it
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
    """A message with its question and the first `KEPT` answers alone, and whether there were more.

    Raises ValueError for what cannot be a message with one question.
    """
    try:
        flags, questions, answers = struct.unpack_from("!HHH", wire, 2)
        if questions > 1:
            raise ValueError("more than one question")
        end = 12
        if questions:
            end = _past_name(wire, end) + 4
        kept = min(answers, KEPT)
        for _ in range(kept):
            end = _past_name(wire, end)
            end += 10 + int.from_bytes(wire[end + 8 : end + 10], "big")
    except (struct.error, IndexError):
        raise ValueError("cut off") from None
    if end > len(wire):
        if not flags & dns.flags.TC:
            raise ValueError("cut off")
        kept, end = 0, _past_name(wire, 12) + 4 if questions else 12
    return wire[:2] + struct.pack("!HHHHH", flags, questions, kept, 0, 0) + wire[
        12:end
    ], answers > KEPT


def _past_name(wire: bytes, at: int) -> int:
    while True:
        length = wire[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at
