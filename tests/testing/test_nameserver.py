"""DnsServer answers from its zone, and misbehaves on request."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import pytest

from probed.testing.leaks import no_leaks
from probed.testing.nameserver import FAULTS, DnsServer, Query, dns_server

pytestmark = pytest.mark.anyio

ZONE = {
    ("a.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("a.example", "TXT"): ['"v=spf1 -all"'],
    ("www.example", "CNAME"): ["a.example."],
    ("deep.inner.example", "A"): ["192.0.2.3"],
    ("empty.example", "MX"): [],
    ("big.example", "TXT"): [f'"{"x" * 200} {n}"' for n in range(20)],
}


async def ask(
    server: DnsServer, name: str, kind: str = "A", *, tcp: bool = False, timeout: float = 5
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=False)
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, server.host, timeout=timeout, port=server.port)


def texts(answer: dns.message.Message) -> list[str]:
    return sorted(record.to_text() for rrset in answer.answer for record in rrset)


@pytest.mark.parametrize("tcp", [False, True])
async def test_it_answers_from_its_zone(tcp: bool) -> None:
    async with no_leaks(), dns_server(ZONE) as server:
        found = await ask(server, "A.example.", tcp=tcp)
        assert texts(found) == ["192.0.2.1", "192.0.2.2"]
        followed = await ask(server, "www.example", tcp=tcp)
        assert texts(followed) == ["192.0.2.1", "192.0.2.2", "a.example."]
        first, second = server.queries
        assert first == Query("a.example", "A", "tcp" if tcp else "udp")
        assert (second.name, second.type) == ("www.example", "A")


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("nowhere.example", dns.rcode.NXDOMAIN),
        ("inner.example", dns.rcode.NOERROR),  # something stands below it
        ("empty.example", dns.rcode.NOERROR),
        ("a.example", dns.rcode.NOERROR),
    ],
)
async def test_what_exists_not_is_told_from_what_has_no_such_record(
    name: str, rcode: dns.rcode.Rcode
) -> None:
    async with dns_server(ZONE) as server:
        answer = await ask(server, name, "MX")
        assert answer.rcode() == rcode
        assert not answer.answer


async def test_the_zone_changes_while_it_runs() -> None:
    async with dns_server() as server:
        assert (await ask(server, "a.example")).rcode() == dns.rcode.NXDOMAIN
        server.zone["a.example", "A"] = ["192.0.2.9"]
        assert texts(await ask(server, "a.example")) == ["192.0.2.9"]


async def test_an_answer_too_large_for_udp_is_truncated() -> None:
    async with dns_server(ZONE) as server:
        assert (await ask(server, "big.example", "TXT")).flags & dns.flags.TC
        whole = await ask(server, "big.example", "TXT", tcp=True)
        assert len(texts(whole)) == 20


@pytest.mark.parametrize(
    ("fault", "rcode"),
    [
        ("nxdomain", dns.rcode.NXDOMAIN),
        ("servfail", dns.rcode.SERVFAIL),
        ("refused", dns.rcode.REFUSED),
    ],
)
async def test_faults_that_are_codes(fault: str, rcode: dns.rcode.Rcode) -> None:
    async with dns_server(ZONE, faults={"a.example": fault}) as server:  # type: ignore[dict-item]
        assert (await ask(server, "a.example")).rcode() == rcode
        assert (await ask(server, "www.example")).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("tcp", [False, True])
async def test_silent(tcp: bool) -> None:
    async with no_leaks(), dns_server(ZONE, fault="silent") as server:
        with pytest.raises(dns.exception.Timeout):
            await ask(server, "a.example", tcp=tcp, timeout=0.05)
        assert len(server.queries) == 1


async def test_truncated_answers_over_tcp() -> None:
    async with dns_server(ZONE, fault="truncated") as server:
        query = dns.message.make_query("a.example", "A")
        answer, tcp = await dns.asyncquery.udp_with_fallback(
            query, server.host, timeout=5, port=server.port
        )
        assert tcp
        assert texts(answer) == ["192.0.2.1", "192.0.2.2"]
        assert [q.transport for q in server.queries] == ["udp", "tcp"]


async def test_garbage() -> None:
    async with dns_server(ZONE, fault="garbage") as server:
        with pytest.raises((dns.exception.DNSException, dns.query.BadResponse)):
            await ask(server, "a.example")


async def test_wrong_id() -> None:
    async with dns_server(ZONE, fault="wrong_id") as server:
        with pytest.raises(dns.query.BadResponse):
            await ask(server, "a.example")


async def test_cname_loop() -> None:
    async with dns_server(ZONE, fault="cname_loop") as server:
        answer = await ask(server, "a.example")
        assert texts(answer) == ["a.example.", "loop.a.example."]


async def test_wrong_question() -> None:
    async with dns_server(ZONE, fault="wrong_question") as server:
        with pytest.raises(dns.query.BadResponse):
            await ask(server, "a.example")


@pytest.mark.parametrize("tcp", [False, True])
async def test_pointer_loop(tcp: bool) -> None:
    async with dns_server(ZONE, fault="pointer_loop") as server:
        with pytest.raises(dns.name.BadPointer):
            await ask(server, "a.example", tcp=tcp)


async def test_a_fault_may_be_of_one_type_of_record() -> None:
    async with dns_server(ZONE, faults={("a.example", "AAAA"): "servfail"}) as server:
        assert (await ask(server, "a.example", "AAAA")).rcode() == dns.rcode.SERVFAIL
        assert texts(await ask(server, "a.example")) == ["192.0.2.1", "192.0.2.2"]


async def test_the_time_to_live_is_the_one_asked_for() -> None:
    async with dns_server(ZONE, ttl=0) as server:
        assert (await ask(server, "a.example")).answer[0].ttl == 0


async def test_what_is_not_dns_gets_no_answer_and_does_no_harm() -> None:
    async with dns_server(ZONE) as server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=server.server
        )
        transport.sendto(b"hello")
        transport.sendto(b"")
        assert texts(await ask(server, "a.example")) == ["192.0.2.1", "192.0.2.2"]
        transport.close()


def test_all_faults_are_tested() -> None:
    assert set(FAULTS) == {
        "nxdomain", "servfail", "refused", "silent", "truncated", "garbage", "wrong_id",
        "cname_loop", "wrong_question", "pointer_loop",
    }  # fmt: skip
