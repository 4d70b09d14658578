"""stripe: the contract of all kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import FakeReceiver, FakeStripe, ProbeContract, Scenario
from probed.testing.contract import Scenarios
from probed.testing.fake_receiver import SYNC
from probed.testing.fake_stripe import KEY
from probes.stripe import StripeProbe

SECRET = "whsec_" + "probedFakeSecret0123456789"


class TestContract(ProbeContract):
    protocol = "http"
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
        if address.host != "127.0.0.1":  # no key goes in clear to other machines
            off = dict.fromkeys(("reach", "api", "events", "endpoints", "drift"))
            return StripeProbe(steps=off, webhook={"url": f"http://{address}/"})
        scheme = "https" if tls else "http"
        settings: dict[str, Any] = {"tls": tls} if tls else {}
        return StripeProbe(mode="test", key=KEY, api_base=f"{scheme}://{address}", **settings)

    @asynccontextmanager
    async def well(self) -> AsyncIterator[Scenario]:
        async with FakeStripe() as fake, FakeReceiver(SECRET) as receiver:
            fake.endpoint(receiver.hook)
            fake.event("invoice.paid", age=600.0)
            webhook = {"url": receiver.hook, "secret": SECRET, "synthetic": "signed"}
            app = {
                "url": receiver.url(SYNC), "last_event": "$.last_event_created",
                "active": "$.active_subscriptions",
            }  # fmt: skip
            receiver.processed = list(fake.events)
            probe = self.of(fake, webhook=webhook, events={"ratio": True}, drift={"app": app})
            yield Scenario(probe, runs=2)

    @asynccontextmanager
    async def behind(self) -> AsyncIterator[Scenario]:
        async with FakeStripe() as fake:
            fake.event("invoice.paid", age=4 * 86400.0, pending=1)
            probe = self.of(fake)
            yield Scenario(probe, outcome=Outcome.DEGRADED, reason="stripe.events_lost")

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[Scenario]:
        async with FakeStripe() as fake:
            fake.faults["*"] = "rate"
            probe = self.of(fake)
            yield Scenario(probe, outcome=Outcome.UNKNOWN, reason="stripe.rate_limited", runs=3)

    def of(self, fake: FakeStripe, **settings: Any) -> StripeProbe:
        return StripeProbe(mode="test", key=KEY, api_base=fake.base, **settings)

    def scenarios(self) -> Scenarios:
        return {"well": self.well, "behind": self.behind, "limited": self.limited}
