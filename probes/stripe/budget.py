"""The reads per month of the checks, against the account's allocation (docs.stripe.com/rate-limits: 500 reads for
each transaction, averaged over 30 days, but at least 10,000 a month).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from probes.stripe.settings import FLOOR, StripeSettings

MONTH = 30 * 86400.0
PER_TRANSACTION = 500

PERMISSIONS = """\
A restricted key needs no more than to read. Under Developers, API keys, Create restricted key, tick
Read on:

  Balance                     step api (with `ping: charges`: Charges)
  Events                      steps events and drift
  Webhook Endpoints           step endpoints (and Event Destinations, where the account has them)
  Subscriptions               step drift, where `active` is compared

Everything else stays None. A permission that is missing is named by stripe.permission_missing.
`stripe keys permissions "GET /v1/events"` prints what a request needs.
"""


def reads(settings: StripeSettings, interval: float) -> Mapping[str, float]:
    """Reads a month by step, when all is well; a step is not run more often than the check."""
    events, drift = settings.events, settings.drift
    each = {
        "api": 1,
        "endpoints": 1,
        "events": 1 + (events.ratio or events.silent),
        "drift": 1 + (drift is not None and drift.source.active is not None),
    }
    return {
        name: MONTH / max(every, interval) * each[name]
        for name, every in settings.cadences.items()
        if name in each
    }


def remarks(checks: Sequence[tuple[str, StripeSettings, float]]) -> Iterator[str]:
    """Of each key, what its checks read in a month, and whether that is within what is allowed."""
    by_key: dict[str, list[tuple[str, StripeSettings, float]]] = {}
    for check in checks:
        key = check[1].key
        if key is not None:
            by_key.setdefault(key.get_secret_value(), []).append(check)
    for sharing in by_key.values():
        yield _estimate(sharing)
        for name, settings, _ in sharing:
            if settings.secret_key:
                yield (
                    f"{name}: a live secret key can move money; a restricted key needs no more than "
                    "to read Balance, Events, Webhook Endpoints and Subscriptions"
                )


def _estimate(sharing: Sequence[tuple[str, StripeSettings, float]]) -> str:
    total: dict[str, float] = {}
    for _, settings, interval in sharing:
        for step, count in reads(settings, interval).items():
            total[step] = total.get(step, 0.0) + count
    month = ceil(sum(total.values()))
    allowed = min(settings.read_allocation for _, settings, _ in sharing)
    names = ", ".join(name for name, _, _ in sharing)
    steps = ", ".join(f"{step} {ceil(count):,}" for step, count in total.items())
    said = f"{names}: about {month:,} reads a month ({steps})"
    if month <= allowed:
        return f"{said}, within the allocation of {allowed:,}"
    said += f", more than the allocation of {allowed:,}"
    if allowed == FLOOR:
        said += f"; Stripe allows it from {ceil(month / PER_TRANSACTION)} transactions a month on"
    return said + ": write longer `steps`, or the `read_allocation` that you have"
