"""The probes against a real nginx."""

from __future__ import annotations

from typing import Any

import pytest

from probed import HostPort, Outcome, Tls
from probed.model import Result
from probed.net import Network
from probed.probe import Probe
from probed.runner import execute
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
