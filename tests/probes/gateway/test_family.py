"""Over IPv4, over IPv6, over whichever connects, or over both: as it is set, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from probed import HostPort, Probe
from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network, Resolver
from probed.testing import Answer, HttpServer, http_server, no_leaks, serve
from probed.testing.nameserver import dns_server
from probed.testing.peer import Peer
from probes.gateway import GatewayProbe
from probes.tcp import TcpProbe

pytestmark = pytest.mark.anyio

V4 = {("gw.test", "A"): ["127.0.0.1"]}
V6 = {("gw.test", "AAAA"): ["::1"]}


@dataclass
class Site:
    """One port, with a server of its own for each family."""

    v4: HttpServer
    v6: HttpServer

    @property
    def url(self) -> str:
        return self.v4.url("/", "gw.test")


class _SamePort(HttpServer):
    wanted = 0

    def _bound(self, kind: Any, port: int = 0, *, reuse: bool = False) -> Any:
        return super()._bound(kind, self.wanted, reuse=reuse)


@asynccontextmanager
async def site(v4: Answer | None = None, v6: Answer | None = None) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(http_server({"/": v4 or Answer(body="four")}))
        second = _SamePort({"/": v6 or Answer(body="sixth")}, host="::1")
        second.wanted = first.port
        await stack.enter_async_context(second)
        yield Site(first, second)


async def run(probe: Probe, zone: dict[tuple[str, str], list[str]], **more: Any) -> Result:
    async with dns_server(zone) as names:
        network = Network(Resolver([names.server], hosts=None))
        async with no_leaks():
            return await execute(probe, network=network, timeout=2.0, **more)


def found(result: Result) -> list[tuple[str, str, str]]:
    return [(f.level.value, str(f.reason), f.message) for f in result.findings]


def measured(result: Result, name: str) -> list[float]:
    return [m.value for m in result.measures if m.measure.name == name]


@pytest.mark.parametrize(("family", "size"), [("ipv4", 4), ("ipv6", 5)])
async def test_one_family_is_asked_alone(family: str, size: int) -> None:
    async with site() as both:
        result = await run(GatewayProbe(url=both.url, family=family), {**V4, **V6})
        assert result.outcome is Outcome.OK
        assert measured(result, "probed.http.response.body.size") == [size]
        assert len(both.v4.requests) + len(both.v6.requests) == 1
    assert [p.name for p in result.phases] == ["resolve", "connect", "request", "wait", "receive"]


async def test_of_one_family_only_its_records_are_asked_for() -> None:
    async with dns_server({**V4, **V6}) as names:
        resolver = Resolver([names.server], hosts=None)
        assert await resolver.addresses("gw.test", "ipv4") == ["127.0.0.1"]
        assert await resolver.addresses("gw.test", "ipv6") == ["::1"]
        assert [query.type for query in names.queries] == ["A", "AAAA"]


@pytest.mark.parametrize(
    ("host", "family", "message"),
    [
        ("gw.test", "ipv6", "The host has no IPv6 address."),
        ("127.0.0.1", "ipv6", "The host has no IPv6 address."),
        ("[::1]", "ipv4", "The host has no IPv4 address."),
    ],
)
async def test_a_host_without_an_address_of_the_family(
    host: str, family: str, message: str
) -> None:
    probe = GatewayProbe(url=f"http://{host}:1/", family=family)
    assert found(await run(probe, V4)) == [("failed", "dns.no_data", message)]


async def test_a_name_that_does_not_exist_does_not_exist_in_one_family_either() -> None:
    result = await run(GatewayProbe(url="http://other.test/", family="ipv6"), V4)
    assert [reason for _, reason, _ in found(result)] == ["dns.nxdomain"]


async def test_localhost_has_both_families() -> None:
    resolver = Resolver([("127.0.0.1", 1)], hosts=None)
    assert await resolver.addresses("localhost", "ipv4") == ["127.0.0.1"]
    assert await resolver.addresses("localhost", "ipv6") == ["::1"]


async def test_both_families_are_asked_as_phases_of_their_own() -> None:
    async with site() as both:
        result = await run(GatewayProbe(url=both.url, family="both"), {**V4, **V6})
        assert len(both.v4.requests) == len(both.v6.requests) == 1
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    names = {phase.name for phase in result.phases}
    phases = ["resolve", "connect", "request", "wait", "receive"]
    assert names == {f"{family}/{phase}" for family in ("ipv4", "ipv6") for phase in phases}
    # Of a gauge the greater counts; a histogram takes both.
    assert measured(result, "probed.http.response.body.size") == [5]
    assert len(measured(result, "http.client.request.duration")) == 2


async def test_of_both_one_that_nobody_listens_on_fails_and_is_named() -> None:
    async with http_server({"/": Answer()}) as server:
        probe = GatewayProbe(url=server.url("/", "gw.test"), family="both")
        result = await run(probe, {**V4, **V6})
    (finding,) = result.findings
    assert found(result) == [
        (
            "failed",
            "connect.refused",
            f"Over IPv6: Connection refused: nothing is listening on gw.test:{server.port} (::1).",
        )
    ]
    assert finding.evidence["phase"] == "ipv6/connect"
    assert finding.evidence["network.peer.address"] == "::1"
    assert [p.name for p in result.phases if p.error] == ["ipv6/connect"]


async def test_of_both_a_family_without_an_address_fails() -> None:
    async with http_server({"/": Answer()}) as server:
        probe = GatewayProbe(url=server.url("/", "gw.test"), family="both")
        result = await run(probe, V4)
    assert found(result) == [("failed", "dns.no_data", "Over IPv6: The host has no IPv6 address.")]


async def test_of_both_each_answer_is_judged() -> None:
    async with site(v6=Answer(status=503)) as both:
        upstream = {"name": "app", "url": both.v4.url()}
        probe = GatewayProbe(url=both.url, family="both", upstreams=[upstream])
        result = await run(probe, {**V4, **V6})
    assert [(level, reason) for level, reason, _ in found(result)] == [
        ("failed", "http.unavailable"),
        ("failed", "gateway.routing"),
    ]
    assert found(result)[0][2].startswith("Over IPv6: ")
    assert "upstream/app/connect" in {phase.name for phase in result.phases}


async def test_what_is_remembered_is_remembered_of_each_family() -> None:
    memory: dict[str, Any] = {}
    async with site() as both:
        probe = GatewayProbe(url=both.url, family="both", latency={"trend": 3})
        await run(probe, {**V4, **V6}, memory=memory)
    assert memory["ipv4"]
    assert memory["ipv6"]
    assert set(memory) == {"ipv4", "ipv6"}


async def test_of_both_one_that_is_silent_leaves_the_other_its_time() -> None:
    async with http_server({"/": Answer()}) as server:
        silent = _SilentOn(server.port)
        async with silent:
            probe = GatewayProbe(url=server.url("/", "gw.test"), family="both")
            result = await run(probe, {**V4, **V6})
    assert [reason for _, reason, _ in found(result)] == ["timeout.wait"]
    assert found(result)[0][2].startswith("Over IPv6: ")
    assert result.duration_s < 2.0


class _SilentOn(_SamePort):
    def __init__(self, port: int) -> None:
        super().__init__({}, host="::1")
        self.wanted = port

    async def _serve(self, peer: Peer) -> None:
        await peer.until_gone()


async def test_a_banner_must_come_over_both() -> None:
    async def greets(peer: Peer) -> None:
        await peer.send(b"220 hello\r\n")
        await peer.until_gone()

    async with serve(greets) as four, _SilentOn(four.port):
        probe = TcpProbe(address=HostPort("gw.test", four.port), expect="^220 ", family="both")
        result = await run(probe, {**V4, **V6})
    assert [reason for _, reason, _ in found(result)] == ["timeout.banner"]
    assert measured(result, "probed.tcp.banner.size") == [9]


async def test_a_banner_that_does_not_match_is_found_once_for_each_family() -> None:
    async def greets(peer: Peer) -> None:
        await peer.send(b"nope\r\n")
        await peer.until_gone()

    async with serve(greets) as four:
        probe = TcpProbe(address=HostPort("gw.test", four.port), expect="^220 ", family="both")
        result = await run(probe, {**V4, **V6})
    assert [(reason, message[:9]) for _, reason, message in found(result)] == [
        ("banner.mismatch", "Over IPv4"),
        ("connect.refused", "Over IPv6"),
    ]


def test_no_other_family_is_known() -> None:
    with pytest.raises(ValueError, match="'any', 'ipv4', 'ipv6' or 'both'"):
        TcpProbe(address="a.test:1", family="ipv5")
