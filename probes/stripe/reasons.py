"""Reasons of the stripe kind."""

from __future__ import annotations

from collections.abc import Mapping

from probed import Reason, Reasons


class StripeReason(Reasons):
    """Reasons from Stripe's API, from the webhook endpoint, and from both together."""

    API_ERROR = "stripe.api_error", "Stripe's API returned an error."
    AUTH_REJECTED = "stripe.auth_rejected", "Stripe rejected the API key."
    KEY_EXPIRED = "stripe.key_expired", "The API key has expired."
    PERMISSION_MISSING = "stripe.permission_missing", "The restricted key lacks a permission."
    RATE_LIMITED = "stripe.rate_limited", "Stripe rate-limits the account or this key."
    LOCKED = "stripe.locked", "Stripe could not answer because another request holds a lock."
    REQUEST_REJECTED = "stripe.request_rejected", "Stripe rejected the request as invalid."
    MODE_MISMATCH = "stripe.mode_mismatch", "The response is from the other mode (live or test)."
    CLOCK_SKEW = "stripe.clock_skew", "This machine's clock differs from Stripe's."
    EVENTS_UNDELIVERED = (
        "stripe.events_undelivered",
        "Events have not been delivered to a webhook endpoint.",
    )
    EVENTS_LOST = "stripe.events_lost", "Stripe has stopped retrying some events: replay them."
    EVENTS_SILENT = (
        "stripe.events_silent",
        "There are no events, although there usually are at this time.",
    )
    ENDPOINT_MISSING = "stripe.endpoint_missing", "No webhook endpoint is registered for this URL."
    ENDPOINT_DISABLED = "stripe.endpoint_disabled", "The webhook endpoint is disabled."
    NOT_SUBSCRIBED = (
        "stripe.events_not_subscribed",
        "The endpoint is not subscribed to required events.",
    )
    SYNC_LAG = "stripe.sync_lag", "The application lags behind Stripe's events."
    SYNC_DRIFT = "stripe.sync_drift", "The application and Stripe report different counts."
    SYNC_UNKNOWN = "stripe.sync_unknown", "probed cannot read what the application has processed."
    NOT_ENFORCED = (
        "webhook.signature_not_enforced",
        "Security: the endpoint accepted an event with a wrong signature.",
    )
    SECRET_MISMATCH = (
        "webhook.secret_mismatch",
        "The endpoint rejected an event signed with the configured secret.",
    )
    SECRET_STALE = (
        "webhook.secret_stale_here",
        "probed's copy of the signing secret is outdated; Stripe's own deliveries succeed.",
    )
    SECRET_PREVIOUS = (
        "webhook.secret_previous",
        "The endpoint accepts only the previous signing secret.",
    )
    REDIRECTED = (
        "webhook.redirected",
        "The endpoint redirects: Stripe counts that as a failed delivery.",
    )
    NOT_FOUND = "webhook.not_found", "The route does not exist or does not accept POST."
    ERROR = "webhook.error", "The endpoint returned an error."
    SLOW = "webhook.slow", "The endpoint is too slow: Stripe gives up after about 30 s."
    SKEW = (
        "webhook.clock_skew",
        "The endpoint's clock is wrong, so signatures look too old or too new.",
    )


BY_VALUE: Mapping[str, Reasons] = {reason.value: reason for reason in (*Reason, *StripeReason)}
"""Every reason that a finding of this kind can have, to restore remembered findings."""

OF_THE_KEY = frozenset(
    {StripeReason.AUTH_REJECTED, StripeReason.KEY_EXPIRED, StripeReason.RATE_LIMITED}
)
"""Reasons that hold for every step with the key once one step has found them."""
