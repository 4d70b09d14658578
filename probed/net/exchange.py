"""One query to one name server: over UDP and, if the answer is truncated, over TCP.

The size of an answer is checked before it is parsed: parsing 3,000 tiny records blocks the event
loop for 143 ms.
"""

from __future__ import annotations

import errno
import struct
from contextlib import closing
from dataclasses import dataclass, replace

import anyio
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from probed.net.answer import RECORD_LIMIT, Answer, Said, Server, text_of
from probed.net.datagrams import Datagrams
from probed.net.stream import Stream, connect
from probed.reasons import OURS, Reason, Reasons, classify

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
    wire = query.to_wire()
    with closing(Datagrams(*server)) as datagrams:
        await datagrams.send(wire)
        for _ in range(_STRAYS):
            received = await datagrams.receive()
            if received[:2] != wire[:2]:
                continue  # somebody else's, or forged
            if len(received) > ANSWER_LIMIT:
                raise _TooLargeError
            try:
                part, cut = trim(received)
                message = dns.message.from_wire(part)
            except (ValueError, dns.exception.DNSException):
                continue  # the true one may still come
            if query.is_response(message):
                if message.flags & dns.flags.TC:
                    return await _tcp(query, server)
                return _Reply(message, len(received), cut, tcp=False)
    raise dns.exception.FormError


async def _tcp(query: dns.message.Message, server: Server) -> _Reply:
    with closing(await connect(*server)) as stream:
        wire = query.to_wire()
        await stream.send(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(await _exactly(stream, 2), "big")
        if size > ANSWER_LIMIT:
            raise _TooLargeError
        whole = await _exactly(stream, size)
    part, cut = trim(whole)
    message = dns.message.from_wire(part)
    if not query.is_response(message):
        raise dns.exception.FormError
    return _Reply(message, size, cut, tcp=True)


async def _exactly(stream: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class _TooLargeError(Exception):
    """The answer is larger than `ANSWER_LIMIT`."""


def reason_of_socket_error(error: OSError) -> Reasons:
    """Return `dns.unreachable`, or a reason of our own where this machine could not send at all."""
    if error.errno == errno.ENETUNREACH:
        return Reason.SELF_NETWORK  # no route of our own
    reason, _ = classify(error)
    return reason if reason in OURS else Reason.DNS_UNREACHABLE


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
