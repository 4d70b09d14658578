"""Our webhook endpoint, asked as Stripe would: each row of the table, and who holds which secret."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from probed.model import Outcome
from probed.testing.fake_receiver import Character, FakeReceiver
from probed.testing.fake_stripe import FakeStripe
from probes.stripe.webhook import signature, synthetic

pytestmark = pytest.mark.anyio
SECRET = "whsec_" + "probedFakeSecret0123456789"
OTHER = "whsec_" + "anotherFakeSecret123456789"
HOUR = 3600.0


def hook(receiver: FakeReceiver, synthetic: str = "signed", **more: Any) -> dict[str, Any]:
    given = {"url": receiver.hook, "synthetic": synthetic, **more}
    return given | ({"secret": SECRET} if synthetic == "signed" and "secret" not in more else {})


def test_our_signature_is_stripes() -> None:
    body = synthetic("https://example.com/", live=True, at=1_767_225_600)
    ours = signature(SECRET, body, 1_767_225_600)
    generate = stripe.WebhookSignature.generate_signature_header
    assert ours == generate(body.decode(), SECRET, 1_767_225_600)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body, ours, OTHER)
    assert stripe.WebhookSignature.verify_header(body, ours, SECRET)


def test_the_synthetic_event_is_constant_but_for_its_time() -> None:
    one, other = (synthetic("https://example.com/", live=True, at=at) for at in (1000, 2000))
    assert one.replace(b"1000", b"2000") == other
    assert b'"type":"probed.ping"' in one
    assert len(one) < 300


async def test_a_wrongly_signed_event_is_refused_and_nothing_else_is_sent(
    receiver: FakeReceiver, asked: Any, measured: Any
) -> None:
    result = await asked("webhook", webhook=hook(receiver, "reject"))
    assert result.outcome is Outcome.OK
    assert (receiver.refused, receiver.processed) == (1, [])
    assert measured(result)["probed.stripe.webhook.response.status_code reject"] == 400
    assert "probed.stripe.webhook.response.status_code signed" not in measured(result)
    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert "webhook/reject/wait" in {phase.name for phase in result.phases}


async def test_an_endpoint_that_takes_anything_is_a_security_hole(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    receiver.character = "open"
    result = await asked("webhook", webhook=hook(receiver))
    assert found(result) == [("failed", "webhook.signature_not_enforced")]
    assert result.findings[0].message.startswith("A security hole: the endpoint accepted an event")
    assert len(receiver.requests) == 1


async def test_a_rightly_signed_event_is_accepted(
    receiver: FakeReceiver, asked: Any, measured: Any
) -> None:
    result = await asked("webhook", webhook=hook(receiver))
    assert result.outcome is Outcome.OK
    values = measured(result)
    assert values["probed.stripe.webhook.response.status_code reject"] == 400
    assert values["probed.stripe.webhook.response.status_code signed"] == 200


@pytest.mark.parametrize(
    ("character", "reason"),
    [
        ("redirects", "webhook.redirected"),
        ("missing", "webhook.not_found"),
        ("broken", "webhook.error"),
        ("slow", "webhook.slow"),
    ],
)
async def test_an_endpoint_that_is_not_well_has_a_reason_of_its_own(
    receiver: FakeReceiver, asked: Any, found: Any, character: Character, reason: str
) -> None:
    receiver.character = character
    result = await asked("webhook", webhook=hook(receiver, timeout="200ms"))
    assert found(result) == [("failed", reason)]
    assert "hunter2" not in repr(result)
    assert len(receiver.requests) == 1, "a redirect was followed"
    if character == "slow":
        (phase,) = (phase for phase in result.phases if phase.error)
        assert (phase.name, phase.error) == ("webhook/reject/wait", "webhook.slow")


async def test_an_endpoint_that_nobody_answers_at_is_told_by_the_network(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    webhook = hook(receiver) | {"url": "http://127.0.0.1:1/"}
    result = await asked("webhook", webhook=webhook)
    assert found(result) == [("failed", "connect.refused")]
    assert result.findings[0].evidence["phase"] == "webhook/reject/connect"


@pytest.mark.parametrize(
    ("skew", "expected"),
    [
        (30.0, []),
        (-90.0, [("degraded", "webhook.clock_skew")]),
        (90.0, [("degraded", "webhook.clock_skew")]),
        (-250.0, [("failed", "webhook.clock_skew")]),
    ],
)
async def test_a_clock_that_is_wrong_is_told(
    receiver: FakeReceiver, asked: Any, found: Any, measured: Any, skew: float, expected: Any
) -> None:
    receiver.skew = skew
    result = await asked("webhook", webhook=hook(receiver))
    assert found(result) == expected
    assert abs(measured(result)["probed.clock.skew webhook"] - skew) < 2


async def test_our_own_clock_is_not_blamed_on_the_endpoint(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    fake.skew = receiver.skew = 120.0
    result = await asked("reach", "webhook", webhook=hook(receiver))
    assert found(result) == [("degraded", "stripe.clock_skew")]


async def test_a_clock_so_wrong_that_good_signatures_are_refused(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    receiver.skew = 400.0
    result = await asked("webhook", webhook=hook(receiver))
    assert ("failed", "webhook.clock_skew") in found(result)
    assert ("failed", "webhook.secret_mismatch") in found(result)


# --- who holds the wrong secret? ------------------------------------------------------------------


async def test_nothing_known_of_deliveries_is_a_mismatch(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    receiver.secrets = [OTHER]
    result = await asked("webhook", webhook=hook(receiver))
    assert found(result) == [("failed", "webhook.secret_mismatch")]


async def test_the_application_holds_the_wrong_one(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    receiver.secrets = [OTHER]
    fake.event("invoice.paid", age=HOUR, pending=1)
    result = await asked("events", "webhook", webhook=hook(receiver))
    assert found(result) == [
        ("degraded", "stripe.events_undelivered"), ("failed", "webhook.secret_mismatch"),
    ]  # fmt: skip
    assert result.findings[1].message.endswith("the application holds a wrong secret.")


async def test_stripe_holds_another_one(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    fake.event("invoice.paid", age=HOUR, pending=1)
    result = await asked("events", "webhook", webhook=hook(receiver))
    assert found(result) == [("degraded", "stripe.events_undelivered")]
    assert "the secret was rolled at Stripe" in result.findings[0].message


async def test_we_hold_an_old_one(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any, measured: Any, wall: Any
) -> None:
    """Only where a delivery proves it: that nothing is undelivered proves nothing of quiet accounts."""
    receiver.secrets = [OTHER]
    receiver.clock = wall.time
    memory: dict[str, Any] = {}
    given: dict[str, Any] = {
        "memory": memory, "clock": wall, "webhook": hook(receiver),
        "steps": {"reach": None, "api": None, "endpoints": None, "events": "15m", "webhook": "5m"},
    }  # fmt: skip
    assert found(await asked(**given)) == [("failed", "webhook.secret_mismatch")]
    event = fake.event("invoice.paid", age=HOUR)
    wall.now += 900.0
    result = await asked(**given)
    assert found(result) == [("degraded", "webhook.secret_stale_here")]
    assert result.findings[0].evidence["delivered"] == event["id"]
    assert measured(result)["probed.stripe.api.reads"] == 2
    wall.now += 60.0  # nothing is due, and it is not forgotten
    assert found(await asked(**given)) == [("degraded", "webhook.secret_stale_here")]
    receiver.secrets = [SECRET]
    wall.now += 300.0
    assert found(await asked(**given)) == []


async def test_two_secrets_during_a_rotation(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    webhook = hook(receiver, secret=SECRET, previous_secret=OTHER)
    for secrets, expected in (
        ([SECRET], []),
        ([SECRET, OTHER], []),
        ([OTHER], [("degraded", "webhook.secret_previous")]),
        (["whsec_third"], [("failed", "webhook.secret_mismatch")]),
    ):
        receiver.secrets = list(secrets)
        assert found(await asked("webhook", webhook=webhook)) == expected


async def test_a_rotation_at_stripe_signs_with_both(receiver: FakeReceiver) -> None:
    """What the receiver makes of a header with two signatures, as Stripe sends it meanwhile."""
    at = int(receiver.clock())
    body = synthetic("https://example.com/", live=True, at=at)
    both = signature(OTHER, body, at) + "," + signature(SECRET, body, at).partition(",")[2]
    assert stripe.WebhookSignature.verify_header(body, both, SECRET)
    assert stripe.WebhookSignature.verify_header(body, both, OTHER)


async def test_an_endpoint_that_limits_us_is_not_judged(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    from probed.testing.fake_receiver import PATH
    from probed.testing.webserver import Answer

    for status, expected in (
        (429, ("unknown", "http.rate_limited")),
        (418, ("failed", "webhook.error")),
    ):
        receiver.answers[PATH] = Answer(status)
        assert found(await asked("webhook", webhook=hook(receiver))) == [expected]
