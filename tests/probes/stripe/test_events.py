"""Undelivered and lost events, and the registration of our endpoint: each row of the table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probed.model import Outcome
from probed.testing.fake_stripe import FakeStripe

pytestmark = pytest.mark.anyio
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
URL = "https://api.example.com/v1/billing/webhooks/stripe"
WEBHOOK = {"url": URL, "synthetic": "off"}


async def test_fresh_events_may_be_on_their_way(
    fake: FakeStripe, asked: Any, measured: Any
) -> None:
    fake.event("invoice.paid", age=4 * MINUTE, pending=1)
    fake.event("invoice.paid", age=HOUR, pending=0)
    result = await asked("events")
    assert result.outcome is Outcome.OK
    assert measured(result)["probed.stripe.events.undelivered"] == 0


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, "degraded"), (9, "degraded"), (10, "failed")],
)
async def test_undelivered_events_are_counted_and_named(
    fake: FakeStripe, asked: Any, found: Any, measured: Any, count: int, expected: str
) -> None:
    for number in range(count):
        fake.event("invoice.paid", age=(number + 1) * HOUR, pending=1, email="jane@example.com")
    result = await asked("events")
    assert found(result) == [(expected, "stripe.events_undelivered")]
    finding = result.findings[0]
    assert f"invoice.paid ({count})" in finding.message
    assert finding.evidence["undelivered"] == str(count)
    assert finding.evidence["ids"][-1] == fake.events[-1]["id"]
    assert measured(result)["probed.stripe.events.undelivered"] == count
    oldest = measured(result)["probed.stripe.events.oldest_undelivered.age"]
    assert count * HOUR <= oldest < count * HOUR + MINUTE
    assert "jane" not in repr(result)


async def test_more_than_can_be_read_is_a_lower_bound(
    fake: FakeStripe, asked: Any, found: Any, measured: Any
) -> None:
    for number in range(250):
        fake.event("invoice.paid", age=HOUR + number, pending=1)
    result = await asked("events", events={"max_pages": 2})
    assert found(result) == [("failed", "stripe.events_undelivered")]
    assert result.findings[0].message.startswith("At least 200 events not delivered")
    assert measured(result)["probed.stripe.api.reads"] == 2
    phases = {phase.name for phase in result.phases}
    assert {"events/wait", "events/2/wait"} <= phases
    result = await asked("events", events={"max_pages": 3})
    assert result.findings[0].message.startswith("250 events not delivered")


async def test_an_event_that_is_on_two_pages_counts_once(
    fake: FakeStripe, asked: Any, measured: Any
) -> None:
    """A new one that comes in meanwhile moves the others on."""
    for number in range(150):
        fake.event("invoice.paid", age=HOUR + number, pending=1)
    first = fake._listed_events

    def overlapping(asked: Any) -> Any:
        if "starting_after" in asked:
            ids = sorted(fake.events, key=lambda e: e["created"], reverse=True)
            asked = {**asked, "starting_after": [ids[80]["id"]]}
        return first(asked)

    fake._listed_events = overlapping  # type: ignore[method-assign]
    assert measured(await asked("events"))["probed.stripe.events.undelivered"] == 150


async def test_lost_events_need_a_replay_and_are_counted_once(
    fake: FakeStripe, asked: Any, found: Any, measured: Any, wall: Any
) -> None:
    memory: dict[str, Any] = {}
    lost = fake.event("invoice.paid", age=3 * DAY + HOUR, pending=1)
    result = await asked("events", memory=memory, clock=wall)
    assert found(result) == [("degraded", "stripe.events_lost")]
    assert result.findings[0].evidence["oldest"] == lost["id"]
    assert measured(result)["probed.stripe.events.lost"] == 1
    for added in (0, 1):
        memory = json.loads(json.dumps(memory))  # as after a restart
        wall.now += HOUR
        if added:
            fake.event("invoice.paid", age=3 * DAY + MINUTE, pending=1)
        result = await asked("events", memory=memory, clock=wall)
        assert found(result) == [("degraded", "stripe.events_lost")]
        assert measured(result).get("probed.stripe.events.lost", 0) == added
    wall.now += 7 * DAY
    assert (await asked("events", memory=memory, clock=wall)).outcome is Outcome.OK


async def test_the_success_ratio_and_its_bound(fake: FakeStripe, asked: Any, measured: Any) -> None:
    for number in range(8):
        fake.event("invoice.paid", age=10 * MINUTE + number, pending=int(number < 2))
    settings = {"ratio": True, "failed": None, "degraded": None}
    values = measured(await asked("events", events=settings))
    assert values["probed.stripe.webhook.success_ratio exact"] == 0.75
    for number in range(100):
        fake.event("invoice.paid", age=11 * MINUTE + number)
    values = measured(await asked("events", events={**settings, "max_pages": 1}))
    assert values["probed.stripe.webhook.success_ratio lower"] == 0.98


async def test_silence_is_told_where_there_used_to_be_events(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    settings = {"silent": True}
    assert found(await asked("events", events=settings)) == []
    fake.event("invoice.paid", age=DAY + 30 * MINUTE)
    result = await asked("events", events=settings)
    assert found(result) == [("degraded", "stripe.events_silent")]
    fake.event("invoice.paid", age=30 * MINUTE)
    assert found(await asked("events", events=settings)) == []


async def test_only_what_our_endpoint_is_sent_counts(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    fake.endpoint(URL, "invoice.paid")
    fake.endpoint("https://forgotten.example.com/hook", "*")
    fake.event("customer.created", age=HOUR, pending=1)
    assert found(await asked("endpoints", "events", webhook=WEBHOOK)) == []
    fake.event("invoice.paid", age=HOUR, pending=1)
    result = await asked("endpoints", "events", webhook=WEBHOOK)
    assert found(result) == [("degraded", "stripe.events_undelivered")]
    assert result.findings[0].evidence["other endpoints"].startswith("1 more")


async def test_hostile_items_of_a_list_are_passed_over(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    good = fake.event("invoice.paid", age=HOUR, pending=1)
    for broken in (
        {"id": "evt_\x1b[31m"}, {"id": 7}, {"created": "yesterday"}, {"created": True},
        {"created": -1}, {"created": 1 << 60}, {"type": ["x"]}, {"id": "x" * 10_000},
    ):  # fmt: skip
        fake.events.append(
            {**good, "id": f"evt_{len(fake.events)}", "pending_webhooks": 1, **broken}
        )
    fake._listed_events = lambda _: fake._list("/v1/events", [*fake.events, None, 7, "x"])  # type: ignore[method-assign]
    result = await asked("events")
    assert found(result) == [("degraded", "stripe.events_undelivered")]
    assert result.findings[0].evidence["undelivered"] == "1"


# --- our endpoint -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
async def test_an_endpoint_that_is_well_is_ok(
    fake: FakeStripe, asked: Any, measured: Any, version: int
) -> None:
    fake.endpoint("https://other.example.com/", "*")
    fake.endpoint(URL, "invoice.paid", "invoice.voided", version=version)
    webhook = {**WEBHOOK, "required_events": ["invoice.paid"]}
    result = await asked("endpoints", webhook=webhook)
    assert result.outcome is Outcome.OK
    assert measured(result)["probed.stripe.endpoints.enabled"] == 2
    assert measured(result)["probed.stripe.api.reads"] == version


async def test_an_endpoint_that_is_missing_or_nearly_there(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    result = await asked("endpoints", webhook=WEBHOOK)
    assert found(result) == [("failed", "stripe.endpoint_missing")]
    fake.endpoint(URL.replace("https", "http") + "/?token=hunter2")
    result = await asked("endpoints", webhook=WEBHOOK)
    assert found(result) == [("failed", "stripe.endpoint_missing")]
    assert result.findings[0].evidence["alike"] == (URL.replace("https", "http") + "/",)
    assert "hunter2" not in repr(result)


async def test_an_account_without_event_destinations_has_none(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    fake.faults["/v2/core/event_destinations"] = "gone"
    result = await asked("endpoints", webhook=WEBHOOK)
    assert found(result) == [("failed", "stripe.endpoint_missing")]
    fake.faults["/v2/core/event_destinations"] = "permission"
    result = await asked("endpoints", webhook=WEBHOOK)
    assert found(result) == [("unknown", "stripe.permission_missing")]


async def test_a_disabled_endpoint_has_failed(fake: FakeStripe, asked: Any, found: Any) -> None:
    fake.endpoint(URL, status="disabled")
    result = await asked("endpoints", webhook=WEBHOOK)
    assert found(result) == [("failed", "stripe.endpoint_disabled")]


async def test_the_url_at_stripe_may_be_another_than_ours(fake: FakeStripe, asked: Any) -> None:
    fake.endpoint(URL)
    webhook = {"url": "http://10.0.0.7:8080/hook", "registered": URL, "synthetic": "off"}
    assert (await asked("endpoints", webhook=webhook)).outcome is Outcome.OK


async def test_required_events_that_are_not_sent_are_named(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    fake.endpoint(URL, "invoice.paid")
    webhook = {**WEBHOOK, "required_events": ["invoice.paid", "invoice.voided"]}
    result = await asked("endpoints", webhook=webhook)
    assert found(result) == [("degraded", "stripe.events_not_subscribed")]
    assert result.findings[0].evidence["missing"] == ("invoice.voided",)


async def test_an_endpoint_of_the_other_mode_has_failed(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    fake.livemode = True
    fake.endpoint(URL)
    result = await asked("endpoints", webhook=WEBHOOK)
    assert found(result) == [("failed", "stripe.mode_mismatch")]
