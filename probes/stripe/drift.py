"""Has the application processed what Stripe has sent, and does it count the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from probed import Fault, Outcome
from probes.stripe import sources
from probes.stripe.answers import number, span
from probes.stripe.drift_settings import Drift
from probes.stripe.events import Event, listed, types_of
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import StripeSettings
from probes.stripe.sources import Processed
from probes.stripe.step import Step

if TYPE_CHECKING:
    from probes.stripe.memory import StepMemory
    from probes.stripe.sdk import Api

HALF = 0.5
COUNTED = 10_000
"""Above this Stripe's count of what a search finds is not accurate."""


async def comparison(step: Step, settings: StripeSettings, api: Api, memory: StepMemory) -> None:
    """Compare the last event that the application has processed with Stripe's newest one, and both
    counts of active subscriptions.
    """
    drift = settings.drift
    assert drift is not None
    processed = await _processed(step, drift)
    if processed is None:
        return
    newest = await listed(
        step, settings, api, limit=1, since=step.now - settings.events.lookback,
        until=step.now - settings.events.grace, **types_of(memory),
    )  # fmt: skip
    _judge_lag(step, drift, processed, newest.events[0] if newest.events else None)
    if processed.active is not None:
        with step.run.prefixed("count/"):
            await _judge_count(step, drift, api, processed.active)


async def _processed(step: Step, drift: Drift) -> Processed | None:
    """Return the application's state; None, and a finding, if it cannot be read. Reading may use half
    of the time left, because Stripe is queried afterwards.
    """
    seconds = HALF * step.run.remaining()
    found: Processed | Fault | None = None
    with step.run.prefixed("app/"), anyio.move_on_after(seconds):
        found = await step.run.guard(sources.reader(drift.source, step, seconds))
    if isinstance(found, Processed):
        return found
    why, evidence = "It does not answer in time.", dict(step.run.evidence)
    phase = step.run.failed_phase
    if phase is not None:
        evidence["phase"] = phase.name
    if found is None:
        step.run.blame(StripeReason.SYNC_UNKNOWN)
    else:
        why = found.message
        evidence["reason"] = found.reason.value
    message = f"What the application has processed cannot be found out: {why}"
    step.find(Outcome.UNKNOWN, StripeReason.SYNC_UNKNOWN, message, evidence)
    return None


def _judge_lag(step: Step, drift: Drift, processed: Processed, newest: Event | None) -> None:
    if newest is None:
        step.measure("probed.stripe.sync.lag", 0.0)
        return
    # Where nothing was processed, the newest event itself is as late as it is old.
    lag = step.now - newest.created
    if processed.last is not None:
        lag = max(0.0, newest.created - processed.last)
    step.measure("probed.stripe.sync.lag", lag)
    crossed = drift.lag.crossed(lag)
    if crossed is None:
        return
    if processed.last is None:
        message = "The application has processed no event, though Stripe has had some."
    else:
        message = f"The application is {span(lag)} behind Stripe's newest event, {newest.type}."
    evidence = {"event": newest.id, "created": newest.created, "processed": processed.last}
    step.find(crossed[0], StripeReason.SYNC_LAG, message, evidence)


async def _judge_count(step: Step, drift: Drift, api: Api, ours: float) -> None:
    """The search is up to a minute behind, so that a small difference is none."""
    data = await api.get(
        "/v1/subscriptions/search", query="status:'active'", limit=1, expand=["total_count"]
    )
    theirs = number(data.get("total_count"))
    if theirs is None or theirs > COUNTED:
        return
    difference = ours - theirs
    step.measure("probed.stripe.sync.difference", difference)
    crossed = drift.count.crossed(abs(difference) / max(theirs, 1))
    if crossed is not None:
        message = f"The application counts {ours:.0f} active subscriptions, Stripe {theirs}."
        evidence = {"application": ours, "stripe": theirs}
        step.find(crossed[0], StripeReason.SYNC_DRIFT, message, evidence)
