"""Each step has its own cadence, and no problem is forgotten while one is not due."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probed.config import Check
from probed.engine.runner import Runner
from probed.model import Outcome
from probed.net import Network
from probed.testing.fake_stripe import KEY, FakeStripe
from probes.stripe import StripeProbe

pytestmark = pytest.mark.anyio
STEPS = {"reach": "1m", "api": "5m", "events": "15m"}


def paths(fake: FakeStripe) -> list[str]:
    """What was asked since the last time; what has no key is `reach`."""
    asked = [r.path if "authorization" in r.headers else "reach" for r in fake.requests]
    fake.requests.clear()
    return asked


async def test_a_step_is_run_when_its_time_has_come(
    fake: FakeStripe, asked: Any, wall: Any
) -> None:
    memory: dict[str, Any] = {}
    seen: list[str] = []
    for _ in range(31):
        memory = json.loads(json.dumps(memory))  # a restart changes nothing
        result = await asked(memory=memory, clock=wall, steps={**STEPS, "endpoints": None})
        assert result.outcome is Outcome.OK
        seen += paths(fake)
        wall.now += 60.0
    assert {path: seen.count(path) for path in seen} == {
        "reach": 31, "/v1/balance": 7, "/v1/events": 3,
    }  # fmt: skip


async def test_what_was_found_stays_with_its_age_until_the_step_is_run_again(
    fake: FakeStripe, asked: Any, wall: Any, found: Any, measured: Any
) -> None:
    memory: dict[str, Any] = {}
    event = fake.event("invoice.paid", age=3600.0, pending=1)
    await asked("events", memory=memory, clock=wall, steps={"events": "15m"})
    event["pending_webhooks"] = 0
    wall.now += 600.0
    settings = {"steps": {"reach": None, "api": None, "endpoints": None, "events": "15m"}}
    await asked(memory=memory, clock=wall, **settings)  # other settings: all is new
    event["pending_webhooks"] = 1
    memory.clear()
    first = await asked(memory=memory, clock=wall, **settings)
    event["pending_webhooks"] = 0
    fake.requests.clear()
    wall.now += 600.0
    later = await asked(memory=memory, clock=wall, **settings)
    assert paths(fake) == []
    assert found(later) == found(first) == [("degraded", "stripe.events_undelivered")]
    assert later.findings[0].evidence["from"] == "2026-01-01T00:10:00Z"
    assert measured(later)["probed.stripe.events.undelivered"] == 1
    assert measured(later)["probed.stripe.step.age events"] == 600.0
    wall.now += 300.0
    assert (await asked(memory=memory, clock=wall, **settings)).outcome is Outcome.OK


async def test_a_failure_is_looked_at_again_at_once_and_then_at_its_cadence(
    fake: FakeStripe, asked: Any, wall: Any
) -> None:
    memory: dict[str, Any] = {}
    fake.faults["*"] = "key"
    seen = []
    for _ in range(6):
        result = await asked(memory=memory, clock=wall, steps={**STEPS, "endpoints": None})
        assert result.outcome is Outcome.FAILED
        seen.append("/v1/balance" in paths(fake))
        wall.now += 60.0
    assert seen == [True, True, False, False, False, False]
    wall.now += 60.0
    fake.faults.clear()
    result = await asked(memory=memory, clock=wall, steps={**STEPS, "endpoints": None})
    assert result.outcome is Outcome.OK, result.findings


async def test_a_failure_is_confirmed_where_something_would_be_asked_and_only_there(
    fake: FakeStripe, wall: Any
) -> None:
    fake.event("invoice.paid", age=7200.0, pending=1)
    settings: dict[str, Any] = {
        "mode": "test", "key": KEY, "api_base": fake.base, "events": {"failed": 1},
        "steps": {**STEPS, "api": None, "endpoints": None, "drift": None, "webhook": None},
    }  # fmt: skip
    check = Check("stripe", StripeProbe(**settings), timeout=2.0, confirm=1)
    runner = Runner(Network(), clock=wall)
    memory: dict[str, Any] = {}
    attempts = []
    for _ in range(17):
        result = await runner.run(check, memory=memory)
        assert result.outcome is Outcome.FAILED
        assert result.phases, "the last attempt asked nothing"
        attempts.append(result.attempts)
        wall.now += 60.0
    assert attempts == [2] + [1] * 16


async def test_a_step_that_learned_nothing_is_run_again_each_time(
    fake: FakeStripe, asked: Any, wall: Any
) -> None:
    memory: dict[str, Any] = {}
    fake.faults["*"] = "truncated"
    steps = {**STEPS, "endpoints": None}
    for _ in range(3):
        assert (await asked(memory=memory, clock=wall, steps=steps)).outcome is Outcome.FAILED
        assert paths(fake).count("/v1/balance") == 1
        wall.now += 60.0
    fake.faults.clear()
    assert (await asked(memory=memory, clock=wall, steps=steps)).outcome is Outcome.OK


async def test_a_rejected_key_is_not_tried_with_each_step(fake: FakeStripe, asked: Any) -> None:
    for fault in ("key", "expired", "rate", "truncated"):
        fake.faults["*"] = fault
        await asked("api", "endpoints", "events")
        assert paths(fake) == ["/v1/balance"]
    fake.faults = {"/v1/balance": "permission", "/v1/events": "error"}
    result = await asked("api", "endpoints", "events")
    assert len(paths(fake)) == 3
    assert result.outcome is Outcome.FAILED


async def test_stripe_is_left_alone_when_it_asks_for_it(
    fake: FakeStripe, asked: Any, wall: Any, found: Any
) -> None:
    """For one cadence, then two, then four; and then as before."""
    memory: dict[str, Any] = {}
    fake.faults["*"] = "rate"
    steps = {"reach": None, "api": "5m", "events": None, "endpoints": None}
    tried = []
    for minute in range(0, 40, 5):
        result = await asked(memory=memory, clock=wall, steps=steps)
        assert found(result) == [("unknown", "stripe.rate_limited")]
        if paths(fake):
            tried.append(minute)
        wall.now += 300.0
    assert tried == [0, 5, 15, 35]
    fake.faults.clear()
    wall.now += 3600.0
    assert (await asked(memory=memory, clock=wall, steps=steps)).outcome is Outcome.OK
    assert memory.keys() == {"settings", "steps"}


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
async def test_a_clock_that_is_set_does_not_stop_the_steps(
    fake: FakeStripe, asked: Any, wall: Any, jump: float
) -> None:
    memory: dict[str, Any] = {}
    await asked("api", memory=memory, clock=wall)
    paths(fake)
    wall.now += jump
    await asked("api", memory=memory, clock=wall)
    assert paths(fake) == ["/v1/balance"]


@pytest.mark.parametrize(
    "left",
    [
        {"steps": 7},
        {"steps": {"api": None}},
        {"steps": {"api": {"at": "x"}}},
        {"steps": {"api": {"at": 1, "found": [["bad", "no.such", 1, 2]]}}},
        {"steps": {"api": {"at": 9e9, "found": [], "measured": [["x", 1, {}]], "facts": {},
                           "again": 0, "learned": 1}}},
        {"held_until": "x", "held_for": None},
    ],
)  # fmt: skip
async def test_a_memory_of_another_version_is_passed_over(
    fake: FakeStripe, asked: Any, left: dict[str, Any]
) -> None:
    memory: dict[str, Any] = {}
    await asked("api", memory=memory)
    memory |= left
    paths(fake)
    assert (await asked("api", memory=memory)).outcome is Outcome.OK
