"""The DNS client: what came of a query, who said so, and what it may cost."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import dns.message
import dns.name
import dns.rrset
import pytest

from probed.net.answer import RECORD_LIMIT, Said, Server, name_of, text_of
from probed.net.exchange import ANSWER_LIMIT, trim
from probed.net.vantage import Vantage
from probed.reasons import Reason
from probed.testing import dns_server, no_leaks, serve

pytestmark = pytest.mark.anyio

ZONE = {
    ("a.test", "A"): ["192.0.2.1", "192.0.2.2"],
    ("a.test", "TXT"): ['"v=spf1 " "-all"', '"caf\\195\\169"'],
    ("a.test", "MX"): ["10 Mail.a.test.", "5 ."],
    ("www.test", "CNAME"): ["a.test."],
    ("far.test", "CNAME"): ["elsewhere.invalid."],
}


def vantage(*servers: Server, **more: Any) -> Vantage:
    return Vantage("here", servers, **({"patience": 0.1, "tries": 1} | more))


@asynccontextmanager
async def raw(reply: Callable[[bytes], list[bytes]]) -> AsyncIterator[Server]:
    """A server over UDP that sends to each query what it is told."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            for wire in reply(data):
                self.transport.sendto(wire, address)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Protocol, local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")
    finally:
        transport.close()


async def test_records_are_plain_values() -> None:
    async with no_leaks(), dns_server(ZONE) as server:
        here = vantage(server.server)
        text = await here.query("a.test", "TXT")
        assert set(text.rows) == {b"v=spf1 -all", "café".encode()}
        assert sorted((await here.query("a.test", "MX")).rows) == [(5, ""), (10, "mail.a.test")]
        assert sorted((await here.query("A.TEST.", "A")).rows) == ["192.0.2.1", "192.0.2.2"]
    assert (text.said, text.server, text.ttl, text.tcp) == (Said.ANSWER, server.server, 60, False)
    assert text.authoritative
    assert text.size > 40
    assert 0 < text.seconds < 1


@pytest.mark.parametrize(
    ("name", "kind", "said", "reason"),
    [
        ("a.test", "AAAA", "nodata", Reason.DNS_NO_DATA),
        ("b.test", "A", "nxdomain", Reason.DNS_NXDOMAIN),
        ("far.test", "A", "nxdomain", Reason.DNS_NXDOMAIN),
        ("a..test", "A", "nxdomain", Reason.DNS_NXDOMAIN),
        ("x" * 64 + ".test", "A", "nxdomain", Reason.DNS_NXDOMAIN),
        ("servfail.test", "A", "server_failure", Reason.DNS_SERVFAIL),
        ("refused.test", "A", "server_failure", Reason.DNS_REFUSED),
        ("silent.test", "A", "timeout", Reason.TIMEOUT_QUERY),
        ("garbage.test", "A", "timeout", Reason.TIMEOUT_QUERY),
        ("loop.test", "A", "malformed", Reason.DNS_MALFORMED),
    ],
)
async def test_what_is_no_answer_says_why(name: str, kind: str, said: str, reason: Reason) -> None:
    faults: Any = {f"{fault}.test": fault for fault in ("servfail", "refused", "silent", "garbage")}
    async with dns_server(ZONE, faults=faults | {"loop.test": "cname_loop"}) as server:
        answer = await vantage(server.server).query(name, kind)
    assert answer.said == said
    assert answer.reason is reason
    assert answer.rows == ()


async def test_an_alias_is_followed_and_told() -> None:
    async with dns_server(ZONE) as server:
        here = vantage(server.server)
        followed = await here.query("www.test", "A")
        dangling = await here.query("far.test", "A")
    assert sorted(followed.rows) == ["192.0.2.1", "192.0.2.2"]
    assert followed.aliases == ("a.test",)
    assert dangling.aliases == ("elsewhere.invalid",)


async def test_the_zones_own_server_does_not_know_where_an_alias_ends() -> None:
    async with dns_server(ZONE) as server:
        answer = await vantage(server.server, zone=True).query("far.test", "A")
    assert answer.said is Said.CNAME_ONLY


async def test_a_server_without_authority_is_none_of_the_zone() -> None:
    def reply(wire: bytes) -> list[bytes]:
        return [dns.message.make_response(dns.message.from_wire(wire)).to_wire()]

    async with raw(reply) as server:
        assert (await vantage(server, zone=True).query("a.test", "A")).temporary
        assert (await vantage(server).query("a.test", "A")).said is Said.NODATA


async def test_the_next_server_is_asked_where_one_does_not_answer() -> None:
    async with (
        serve("refused") as nobody,
        dns_server(fault="servfail") as broken,
        dns_server(ZONE) as good,
    ):
        dead = ("127.0.0.1", nobody.port)
        here = vantage(dead, broken.server, good.server)
        answer = await here.query("a.test", "A")
    assert answer.server == good.server
    assert [(a.server, a.said) for a in here.answers] == [
        (dead, "unreachable"), (broken.server, "server_failure"), (good.server, "answer"),
    ]  # fmt: skip


async def test_only_a_server_that_was_silent_is_asked_again() -> None:
    async with dns_server(fault="silent") as silent, dns_server(fault="servfail") as broken:
        here = vantage(silent.server, broken.server, tries=2, patience=0.02)
        answer = await here.query("a.test", "A")
    assert [a.server for a in here.answers] == [silent.server, broken.server, silent.server]
    assert answer.said is Said.SERVER_FAILURE, "what was said counts for more than silence"


