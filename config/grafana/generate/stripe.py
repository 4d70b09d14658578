"""Stripe checks: events, deliveries, the webhook endpoint, drift."""

from __future__ import annotations

from .layout import dashboard
from .panels import AMBER, GREEN, NONE_ALLOWED, RED, lines, query, reasons, stat, verdicts
from .queries import check_rate, checks, increase

PANELS = [
    verdicts(6),
    stat(
        "Undelivered events",
        "Events that are undelivered after the grace period. Step 2 of the playbook.",
        query(f"max({checks('probed_stripe_events_undelivered')})"),
        steps=NONE_ALLOWED,
        width=6,
    ),
    stat(
        "Oldest undelivered event",
        "Age of the oldest undelivered event. Stripe stops retrying after 72 h.",
        query(f"max({checks('probed_stripe_events_oldest_undelivered_age_seconds')})"),
        unit="s",
        steps=[(None, GREEN), (3600, AMBER), (86400, RED)],
        width=6,
    ),
    stat(
        "Lost events",
        "Events that Stripe stopped retrying, in the selected time range.",
        query(f"sum({increase('probed_stripe_events_lost_total')})"),
        steps=NONE_ALLOWED,
        width=6,
    ),
    stat(
        "Enabled endpoints",
        "Enabled webhook endpoints. At 0, no events are delivered.",
        query(f"min({checks('probed_stripe_endpoints_enabled')})"),
        steps=[(None, RED), (1, GREEN)],
        width=6,
    ),
    lines(
        "Webhook endpoint status",
        "Response to a signed and to a wrongly signed event. `reject` must be 400 and `signed` 2xx; otherwise "
        "the secret is wrong or signatures are not verified.",
        query(
            f"max by (event) ({checks('probed_stripe_webhook_response_status_code')})", "{{event}}"
        ),
    ),
    lines(
        "Delivery success",
        "Share of delivery attempts that succeed.",
        query(
            f"min by (probed_check) ({checks('probed_stripe_webhook_success_ratio')})",
            "{{probed_check}}",
        ),
        unit="percentunit",
        steps=[(None, RED), (0.9, AMBER), (0.99, GREEN)],
    ),
    lines(
        "Drift",
        "How far the application lags behind Stripe.",
        query(
            f"max by (probed_check) ({checks('probed_stripe_sync_lag_seconds')})",
            "{{probed_check}}",
        ),
        unit="s",
    ),
    lines(
        "Subscriptions",
        "Difference between the number of active subscriptions at Stripe and in the application.",
        query(
            f"max by (probed_check) ({checks('probed_stripe_sync_difference')})", "{{probed_check}}"
        ),
    ),
    lines(
        "Clock skew",
        "Difference to Stripe's clock. Signatures fail when it is large.",
        query(
            f"max by (probed_check, server) ({checks('probed_clock_skew_seconds')})",
            "{{probed_check}} {{server}}",
        ),
        unit="s",
    ),
    lines(
        "Age of step results",
        "Time since each step last ran. Steps have their own intervals.",
        query(f"max by (step) ({checks('probed_stripe_step_age_seconds')})", "{{step}}"),
        unit="s",
    ),
    lines(
        "API reads",
        "API reads per minute. They count against the account's read allocation.",
        query(f"sum({check_rate('probed_stripe_api_reads_total')}) * 60", "reads"),
        unit="cpm",
    ),
    reasons(),
]

DASHBOARD = dashboard(
    "stripe",
    "probed: Stripe",
    "Events, deliveries, the webhook endpoint, drift.",
    PANELS,
    kinds="stripe",
)
