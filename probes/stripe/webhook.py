"""Our webhook endpoint, asked as Stripe would: does it verify signatures, and with which secret?"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

import anyio

from probed import Outcome, Reason, Reasons, Request, Response, judge_latency
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import StripeSettings, Webhook
from probes.stripe.step import Step

TYPE = "probed.ping"
"""The type of the synthetic event: known to no handler."""
BODY_LIMIT = 64 << 10
_REFUSED = frozenset({400, 401, 403, 422})
_ROUTE = frozenset({404, 405, 410})


def signature(secret: str, body: bytes, at: int) -> str:
    """The value of `Stripe-Signature` for a body that is sent then (docs.stripe.com/webhooks)."""
    signed = b"%d." % at + body
    return f"t={at},v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def synthetic(url: str, *, live: bool, at: int) -> bytes:
    """An event that no handler knows. Its id is constant, so that a receiver which remembers ids
    remembers one.
    """
    event = {
        "id": "evt_probed_" + hashlib.sha256(url.encode()).hexdigest()[:16],
        "object": "event",
        "type": TYPE,
        "livemode": live,
        "created": at,
        "pending_webhooks": 0,
        "data": {"object": {"object": TYPE}},
    }
    return json.dumps(event, separators=(",", ":")).encode()


async def verification(step: Step, settings: StripeSettings) -> None:
    """Post a wrongly signed event, which must be refused, and as the settings say a right one."""
    webhook = settings.webhook
    assert webhook is not None
    run = step.run
    # Not a secret of anybody's: another one in each run.
    wrong = f"whsec_{run.trace_id}{run.span_id}"
    answer = await _post(step, settings, webhook, "reject", wrong)
    if answer is None:
        return
    if 200 <= answer.status < 300:
        message = (
            "A security hole: the endpoint accepted an event with a wrong signature "
            f"({answer.status}). Whoever knows its URL can feign payments."
        )
        step.find(Outcome.FAILED, StripeReason.NOT_ENFORCED, message, {"status": answer.status})
        return
    if answer.status not in _REFUSED:
        _odd(step, answer, "a wrongly signed event")
        return
    if webhook.synthetic == "signed":
        await _signed(step, settings, webhook)


async def _signed(step: Step, settings: StripeSettings, webhook: Webhook) -> None:
    """With our secret; where that is refused, with the one before."""
    assert webhook.secret is not None
    answer = await _post(step, settings, webhook, "signed", webhook.secret.get_secret_value())
    if answer is None:
        return
    if 200 <= answer.status < 300:
        step.facts["signed"] = "accepted"
        return
    if answer.status not in _REFUSED:
        _odd(step, answer, "a rightly signed event")
        return
    step.facts["signed"] = "refused"
    evidence: dict[str, Any] = {"status": answer.status}
    if webhook.previous_secret is not None:
        previous = webhook.previous_secret.get_secret_value()
        second = await _post(step, settings, webhook, "previous", previous)
        if second is not None and 200 <= second.status < 300:
            message = (
                "The endpoint accepts the previous signing secret only: give the application the new "
                "one before Stripe stops signing with both."
            )
            step.find(Outcome.DEGRADED, StripeReason.SECRET_PREVIOUS, message, evidence)
            return
    message = f"The endpoint refused an event that was signed with our secret ({answer.status})."
    step.find(Outcome.FAILED, StripeReason.SECRET_MISMATCH, message, evidence)


async def _post(
    step: Step, settings: StripeSettings, webhook: Webhook, part: str, secret: str
) -> Response | None:
    """The answer to an event; None, and a finding, where none comes in time."""
    at = int(step.run.clock.time())
    body = synthetic(webhook.url, live=settings.mode == "live", at=at)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(secret, body, at),
    }
    request = Request(webhook.url, method="POST", headers=headers, body=body, tls=webhook.tls)
    answer: Response | None = None
    with step.run.prefixed(f"{part}/"), anyio.move_on_after(webhook.timeout) as scope:
        answer = await step.fetch(request, body_limit=BODY_LIMIT)
    if scope.cancelled_caught or answer is None:
        phase = step.run.failed_phase
        step.run.blame(StripeReason.SLOW)
        message = (
            f"The endpoint took longer than {webhook.timeout:g} s to answer: Stripe gives up around "
            "30 s, and tries again."
        )
        evidence = {"phase": phase.name} if phase else {}
        step.find(Outcome.FAILED, StripeReason.SLOW, message, evidence)
        return None
    step.measure("probed.stripe.webhook.response.status_code", answer.status, event=part)
    if step.skew is not None:
        step.facts["skew"] = step.skew
        step.measure("probed.clock.skew", step.skew, server="webhook")
    judge_latency(step.run, answer.wait_s, settings.latency)
    return answer


def _odd(step: Step, answer: Response, what: str) -> None:
    """An answer that is neither yes nor no."""
    status = answer.status
    evidence: dict[str, Any] = {"status": status}
    reason: Reasons
    level = Outcome.FAILED
    if 300 <= status < 400:
        reason = StripeReason.REDIRECTED
        evidence["location"] = _origin(answer.header("location") or "")
        message = (
            f"The endpoint redirects ({status}): Stripe does not follow, and counts it as failed."
        )
    elif status in _ROUTE:
        reason = StripeReason.NOT_FOUND
        message = f"The endpoint answers {status}: there is no such route, or it takes no POST."
    elif status == 429:
        level, reason, message = Outcome.UNKNOWN, Reason.HTTP_RATE_LIMITED, ""
    else:
        reason = StripeReason.ERROR
        message = f"The endpoint answers {status} to {what}."
    step.find(level, reason, message or None, evidence)


def _origin(location: str) -> str:
    """Where a redirect leads, without path and query: those may hold tokens."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "not a URL"
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else "the same origin"
