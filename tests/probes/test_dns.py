"""dns: the records are there, and are those expected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network, Resolver
from probed.testing import DnsServer, ProbeContract, Scenario, dns_server, no_leaks
from probed.testing.contract import Scenarios
from probes.dns import DnsProbe

pytestmark = pytest.mark.anyio

ZONE = {
    ("a.test", "A"): ["192.0.2.1", "192.0.2.2"],
    ("a.test", "TXT"): ['"v=spf1 " "-all"'],
    ("a.test", "MX"): ["10 Mail.a.test."],
}


class TestContract(ProbeContract):
    protocol = "dns"
    expects = {  # noqa: RUF012
        # The zone is empty; what was cut off is asked for again over TCP.
        "truncated": (Outcome.FAILED, "dns.nxdomain"),
        "nobody": (Outcome.FAILED, "dns.unreachable"),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return DnsProbe(query="a.test", server=address)

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        async with dns_server(ZONE) as server:
            probe = DnsProbe(
                query="a.test", server=server.address, expect=["192.0.2.2", "192.0.2.1"]
            )
            yield Scenario(probe)

    @asynccontextmanager
    async def of_the_system(self) -> AsyncIterator[Scenario]:
        async with dns_server(ZONE) as server:
            network = Network(Resolver([server.server], hosts=None))
            yield Scenario(DnsProbe(query="a.test"), network)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[Scenario]:
        async with dns_server(ZONE, fault="truncated") as server:
            yield Scenario(DnsProbe(query="a.test", server=server.address))

    @asynccontextmanager
    async def thousand(self) -> AsyncIterator[Scenario]:
        zone = {("a.test", "A"): [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(1000)]}
        async with dns_server(zone) as server:
            yield Scenario(DnsProbe(query="a.test", server=server.address))

    @asynccontextmanager
    async def fleeting(self) -> AsyncIterator[Scenario]:
        async with dns_server(ZONE, ttl=0) as server:
            yield Scenario(DnsProbe(query="a.test", server=server.address), runs=2)

    def scenarios(self) -> Scenarios:
        return {
            "good": self.good,
            "the system's servers": self.of_the_system,
            "an answer that was cut": self.cut,
            "1,000 answers": self.thousand,
            "TTL 0": self.fleeting,
        }


async def ask(server: DnsServer, **settings: Any) -> Result:
    probe = DnsProbe(**({"query": "a.test", "server": server.address} | settings))
    async with no_leaks():
        return await execute(probe, network=Network(), timeout=0.5)


@pytest.mark.parametrize(
    ("kind", "expect"),
    [("TXT", ["v=spf1 -all"]), ("MX", ["10 mail.a.test"]), ("A", ["192.0.2.1", "192.0.2.2"])],
)
async def test_records_are_compared_as_people_write_them(kind: str, expect: list[str]) -> None:
    async with dns_server(ZONE) as server:
        result = await ask(server, type=kind, expect=expect)
    assert result.outcome is Outcome.OK


async def test_other_records_than_those_expected_are_shown() -> None:
    async with dns_server(ZONE) as server:
        result = await ask(server, expect=["192.0.2.9"])
    assert result.worst is not None
    assert result.worst.reason == "dns.mismatch"
    assert result.worst.evidence == {
        "found": ("192.0.2.1", "192.0.2.2"),
        "expected": ("192.0.2.9",),
    }


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nxdomain", "dns.nxdomain"),
        ("servfail", "dns.servfail"),
        ("refused", "dns.refused"),
        ("silent", "timeout.query"),
    ],
)
async def test_what_the_server_says_is_the_reason(fault: Any, reason: str) -> None:
    async with dns_server(ZONE, fault=fault) as server:
        result = await ask(server)
    assert result.outcome is Outcome.FAILED
    assert result.worst is not None
    assert result.worst.reason == reason


@pytest.mark.parametrize("fault", ["garbage", "wrong_id", "cname_loop"])
async def test_an_answer_that_is_none_never_passes(fault: Any) -> None:
    async with dns_server(ZONE, fault=fault) as server:
        result = await ask(server)
    assert result.outcome is Outcome.FAILED
    assert result.duration_s < 0.8


async def test_a_record_that_is_not_there() -> None:
    async with dns_server(ZONE) as server:
        result = await ask(server, type="AAAA")
    assert result.worst is not None
    assert result.worst.reason == "dns.no_data"


async def test_the_name_server_may_be_named() -> None:
    async with dns_server(ZONE) as server:
        named = HostPort("localhost", server.port)
        result = await execute(
            DnsProbe(query="a.test", server=named), network=Network(), timeout=0.5
        )
    assert result.outcome is Outcome.OK
    assert [phase.name for phase in result.phases] == ["resolve", "query"]


def test_the_target_says_what_is_asked_of_whom() -> None:
    assert DnsProbe(query="a.test", server="192.0.2.1:53").target == "a.test A @192.0.2.1:53"
    assert DnsProbe(query="a.test", type="MX").target == "a.test MX"
