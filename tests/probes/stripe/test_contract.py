"""stripe: the contract of all kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import FakeStripe, ProbeContract, Scenario
from probed.testing.contract import Scenarios
from probed.testing.fake_stripe import KEY
from probes.stripe import StripeProbe


class TestContract(ProbeContract):
    protocol = "http"
    resolves = False
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "garbage": (Outcome.FAILED, "http.protocol"),
        "endless_line": (Outcome.FAILED, "http.protocol"),
        "tls_on_plain": (Outcome.FAILED, "connect."),
        "huge_body": (Outcome.FAILED, "http.body_too_large"),
        "gzip_bomb": (Outcome.FAILED, "http.body_too_large"),
        "deflate_bomb": (Outcome.FAILED, "http.body_too_large"),
        "double_gzip_bomb": (Outcome.FAILED, "http.not_json"),
        "redirect_loop": (Outcome.FAILED, "http.not_json"),
        "redirect_to_metadata": (Outcome.FAILED, "http.not_json"),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        scheme = "https" if tls else "http"
        settings: dict[str, Any] = {"tls": tls} if tls else {}
        return StripeProbe(mode="test", key=KEY, api_base=f"{scheme}://{address}", **settings)

    @asynccontextmanager
    async def well(self) -> AsyncIterator[Scenario]:
        async with FakeStripe() as fake:
            yield Scenario(StripeProbe(mode="test", key=KEY, api_base=fake.base), runs=2)

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[Scenario]:
        async with FakeStripe() as fake:
            fake.faults["*"] = "rate"
            probe = StripeProbe(mode="test", key=KEY, api_base=fake.base)
            yield Scenario(probe, outcome=Outcome.UNKNOWN, reason="stripe.rate_limited", runs=3)

    def scenarios(self) -> Scenarios:
        return {"well": self.well, "limited": self.limited}
