"""mongo: the contract of all kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import ProbeContract, Scenario
from probed.testing.contract import Scenarios
from probes.mongo import MongoProbe


class TestContract(ProbeContract):
    expects = {  # noqa: RUF012
        "close_early": (Outcome.FAILED, "connect.closed"),
        "half_close": (Outcome.FAILED, "connect.closed"),
        "half_line": (Outcome.FAILED, "connect.closed"),
        "reset_mid_line": (Outcome.FAILED, "connect."),
        "endless_line": (Outcome.FAILED, "mongo.protocol"),
        "endless_lines": (Outcome.FAILED, "mongo.protocol"),
        "garbage": (Outcome.FAILED, "mongo.protocol"),
        "hostile_line": (Outcome.FAILED, "mongo.protocol"),
        "silent": (Outcome.FAILED, "timeout.wait"),
        "frozen": (Outcome.FAILED, "timeout.wait"),
    }
    servers: Any
    persona: Any

    @pytest.fixture(autouse=True)
    def personas(self, serve_mongo: Any, persona: Any) -> None:
        """The scenarios, which are not fixtures, start servers by these."""
        type(self).servers, type(self).persona = staticmethod(serve_mongo), staticmethod(persona)

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        settings = {} if tls is None else {"tls": {"ca": tls.ca}}
        return MongoProbe(host=address.host, port=address.port, **settings)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[Scenario]:
        made = self.persona("busy")
        made["script"] = [["shop", {"profile": 1, "slowms": 100}]]
        server = self.servers(**made)
        probe = MongoProbe(host="127.0.0.1", port=server.port, databases=["shop"])
        yield Scenario(probe, outcome=Outcome.DEGRADED, reason="mongo.long_running")

    @asynccontextmanager
    async def three(self) -> AsyncIterator[Scenario]:
        """A set of which one node is not there."""
        one, other = (
            self.servers(**self.persona("primary")),
            self.servers(**self.persona("secondary")),
        )
        gone = self.servers(**self.persona("secondary"))
        gone.stop()
        nodes = ",".join(str(server.address) for server in (one, other, gone))
        probe = MongoProbe(uri=f"mongodb://{nodes}/?replicaSet=rs0")
        yield Scenario(probe, outcome=Outcome.DEGRADED, reason="connect.refused")

    @asynccontextmanager
    async def off(self) -> AsyncIterator[Scenario]:
        server = self.servers(**self.persona("primary"))
        probe = MongoProbe(host="127.0.0.1", port=server.port, databases=["shop"])
        yield Scenario(probe, outcome=Outcome.UNKNOWN, reason="mongo.slow_ops_unknown")

    def scenarios(self) -> Scenarios:
        found: dict[str, Any] = {"busy": self.busy, "three": self.three, "off": self.off}
        return found
