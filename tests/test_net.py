"""The dialer resolves, refuses, connects, shakes hands, and leaves nothing open."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from probed import HostPort, ProbeError, Reason
from probed.clock import SystemClock
from probed.engine.runner import execute
from probed.model import Outcome
from probed.net import DenyList, Network, Resolver, TlsOptions
from probed.net import dial as dialing
from probed.record import Recorder
from probed.testing.certificates import Authority
from probed.testing.leaks import no_leaks
from probed.testing.nameserver import DnsServer, dns_server
from probed.testing.servers import serve
from probed.testing.webserver import http_server
from probed.text.redact import Redactor
from probes.tcp import TcpProbe

pytestmark = pytest.mark.anyio


def recorder() -> Recorder:
    return Recorder(SystemClock(), Redactor())


def resolver(server: DnsServer, hosts: Path | None = None) -> Resolver:
    return Resolver([server.server], hosts=hosts)


async def test_a_literal_address_asks_nobody() -> None:
    async with dns_server() as server:
        assert await resolver(server).addresses("192.0.2.1") == ["192.0.2.1"]
        assert await resolver(server).addresses("2001:DB8::1") == ["2001:db8::1"]
        assert not server.queries


async def test_a_name_has_its_addresses_of_both_families_by_turns() -> None:
    zone = {("a.test", "A"): ["192.0.2.1", "192.0.2.2"], ("a.test", "AAAA"): ["2001:db8::1"]}
    async with dns_server(zone) as server:
        found = await resolver(server).addresses("a.test")
    assert found[0] == "2001:db8::1"
    assert sorted(found[1:]) == ["192.0.2.1", "192.0.2.2"]


async def test_one_family_is_enough() -> None:
    async with dns_server({("a.test", "A"): ["192.0.2.1"]}) as server:
        assert await resolver(server).addresses("a.test") == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nxdomain", Reason.DNS_NXDOMAIN),
        ("servfail", Reason.DNS_SERVFAIL),
        ("refused", Reason.DNS_REFUSED),
    ],
)
async def test_the_answer_of_the_name_server_is_the_reason(fault: str, reason: Reason) -> None:
    async with dns_server({("a.test", "A"): ["192.0.2.1"]}, fault=fault) as server:
        with pytest.raises(ProbeError) as raised:
            await resolver(server).addresses("a.test")
    assert raised.value.reason is reason


async def test_a_name_without_addresses_is_told_from_one_that_does_not_exist() -> None:
    async with dns_server({("a.test", "TXT"): ['"hello"']}) as server:
        with pytest.raises(ProbeError) as raised:
            await resolver(server).addresses("a.test")
        assert raised.value.reason is Reason.DNS_NO_DATA
        with pytest.raises(ProbeError) as raised:
            await resolver(server).addresses("b.test")
        assert raised.value.reason is Reason.DNS_NXDOMAIN


async def test_a_name_server_that_is_not_there_is_known_at_once() -> None:
    async with serve("refused") as nobody, no_leaks():
        network = Network(Resolver([("127.0.0.1", nobody.port)], hosts=None))
        probe = TcpProbe(address=HostPort("a.test", 1))
        result = await execute(probe, network=network, timeout=5)
    assert result.worst is not None
    assert result.worst.reason == Reason.DNS_UNREACHABLE
    assert result.duration_s < 1


async def test_whenever_a_query_is_left_its_socket_is_closed() -> None:
    """A socket that was just being made, too."""
    async with dns_server(fault="silent") as server, no_leaks():
        for turns in range(12):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(resolver(server).addresses, "a.test")
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()


async def test_a_silent_name_server_can_be_left_at_once() -> None:
    async with dns_server(fault="silent") as server, no_leaks():
        with anyio.move_on_after(0.1) as scope:
            await resolver(server).addresses("a.test")
        assert scope.cancelled_caught


async def test_an_answer_that_was_cut_is_asked_for_again_over_tcp() -> None:
    async with dns_server({("a.test", "A"): ["192.0.2.1"]}, fault="truncated") as server:
        assert await resolver(server).addresses("a.test") == ["192.0.2.1"]
        assert {query.transport for query in server.queries} == {"udp", "tcp"}


async def test_the_hosts_file_comes_first_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 Web.Test web # a comment\nnonsense line\n2001:db8::7 web.test\n")
    async with dns_server() as server:
        found = resolver(server, hosts)
        assert await found.addresses("WEB.test.") == ["192.0.2.7", "2001:db8::7"]
        hosts.write_text("192.0.2.8 web.test\n")
        os.utime(hosts, ns=(1, 1))
        assert await found.addresses("web.test") == ["192.0.2.8"]
        assert not server.queries


@pytest.mark.parametrize("name", ["localhost", "db.localhost", "LOCALHOST."])
async def test_localhost_is_loopback_without_asking(name: str) -> None:
    async with dns_server() as server:
        assert await resolver(server).addresses(name) == ["127.0.0.1", "::1"]
        assert not server.queries


async def test_names_under_invalid_do_not_exist_without_asking() -> None:
    async with dns_server() as server:
        with pytest.raises(ProbeError) as raised:
            await resolver(server).addresses("nope.invalid")
        assert raised.value.reason is Reason.DNS_NXDOMAIN
        assert not server.queries


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd20:00ce:0000::0254",
        "fd00:42::42",
        "fd00:c1::a9fe:a9fe",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "169.254.42.42",
        "169.254.170.2",
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "not an address",
    ],
)
def test_metadata_and_link_local_addresses_are_denied_in_every_spelling(address: str) -> None:
    assert DenyList().denies(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.1", "2001:db8::1"])
def test_other_addresses_are_not_denied(address: str) -> None:
    assert not DenyList().denies(address)


async def test_a_name_that_leads_to_the_metadata_service_is_not_asked() -> None:
    async with dns_server({("a.test", "A"): ["169.254.169.254"]}) as server:
        with pytest.raises(ProbeError) as raised:
            await Network(resolver(server)).dial(recorder(), "a.test", 80)
    assert (raised.value.reason, raised.value.level) == (Reason.CONNECT_DENIED, Outcome.UNKNOWN)


async def test_of_several_addresses_the_first_that_connects_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialing, "STAGGER", 0.02)
    zone = {("a.test", "A"): ["127.0.0.2", "127.0.0.1"], ("a.test", "AAAA"): ["::1"]}
    async with dns_server(zone) as names, serve("silent") as peer, no_leaks():
        stream = await Network(resolver(names)).dial(recorder(), "a.test", peer.port)
        assert stream.peer == "127.0.0.1"
        stream.close()


async def test_where_no_address_connects_the_error_is_the_peers_own() -> None:
    zone = {("a.test", "A"): ["127.0.0.1", "127.0.0.2"], ("a.test", "AAAA"): ["::1"]}
    async with dns_server(zone) as names, serve("refused") as peer, no_leaks():
        with pytest.raises(ConnectionRefusedError):
            await Network(resolver(names)).dial(recorder(), "a.test", peer.port)


async def test_an_address_that_swallows_everything_does_not_hide_one_that_works() -> None:
    zone = {("a.test", "A"): ["127.0.0.1", "127.0.0.1"]}
    async with serve("black_hole") as hole, dns_server(zone) as names, no_leaks():
        network = Network(resolver(names))
        with anyio.move_on_after(0.6) as scope:
            await network.dial(recorder(), "a.test", hole.port)
        assert scope.cancelled_caught


async def test_tls_contexts_are_made_once_and_anew_when_a_file_was_replaced(tmp_path: Path) -> None:
    authority = Authority()
    path = authority.pem_file(tmp_path)
    network = Network()
    options = TlsOptions(ca=str(path))
    first = network.contexts.get(options)
    assert network.contexts.get(TlsOptions(ca=str(path))) is first
    os.utime(path, ns=(1, 1))
    assert network.contexts.get(options) is not first


async def test_a_missing_authority_file_is_our_own_fault(tmp_path: Path) -> None:
    with pytest.raises(ProbeError) as raised:
        Network().contexts.get(TlsOptions(ca=str(tmp_path / "none.pem")))
    assert raised.value.level is Outcome.UNKNOWN


async def test_facts_of_the_certificate_are_known_after_the_handshake(tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue("localhost")
    async with http_server({}, tls=issued.context) as server, no_leaks():
        noted = recorder()
        stream = await Network().dial(
            noted, "localhost", server.port, tls=TlsOptions(ca=str(authority.pem_file(tmp_path)))
        )
        stream.close()
    assert noted.certificate is not None
    assert noted.certificate.names == ("localhost",)
    assert noted.certificate.not_after == pytest.approx(issued.not_after, abs=1)
    assert noted.certificate.verified
    assert noted.facts["tls.protocol.version"] == "1.3"
    assert [phase.name for phase in noted.phases] == ["resolve", "connect", "tls"]


@pytest.mark.parametrize(
    "kind", ["expired", "wrong_name", "self_signed", "not_yet_valid", "stranger"]
)
async def test_facts_of_the_certificate_are_known_also_when_verification_failed(
    kind: str, tmp_path: Path
) -> None:
    import ssl

    authority = Authority()
    issued = authority.of_kind(kind, "localhost")
    async with http_server({}, tls=issued.context) as server, no_leaks():
        noted = recorder()
        with pytest.raises(ssl.SSLCertVerificationError):
            await Network().dial(
                noted,
                "localhost",
                server.port,
                tls=TlsOptions(ca=str(authority.pem_file(tmp_path))),
            )
    assert noted.certificate is not None
    assert noted.certificate.not_after == pytest.approx(issued.not_after, abs=1)
    assert not noted.certificate.verified


async def test_the_second_look_at_a_bad_certificate_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that shows an expired certificate once and stalls then does not hide it."""
    import ssl
    from contextlib import AsyncExitStack

    monkeypatch.setattr(dialing, "CERTIFICATE_SECONDS", 0.1)
    authority = Authority()
    context = authority.issue("localhost", expired=True).context
    served = 0

    async def talk(peer: object) -> None:
        nonlocal served
        served += 1
        if served == 1:
            await peer.start_tls(context)  # type: ignore[attr-defined]
        await peer.until_gone()  # type: ignore[attr-defined]

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(talk))
        noted = recorder()
        with pytest.raises(ssl.SSLCertVerificationError):
            await Network().dial(
                noted,
                "localhost",
                server.port,
                tls=TlsOptions(ca=str(authority.pem_file(tmp_path))),
            )
