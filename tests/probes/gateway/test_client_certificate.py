"""Servers that ask for our certificate: with it they answer, without it the reason says so."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from probed import HostPort, Probe
from probed.clock import SystemClock
from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network, Stream, TlsOptions
from probed.record import Recorder
from probed.testing import Answer, Authority, HttpServer, http_server, no_leaks, serve
from probed.testing.peer import Peer
from probed.text.redact import Redactor
from probes.gateway import GatewayProbe
from probes.tcp import TcpProbe
from probes.tls import TlsProbe

pytestmark = pytest.mark.anyio

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
WANTED = "The peer wants a certificate of ours: set tls.certificate."
REFUSED = "The peer did not accept our certificate."


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def folder(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    authority.pem_file(folder)
    for name, issued in (
        ("good", authority.issue("client.test")),
        ("expired", authority.issue("client.test", expired=True)),
        ("stranger", Authority().issue("client.test")),
    ):
        (folder / name).mkdir()
        issued.files(folder / name)
    return folder


def tls_of(folder: Path, name: str | None) -> dict[str, Any]:
    tls = {"ca": folder / "ca.pem"}
    if name is None:
        return tls
    return {
        **tls,
        "certificate": folder / name / "certificate.pem",
        "key": folder / name / "key.pem",
    }


def demanding(authority: Authority, version: ssl.TLSVersion) -> HttpServer:
    issued = authority.issue("localhost", clients=authority)
    issued.context.maximum_version = version
    return http_server({"/": Answer()}, tls=issued.context)


async def run(probe: Probe) -> Result:
    async with no_leaks():
        return await execute(probe, network=Network(), timeout=2.0)


def found(result: Result) -> list[tuple[str, str, str]]:
    return [(f.level.value, str(f.reason), f.message) for f in result.findings]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_demands_a_certificate_gets_it(
    authority: Authority, folder: Path, version: ssl.TLSVersion
) -> None:
    async with demanding(authority, version) as server:
        tls = tls_of(folder, "good")
        gateway = GatewayProbe(url=server.url("/", "localhost"), tls=tls)
        handshake = TlsProbe(address=HostPort("localhost", server.port), tls=tls)
        assert (await run(gateway)).outcome is Outcome.OK
        result = await run(handshake)
        assert (result.outcome, found(result)) == (Outcome.OK, [])
        assert server.requests


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "expired", "stranger"])
async def test_a_server_that_gets_none_or_a_bad_one_has_its_reason(
    authority: Authority, folder: Path, name: str | None, version: ssl.TLSVersion
) -> None:
    async with demanding(authority, version) as server:
        url = server.url("/", "localhost")
        result = await run(GatewayProbe(url=url, tls=tls_of(folder, name)))
        ((level, reason, message),) = found(result)
        assert (level, reason) == ("failed", "tls.client_certificate")
        assert message == REFUSED if name else "tls.certificate" in message
        assert not server.requests


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["expired", "stranger"])
async def test_a_refused_certificate_is_found_by_the_handshake_alone(
    authority: Authority, folder: Path, name: str, version: ssl.TLSVersion
) -> None:
    async with demanding(authority, version) as server:
        address = HostPort("localhost", server.port)
        result = await run(TlsProbe(address=address, tls=tls_of(folder, name)))
    assert found(result) == [("failed", "tls.client_certificate", REFUSED)]


async def test_an_upstream_and_a_plain_connection_show_it_too(
    authority: Authority, folder: Path
) -> None:
    async def greets(peer: Peer) -> None:
        await peer.send(b"220 hello\r\n")
        await peer.until_gone()

    issued = authority.issue("localhost", clients=authority)
    async with serve(greets, tls=issued.context) as server:
        address = HostPort("localhost", server.port)
        tls = tls_of(folder, "good")
        assert (await run(TcpProbe(address=address, tls=tls, expect="^220"))).outcome is Outcome.OK
        result = await run(TcpProbe(address=address, tls=tls_of(folder, None), expect="^220"))
    assert found(result) == [("failed", "tls.client_certificate", WANTED)]


async def test_a_server_that_offers_no_common_cipher_does_not_want_a_certificate(
    authority: Authority, folder: Path
) -> None:
    issued = authority.issue("localhost")
    issued.context.maximum_version = ssl.TLSVersion.TLSv1_2
    issued.context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")  # our key is ECDSA
    async with http_server({}, tls=issued.context) as server:
        address = HostPort("localhost", server.port)
        result = await run(TlsProbe(address=address, tls=tls_of(folder, None)))
    assert [reason for _, reason, _ in found(result)] == ["tls.version"]


async def test_a_peer_that_has_nothing_to_say_of_it_is_not_waited_for(
    authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def holds_on(peer: Peer) -> None:
        await peer.until_gone()
        await peer.pause(5.0)

    monkeypatch.setattr("probes.tls.PATIENCE", 0.1)
    async with serve(holds_on, tls=authority.issue("localhost").context) as server:
        address = HostPort("localhost", server.port)
        result = await run(TlsProbe(address=address, tls=tls_of(folder, "good")))
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    assert result.duration_s < 1.0


async def test_an_alert_is_found_also_where_sending_fails(
    authority: Authority, folder: Path
) -> None:
    async def send(stream: Stream) -> None:
        for _ in range(1000):
            await stream.send(b"x" * 65536)

    tls = TlsOptions(ca=str(folder / "ca.pem"))
    async with demanding(authority, ssl.TLSVersion.TLSv1_3) as server:
        recorder = Recorder(SystemClock(), Redactor())
        stream = await Network().dial(recorder, "localhost", server.port, tls=tls)
        try:
            with pytest.raises(ssl.SSLError) as raised:
                await send(stream)
        finally:
            stream.close()
    assert raised.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
