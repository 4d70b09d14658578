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
        "circuitBreakers": {
            "status": "UP",
            "details": {"billing": {"status": "UP", "details": {"state": "CLOSED"}}},
        }
    },
}


class TestContract(ProbeContract):
    protocol = "http"
    # Their answer is a good one in spite of it.
    tolerates = frozenset()

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
