"""The Stripe probe: what the playbook asks of Stripe by hand. It reads, and never writes."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, ClassVar, Self

from probed import Run
from probes.stripe import measures
from probes.stripe.budget import PERMISSIONS, remarks
from probes.stripe.memory import StepMemory
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import StripeSettings


class StripeProbe(StripeSettings):
    """Ask Stripe whether it answers, whether events were delivered, and our webhook endpoint whether
    it verifies signatures; compare what the application has processed. It reads only: nothing but
    GET goes to Stripe.
    """

    kind = "stripe"
    example = """\
checks:
  - name: stripe
    probe: stripe
    mode: test
    key: {env: STRIPE_KEY}
    webhook:
      url: https://api.example.com/v1/billing/webhooks/stripe
      secret: {env: STRIPE_WEBHOOK_SECRET}
      synthetic: signed
      required_events: [invoice.paid]
    events: {grace: 5m, degraded: 1, failed: 10}
    drift:
      app:
        url: https://api.example.com/internal/billing/sync
        last_event: $.last_event_created
    interval: 1m
"""
    reasons = StripeReason
    measures = measures.ALL

    notes: ClassVar[str] = PERMISSIONS

    @classmethod
    def remarks(cls, checks: Sequence[tuple[str, Self, float]]) -> Iterable[str]:
        """Return the reads per month of the checks, against the account's allocation."""
        return remarks(checks)

    def worth_repeating(self, memory: MutableMapping[str, Any], now: float) -> bool:
        from probes.stripe.rounds import due  # noqa: PLC0415  # a run was before it

        return bool(due(self, StepMemory(memory, self.fingerprint, now)))

    async def probe(self, run: Run) -> None:
        from probes.stripe.rounds import run_round  # noqa: PLC0415  # with the first run

        await run_round(self, run)
