"""Correlation of the steps: who has the wrong signing secret?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from probed import Finding, Outcome, Thresholds
from probes.stripe.memory import StepMemory
from probes.stripe.reasons import StripeReason
from probes.stripe.step import SKEW_DEGRADED

SKEW = Thresholds(degraded=SKEW_DEGRADED, failed=240.0)
"""Seconds that the endpoint's clock may be off; Stripe's libraries accept signatures for 300 s."""
_ACCEPTS_OURS = (
    " The application accepts our copy of the secret, Stripe's deliveries fail: the secret was rolled "
    "at Stripe, or Stripe cannot reach the endpoint."
)
_BOTH = " Stripe's own deliveries fail too: the application holds a wrong secret."


def judge(found: Finding, memory: StepMemory) -> Finding:
    """The finding in the light of what other steps have found."""
    if found.reason is StripeReason.EVENTS_UNDELIVERED:
        if memory.fact("webhook", "signed") == "accepted":
            return found._replace(message=found.message + _ACCEPTS_OURS)
    elif found.reason is StripeReason.SECRET_MISMATCH:
        if _count(memory.fact("events", "undelivered")):
            return found._replace(message=found.message + _BOTH)
        delivered = memory.fact("webhook", "delivered")
        if delivered is not None and memory.fact("events", "undelivered") == 0:
            message = (
                "The endpoint refused an event that was signed with our secret, but accepts Stripe's "
                "own: our copy of the secret is old."
            )
            evidence = {**found.evidence, "delivered": delivered}
            return Finding(Outcome.DEGRADED, StripeReason.SECRET_STALE, message, evidence)
    return found


def clock(memory: StepMemory) -> Iterator[Finding]:
    """Find a clock of the endpoint's to which signatures seem too old or too new. It is held against
    Stripe's, where that is known: ours may be the wrong one.
    """
    skew = _seconds(memory.fact("webhook", "skew"))
    if skew is None:
        return
    reference = _seconds(memory.fact("reach", "skew"))
    if reference is None:
        reference = _seconds(memory.fact("api", "skew"))
    apart = skew - (reference or 0.0)
    crossed = SKEW.crossed(abs(apart))
    if crossed is not None:
        where = "ahead of" if apart > 0 else "behind"
        whose = "ours" if reference is None else "Stripe's"
        message = (
            f"The endpoint's clock is {abs(apart):.0f} s {where} {whose}: Stripe's libraries "
            "take signatures for 300 s."
        )
        yield Finding(crossed[0], StripeReason.SKEW, message, {})


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
