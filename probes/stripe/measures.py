"""Measures of the stripe kind."""

from __future__ import annotations

from probed import Measure, MetricType

ALL = (
    Measure(
        "probed.stripe.step.age",
        unit="s",
        help="Time since the step was last run.",
        attributes=("step",),
    ),
    Measure(
        "probed.stripe.api.reads",
        unit="{read}",
        kind=MetricType.COUNTER,
        help="Answers to requests with the key: they come off the account's allocation.",
    ),
    Measure(
        "probed.stripe.events.undelivered",
        unit="{event}",
        help="Events that have not reached a webhook endpoint, and that Stripe still tries to deliver.",
    ),
    Measure(
        "probed.stripe.events.oldest_undelivered.age",
        unit="s",
        help="Age of the oldest of them.",
    ),
    Measure(
        "probed.stripe.events.lost",
        unit="{event}",
        kind=MetricType.COUNTER,
        help="Events that Stripe has given up on, each counted once.",
    ),
    Measure(
        "probed.stripe.webhook.success_ratio",
        unit="1",
        help="Part of the window's events that were delivered; a lower bound where bound says so.",
        attributes=("bound",),
    ),
    Measure(
        "probed.stripe.endpoints.enabled",
        unit="{endpoint}",
        help="Webhook endpoints that are enabled.",
    ),
    Measure(
        "probed.stripe.webhook.response.status_code",
        help="Status that our webhook endpoint answers to a synthetic event.",
        attributes=("event",),
    ),
    Measure(
        "probed.stripe.sync.lag",
        unit="s",
        help="How far the application is behind Stripe's newest event.",
    ),
    Measure(
        "probed.stripe.sync.difference",
        unit="{subscription}",
        help="Active subscriptions of the application, less those of Stripe.",
    ),
    Measure(
        "probed.clock.skew",
        unit="s",
        help="How far the server's clock is ahead of ours.",
        attributes=("server",),
    ),
)
