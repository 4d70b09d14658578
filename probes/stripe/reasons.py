"""Why Stripe, or what the application makes of it, is not well: the reasons of this kind."""

from __future__ import annotations

from collections.abc import Mapping

from probed import Reason, Reasons


class StripeReason(Reasons):
    """What Stripe's API says, what our webhook endpoint answers, and how both go together."""

    API_ERROR = "stripe.api_error", "Stripe's API answers with an error of its own."
    AUTH_REJECTED = "stripe.auth_rejected", "Stripe does not accept the API key."
    KEY_EXPIRED = "stripe.key_expired", "The API key has expired."
    PERMISSION_MISSING = "stripe.permission_missing", "The restricted key lacks a permission."
    RATE_LIMITED = "stripe.rate_limited", "Stripe asks us to slow down."
    LOCKED = "stripe.locked", "Stripe could not answer: another request holds a lock."
    REQUEST_REJECTED = "stripe.request_rejected", "Stripe does not understand what we ask."
    MODE_MISMATCH = "stripe.mode_mismatch", "The answer is of the other mode, live or test."
    CLOCK_SKEW = "stripe.clock_skew", "This machine's clock differs from Stripe's."
    EVENTS_UNDELIVERED = "stripe.events_undelivered", "Events have not reached a webhook endpoint."
    EVENTS_LOST = "stripe.events_lost", "Stripe has given up on events: they need a replay."
    EVENTS_SILENT = "stripe.events_silent", "There are no events, though there were at this time."
    ENDPOINT_MISSING = "stripe.endpoint_missing", "No webhook endpoint has our URL."
    ENDPOINT_DISABLED = "stripe.endpoint_disabled", "The webhook endpoint is disabled."
    NOT_SUBSCRIBED = "stripe.events_not_subscribed", "Required events are not sent to the endpoint."
    SYNC_LAG = "stripe.sync_lag", "The application is behind Stripe's events."
    SYNC_DRIFT = "stripe.sync_drift", "The application and Stripe count differently."
    SYNC_UNKNOWN = "stripe.sync_unknown", "What the application has processed cannot be found out."
    NOT_ENFORCED = (
        "webhook.signature_not_enforced",
        "A security hole: the endpoint accepted an event with a wrong signature.",
    )
    SECRET_MISMATCH = (
        "webhook.secret_mismatch",
        "The endpoint refused an event that was signed with our secret.",
    )
    SECRET_STALE = (
        "webhook.secret_stale_here",
        "Our copy of the signing secret is old: Stripe's own deliveries are accepted.",
    )
    SECRET_PREVIOUS = (
        "webhook.secret_previous",
        "The endpoint accepts the previous signing secret only.",
    )
    REDIRECTED = "webhook.redirected", "The endpoint redirects: Stripe counts that as failed."
    NOT_FOUND = "webhook.not_found", "There is no such route, or it takes no POST."
    ERROR = "webhook.error", "The endpoint answers with an error."
    SLOW = "webhook.slow", "The endpoint takes too long to answer: Stripe gives up around 30 s."
    SKEW = "webhook.clock_skew", "The endpoint's clock is wrong: signatures seem too old or new."


BY_VALUE: Mapping[str, Reasons] = {reason.value: reason for reason in (*Reason, *StripeReason)}
"""All reasons that a finding of this kind may have, for those that were remembered."""

OF_THE_KEY = frozenset(
    {StripeReason.AUTH_REJECTED, StripeReason.KEY_EXPIRED, StripeReason.RATE_LIMITED}
)
"""What one step with the key has found and all others would find too."""
