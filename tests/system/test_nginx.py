"""The probes against a real nginx."""

from __future__ import annotations

from typing import Any

import pytest

from probed import HostPort, Outcome, Tls
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.probe import Probe
from probed.testing.leaks import no_leaks
from probes.gateway import GatewayProbe
from probes.tls import TlsProbe

pytestmark = [pytest.mark.anyio, pytest.mark.debian("nginx")]


async def run(probe: Probe) -> Result:
    async with no_leaks():
        return await execute(probe, network=Network(), timeout=5.0)


def reasons(result: Result) -> list[str]:
    return [str(finding.reason) for finding in result.findings]


async def test_a_health_endpoint_over_plain_http(nginx: Any) -> None:
    result = await run(GatewayProbe(url=f"http://127.0.0.1:{nginx.plain}/health"))
    assert (result.outcome, reasons(result)) == (Outcome.OK, [])
    assert [phase.name for phase in result.phases] == [
        "resolve", "connect", "request", "wait", "receive",
    ]  # fmt: skip


async def test_a_health_endpoint_over_tls_with_a_private_authority(nginx: Any) -> None:
    tls = {"ca": str(nginx.ca)}
    result = await run(GatewayProbe(url=f"https://localhost:{nginx.tls}/health", tls=tls))
    assert (result.outcome, reasons(result)) == (Outcome.OK, [])
    assert result.facts["tls.protocol.version"] in {"1.2", "1.3"}
    assert "tls" in [phase.name for phase in result.phases]


async def test_a_private_authority_that_was_not_given_is_not_trusted(nginx: Any) -> None:
    result = await run(GatewayProbe(url=f"https://localhost:{nginx.tls}/health"))
    assert reasons(result) == ["tls.untrusted"]
    assert [m.measure.name for m in result.measures] == ["probed.tls.certificate.not_after"]


async def test_an_expired_certificate_is_shown_with_its_end(nginx: Any) -> None:
    address = HostPort("localhost", nginx.expired)
    result = await run(TlsProbe(address=address, tls=Tls(ca=nginx.ca)))
    assert reasons(result) == ["tls.expired"]
    assert "expired on 20" in result.findings[0].message
    assert [m.measure.name for m in result.measures] == ["probed.tls.certificate.not_after"]


async def test_a_backend_that_is_away_is_a_bad_gateway(nginx: Any) -> None:
    upstream = {"name": "health", "url": f"http://127.0.0.1:{nginx.plain}/health"}
    result = await run(
        GatewayProbe(url=f"http://127.0.0.1:{nginx.plain}/proxied", upstreams=[upstream])
    )
    assert reasons(result) == ["http.bad_gateway", "gateway.routing"]
    assert str(result.findings[0].evidence["server"]).startswith("nginx/")


async def test_tls_on_a_plain_port_and_plain_on_a_tls_port(nginx: Any) -> None:
    result = await run(GatewayProbe(url=f"https://127.0.0.1:{nginx.plain}/health"))
    assert reasons(result) == ["tls.not_tls"]
    result = await run(GatewayProbe(url=f"http://127.0.0.1:{nginx.tls}/health"))
    assert reasons(result) == ["http.status"]


@pytest.mark.parametrize("path", ["/big", "/gzip"])
async def test_a_large_body_is_read_up_to_the_limit(nginx: Any, path: str) -> None:
    probe = GatewayProbe(url=f"http://127.0.0.1:{nginx.plain}{path}", body_limit="1MiB")
    result = await run(probe)
    assert reasons(result) == ["http.body_too_large"]


async def test_over_http_2_with_tls_and_without(nginx: Any) -> None:
    tls = {"ca": str(nginx.ca)}
    for url in (f"https://localhost:{nginx.h2}/health", f"http://127.0.0.1:{nginx.h2c}/health"):
        result = await run(GatewayProbe(url=url, tls=tls, http2=True))
        assert (result.outcome, reasons(result)) == (Outcome.OK, [])
        assert result.facts["network.protocol.version"] == "2"
        names = [phase.name for phase in result.phases if phase.name != "tls"]
        assert names == ["resolve", "connect", "request", "wait", "receive"]


async def test_a_peer_without_http_2_is_named(nginx: Any) -> None:
    tls = {"ca": str(nginx.ca)}
    for url in (f"https://localhost:{nginx.tls}/health", f"http://127.0.0.1:{nginx.plain}/health"):
        assert reasons(await run(GatewayProbe(url=url, tls=tls, http2=True))) == ["http.version"]


@pytest.mark.parametrize("path", ["/big", "/gzip"])
@pytest.mark.parametrize(("limit", "found"), [("1MiB", ["http.body_too_large"]), ("4MiB", [])])
async def test_a_large_body_over_http_2(
    nginx: Any, path: str, limit: str, found: list[str]
) -> None:
    """Larger than all windows: they are opened again and again."""
    url = f"http://127.0.0.1:{nginx.h2c}{path}"
    result = await run(GatewayProbe(url=url, http2=True, body_limit=limit))
    assert reasons(result) == found


async def test_large_request_headers_over_http_2(nginx: Any) -> None:
    """More than one frame holds."""
    headers = {f"X-{at}": "v" * 5000 for at in range(5)}
    url = f"http://127.0.0.1:{nginx.h2c}/health"
    assert reasons(await run(GatewayProbe(url=url, http2=True, headers=headers))) == []


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("path", ["/moved", "/away"])
async def test_redirects(nginx: Any, path: str, http2: bool) -> None:
    port = nginx.h2c if http2 else nginx.plain
    probe = GatewayProbe(url=f"http://127.0.0.1:{port}{path}", http2=http2, redirects=2)
    # Another port need not speak what the first one does.
    expected = ["http.version"] if http2 and path == "/away" else []
    assert reasons(await run(probe)) == expected


async def test_a_server_that_asks_for_our_certificate(nginx: Any) -> None:
    url = f"https://localhost:{nginx.mutual}/"
    ours = {"ca": str(nginx.ca), "certificate": str(nginx.client), "key": str(nginx.key)}
    assert reasons(await run(GatewayProbe(url=url, tls=ours))) == []
    # nginx shakes hands all the same, and says so in its answer.
    result = await run(GatewayProbe(url=url, tls={"ca": str(nginx.ca)}))
    assert reasons(result) == ["http.status"]
    assert "No required SSL certificate was sent" in str(result.findings[0].evidence["body"])