async def test_the_same_is_not_asked_twice_however_many_ask() -> None:
    async with dns_server(ZONE) as server:
        here = vantage(server.server)
        async with anyio.create_task_group() as tasks:
            for name in ("a.test", "A.test", "a.test."):
                tasks.start_soon(here.query, name, "A")
        assert len(server.queries) == 1
        assert (await vantage(server.server).query("a.test", "A")).said is Said.ANSWER
        assert len(server.queries) == 2, "another run asks again"


async def test_whoever_waits_for_the_same_answer_gets_it_though_another_gave_up() -> None:
    async with dns_server(ZONE, faults={"a.test": "silent"}) as server:
        here = vantage(server.server, patience=5)
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(0.02):
                await here.query("a.test", "A")
            server.faults.clear()
            tasks.start_soon(here.query, "a.test", "A")
    assert [a.said for a in here.answers] == [Said.ANSWER]


async def test_queries_are_counted_and_end() -> None:
    async with dns_server(ZONE) as server:
        here = vantage(server.server, budget=3)
        said = [(await here.query(f"{n}.test", "A")).said for n in range(5)]
    assert said == ["nxdomain"] * 3 + ["budget"] * 2
    assert len(server.queries) == 3


async def test_not_more_than_a_few_wait_at_a_time() -> None:
    async with dns_server(fault="silent") as server:
        here = vantage(server.server, patience=0.05)
        async with anyio.create_task_group() as tasks:
            for n in range(9):
                tasks.start_soon(here.query, f"{n}.test", "A")
            await server.until(lambda: len(server.queries) == 8)
        assert len(server.queries) == 9


def response(wire: bytes, records: list[str], kind: str = "TXT") -> bytes:
    message = dns.message.make_response(dns.message.from_wire(wire))
    message.answer.append(dns.rrset.from_text_list("a.test.", 60, "IN", kind, records))
    return message.to_wire(max_size=65535)


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_large_answer_is_refused_unread(tcp: bool) -> None:
    text = [" ".join(f'"{"x" * 250}"' for _ in range(251))]
    async with dns_server({("a.test", "TXT"): text}) as server:
        if tcp:
            answer = await vantage(server.server).query("a.test", "TXT")
        else:
            async with raw(lambda wire: [response(wire, text)]) as flood:
                answer = await vantage(flood).query("a.test", "TXT")
    assert answer.said is Said.TOO_LARGE
    assert answer.reason is Reason.DNS_TOO_LARGE


async def test_of_many_tiny_records_only_a_part_is_parsed() -> None:
    loads: list[bytes] = []

    def reply(wire: bytes) -> list[bytes]:
        query = dns.message.from_wire(wire)
        head = struct.pack("!HHHHHH", query.id, 0x8180, 1, 1150, 0, 0)
        record = b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x01\x00"
        loads.append(head + query.question[0].name.to_wire() + b"\x00\x10\x00\x01" + record * 1150)
        return loads[-1:]

    async with raw(reply) as server:
        answer = await vantage(server).query("a.test", "TXT")
    assert answer.said is Said.ANSWER
    assert answer.cut
    start = time.perf_counter()
    part, cut = trim(loads[0])
    dns.message.from_wire(part)
    assert cut
    assert time.perf_counter() - start < 0.05, "the event loop stood still"
    assert len(loads[0]) < ANSWER_LIMIT


async def test_a_flood_of_what_is_no_answer_ends() -> None:
    async with raw(lambda wire: [wire[:2] + b"\xff" * 40] * 200) as server, no_leaks():
        answer = await vantage(server, patience=2).query("a.test", "A")
    assert answer.said is Said.MALFORMED
    assert answer.seconds < 1


async def test_a_server_older_than_edns_is_asked_without() -> None:
    def reply(wire: bytes) -> list[bytes]:
        query = dns.message.from_wire(wire)
        if query.edns >= 0:
            message = dns.message.make_response(query)
            message.set_rcode(1)
            return [message.to_wire()]
        return [response(wire, ['"old"'])]

    async with raw(reply) as server:
        answer = await vantage(server).query("a.test", "TXT")
    assert answer.rows == (b"old",)


async def test_it_can_be_left_at_once() -> None:
    async with dns_server(fault="silent") as server, no_leaks():
        with anyio.move_on_after(0.05) as scope:
            await vantage(server.server, patience=5).query("a.test", "A")
        assert scope.cancelled_caught


@pytest.mark.parametrize("text", ["a.test", "caf\u00e9.test", "\udcff\\.test", "x y.test"])
def test_names_are_their_octets(text: str) -> None:
    name = name_of(text)
    assert name is not None
    assert text_of(name) == text
    assert len(name.labels) == 3


@pytest.mark.parametrize("end", range(12, 60))
def test_a_message_is_trimmed_or_refused_wherever_it_ends(end: int) -> None:
    query = dns.message.make_query("a.test", "TXT")
    whole = response(query.to_wire(), ['"x"', '"y"'])
    if end < len(trim(whole)[0]):
        with pytest.raises(ValueError):
            trim(whole[:end])


def test_no_more_records_than_kept_are_parsed() -> None:
    query = dns.message.make_query("a.test", "A")
    addresses = [f"192.0.{n // 250}.{n % 250}" for n in range(RECORD_LIMIT + 5)]
    part, cut = trim(response(query.to_wire(), addresses, "A"))
    assert cut
    assert len(dns.message.from_wire(part).answer[0]) == RECORD_LIMIT
