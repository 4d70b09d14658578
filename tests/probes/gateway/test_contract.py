"""gateway: the contract of all kinds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import Answer, ProbeContract, Scenario, http_server
from probed.testing.contract import Scenarios
from probes.gateway import GatewayProbe

HEALTH = {
    "status": "UP",
    "components": {
        "db": {"status": "UP", "details": {"active": 3, "max": 20}},
        "circuitBreakers": {
            "status": "UP",
            "details": {"billing": {"status": "UP", "details": {"state": "CLOSED"}}},
        },
    },
}


class TestContract(ProbeContract):
    protocol = "http"
    # Their answer is a good one in spite of it.
    tolerates = frozenset()
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "garbage": (Outcome.FAILED, "http.protocol"),
        "endless_line": (Outcome.FAILED, "http.protocol"),
        "tls_on_plain": (Outcome.FAILED, "connect."),
        "huge_body": (Outcome.DEGRADED, "http.body_too_large"),
        "gzip_bomb": (Outcome.DEGRADED, "http.body_too_large"),
        "deflate_bomb": (Outcome.DEGRADED, "http.body_too_large"),
        "double_gzip_bomb": (Outcome.DEGRADED, "http.encoding"),
        "bad_gzip": (Outcome.DEGRADED, "http.encoding"),
        "redirect_loop": (Outcome.FAILED, "http.redirected"),
        # Had it been followed, the reason would be another: that address is denied.
        "redirect_to_metadata": (Outcome.FAILED, "http.redirected"),
        "status_999": (Outcome.FAILED, "http.status"),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        scheme = "https" if tls else "http"
        settings: dict[str, Any] = {"tls": tls} if tls else {}
        return GatewayProbe(url=f"{scheme}://{address}/health", body_limit="1MiB", **settings)

    @asynccontextmanager
    async def healthy(self) -> AsyncIterator[Scenario]:
        answer = Answer(headers={"Content-Type": "application/json"}, body=json.dumps(HEALTH))
        async with http_server({"/": answer, "/health": answer}) as server:
            upstream = {"name": "self", "url": server.url()}
            yield Scenario(GatewayProbe(url=server.url("/health"), upstreams=[upstream]))

    @asynccontextmanager
    async def unavailable(self) -> AsyncIterator[Scenario]:
        async with http_server({"/health": Answer(status=503)}) as server:
            yield Scenario(
                self.make(server.address, None),
                outcome=Outcome.FAILED,
                reason="http.unavailable",
            )

    def scenarios(self) -> Scenarios:
        return {"healthy": self.healthy, "unavailable": self.unavailable}
