"""mongo: slow operations are counted exactly once, or said to be counted in part."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from probed import Outcome
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import CANARY
from probed.testing.soundness import assert_memory, assert_sound
from probes.mongo import MongoProbe

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
BEGIN = datetime(2026, 11, 23, 12, tzinfo=UTC)
ON = [["shop", {"profile": 1, "slowms": 100}]]
QUIET = {"degraded": None}


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(milliseconds=round(seconds * 1000))


def entry(seconds: float, millis: int = 2000, **more: Any) -> dict[str, Any]:
    """As the profiler writes it; the canary stands where values of queries and users do."""
    return {
        "ts": at(seconds), "op": "query", "ns": "shop.orders", "millis": millis, "appName": "shop",
        "planSummary": "COLLSCAN", "planCacheShapeHash": "AB12CD34", "user": CANARY,
        "client": CANARY, "errMsg": CANARY,
        "command": {"find": "orders", "filter": {"email": CANARY}, "comment": CANARY}, **more,
    }  # fmt: skip


class Watched:
    """A server whose clock is ours, and the check that looks at it."""

    def __init__(self, server: Any, **settings: Any) -> None:
        self.server = server
        self.probe = MongoProbe(host="127.0.0.1", port=server.port, databases=["shop"], **settings)
        self.memory: dict[str, Any] = {}

    async def ask(self, seconds: float) -> Result:
        """A run at that time of the server's."""
        self.server.change(hello={"maxWireVersion": 21, "localTime": at(seconds)})
        result = await execute(self.probe, network=Network(), timeout=5.0, memory=self.memory)
        assert_sound(self.probe, result)
        assert_memory(self.memory)
        return result

    async def count(self, seconds: float) -> tuple[float | None, str]:
        result = await self.ask(seconds)
        return value(result, "probed.mongodb.slow_operation"), coverage(result)


def value(result: Result, name: str) -> float | None:
    return next((m.value for m in result.measures if m.measure.name == name), None)


def coverage(result: Result) -> str:
    (found,) = [
        dict(m.attributes)["coverage"]
        for m in result.measures
        if m.measure.name == "probed.mongodb.slow_operation.coverage" and m.value
    ]
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_twelve_rounds_are_counted_exactly_also_over_a_restart(
    seed: int, serve_mongo: Make
) -> None:
    rng = random.Random(seed)
    watched = Watched(serve_mongo(script=ON), slow_operations=QUIET)
    slow, counted, now = 0, 0.0, 0.0
    assert await watched.count(now) == (0, "complete")
    for number in range(12):
        before, now = now, now + rng.uniform(2, 40)
        entries = [
            # After the last run's window, up to this very moment, in no order.
            entry(rng.uniform(before - 0.9, now), rng.choice([5, 999, 1000, 1001, 30_000]))
            for _ in range(rng.randrange(30))
        ]
        # Ours do not count, nor do reads of the profile.
        entries.append(entry(now - 1.5, appName="probed"))
        entries.append(entry(now - 1.5, ns="shop.system.profile"))
        slow += sum(each["millis"] > 1000 for each in entries) - 2
        watched.server.insert(*entries)
        found, covered = await watched.count(now)
        assert covered == "complete"
        assert found is not None
        counted += found
        if number == 5:  # a restart: what is remembered has been on disk meanwhile
            watched.memory = json.loads(json.dumps(watched.memory))
    found, _ = await watched.count(now + 2)
    assert counted + (found or 0) == slow
    assert (await watched.count(now + 4))[0] == 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_rollover_is_counted_exactly_or_declared(seed: int, serve_mongo: Make) -> None:
    rng = random.Random(seed)
    small = ["shop", {"create": "system.profile", "capped": True, "size": 8192}]
    watched = Watched(serve_mongo(script=[small, *ON]), slow_operations=QUIET)
    await watched.count(0)
    watched.server.insert(entry(1))
    assert await watched.count(5) == (1, "complete")
    partial = 0
    for number in range(1, 12):
        now = 5 + 30.0 * number
        expected = rng.choice([0, 1, 3, 60])
        watched.server.insert(*(entry(now - 2 - rng.random()) for _ in range(expected)))
        found, covered = await watched.count(now)
        assert found is not None
        assert found <= expected
        assert covered == ("partial" if found < expected else covered)
        partial += found < expected
    assert partial, "nothing was ever overwritten"


async def test_what_was_recorded_while_we_were_away_is_counted_when_we_come_back(
    serve_mongo: Make,
) -> None:
    watched = Watched(serve_mongo(script=ON), slow_operations=QUIET)
    await watched.count(0)
    watched.server.insert(entry(10))
    watched.server.run("shop", {"profile": 0})
    assert await watched.count(30) == (None, "unknown")
    watched.server.run("shop", {"profile": 1})
    watched.server.insert(entry(40))
    assert await watched.count(60) == (2, "complete")


async def test_the_profiler_is_off(serve_mongo: Make) -> None:
    result = await Watched(serve_mongo()).ask(0)
    assert result.outcome is Outcome.UNKNOWN
    assert result.why == (
        "mongo.slow_ops_unknown: The profiler of shop is off: "
        "db.setProfilingLevel(1, {slowms: 1000}) switches it on."
    )
    assert value(result, "probed.mongodb.slow_operation") is None
    assert value(result, "probed.mongodb.profiler.level") == 0


@pytest.mark.parametrize(
    ("reply", "wire", "why"),
    [
        ({"was": 1, "slowms": 2000, "sampleRate": 1.0}, 21, "slowms is 2000"),
        ({"was": 1, "slowms": 100, "sampleRate": 0.25}, 21, "sampleRate is 0.25"),
        ({"was": 2, "slowms": 100, "sampleRate": 0.25}, 21, "sampleRate is 0.25"),
        ({"was": 1, "slowms": 100, "filter": {"ns": CANARY}}, 21, "a filter decides"),
        ({"was": 1, "slowms": 100, "sampleRate": 1.0}, 25, "waiting for locks does not count"),
        ({"was": 2, "slowms": 5000, "sampleRate": 1.0}, 25, ""),
        ({"was": 1, "slowms": 1000, "sampleRate": 1.0}, 21, ""),
    ],
)
async def test_what_the_profiler_leaves_out_is_said(
    reply: dict[str, Any], wire: int, why: str, serve_mongo: Make
) -> None:
    server = serve_mongo(
        script=ON, replies={"profile": reply}, hello={"maxWireVersion": wire, "localTime": at(0)}
    )
    probe = MongoProbe(host="127.0.0.1", port=server.port, databases=["shop"])
    result = await execute(probe, network=Network(), timeout=5.0)
    assert_sound(probe, result)
    assert result.outcome is Outcome.OK
    assert coverage(result) == ("partial" if why else "complete")
    assert [why in finding.message for finding in result.findings] == ([True] if why else [])
    assert CANARY not in repr(result)


async def test_a_database_that_may_not_be_read_does_not_hide_the_next(serve_mongo: Make) -> None:
    server = serve_mongo(script=ON, errors={"users": [13, "Unauthorized", CANARY]})
    server.change(errors={"profile": [13, "Unauthorized", CANARY]})
    probe = MongoProbe(host="127.0.0.1", port=server.port, databases=["users", "shop"])
    result = await execute(probe, network=Network(), timeout=5.0)
    assert_sound(probe, result)
    assert [finding.reason for finding in result.findings] == ["auth.permission"] * 2
    assert "users.system.profile" in result.findings[0].message
    assert "shop.system.profile" in result.findings[1].message


async def test_mongos_has_no_profiler(serve_mongo: Make) -> None:
    server = serve_mongo(hello={"msg": "isdbgrid", "maxWireVersion": 21})
    probe = MongoProbe(host="127.0.0.1", port=server.port, databases=["shop"])
    result = await execute(probe, network=Network(), timeout=5.0)
    assert (result.outcome, coverage(result)) == (Outcome.UNKNOWN, "unknown")
    assert "members of the shards" in result.why
    assert "profile" not in server.counts()


async def test_a_clock_that_goes_back_counts_nothing_twice(serve_mongo: Make) -> None:
    watched = Watched(serve_mongo(script=ON), slow_operations=QUIET)
    await watched.count(0)
    watched.server.insert(entry(20))
    assert (await watched.count(30))[0] == 1
    result = await watched.ask(10)  # a little: nothing, until it is where it was
    assert value(result, "probed.mongodb.slow_operation") is None
    assert (await watched.count(32))[0] == 0
    assert (await watched.count(-100))[0] == 0  # far: it begins anew
    watched.server.insert(entry(-95))
    assert (await watched.count(-90))[0] == 1


async def test_a_profile_that_takes_too_long_is_left_alone_in_nine_runs_of_ten(
    serve_mongo: Make,
) -> None:
    watched = Watched(serve_mongo(script=ON), slow_operations=QUIET)
    await watched.count(0)
    watched.server.change(errors={"system.profile": [50, "MaxTimeMSExpired", "x"]})
    for number in range(1, 22):
        result = await watched.ask(30.0 * number)
        assert (result.outcome, coverage(result)) == (Outcome.OK, "partial")
    assert watched.server.counts()["system.profile"] == 1 + 2 + 1  # runs 1, 2 and 12
    watched.server.insert(entry(100))
    watched.server.change(errors={})
    counted = [await watched.count(30.0 * number) for number in range(22, 40)]
    assert sum(found or 0 for found, _ in counted) == 1


async def test_slow_operations_are_told_by_shape_without_any_value(serve_mongo: Make) -> None:
    watched = Watched(serve_mongo(script=ON))
    await watched.ask(0)
    watched.server.insert(
        *(entry(5, 2000 + n) for n in range(6)),
        entry(6, 9000, op="update", ns="shop.carts", planSummary="IXSCAN { a: 1 }"),
    )
    result = await watched.ask(10)
    assert result.outcome is Outcome.DEGRADED
    assert (
        result.why == "mongo.slow_ops: shop has had 7 operations of more than 1000 ms, more than 5."
    )
    assert result.worst is not None
    assert result.worst.evidence == {
        "1": "6x  2005 ms at most  query  shop.orders  COLLSCAN  hash AB12CD34",
        "2": "1x  9000 ms at most  update  shop.carts  IXSCAN { a: 1 }  hash AB12CD34",
    }
    assert value(result, "probed.mongodb.slow_operation.duration.max") == 9
    assert CANARY not in repr(result)
    # A confirming run counts none of them again, and still finds them; a minute later they are past.
    result = await watched.ask(11)
    assert (result.outcome, value(result, "probed.mongodb.slow_operation")) == (Outcome.DEGRADED, 0)
    assert (await watched.ask(75)).outcome is Outcome.OK


@pytest.mark.parametrize(
    "kept",
    [[], {"shop": 5}, {"shop": {"lo": "x", "recent": [[1]], "late": {}, "oldest": []}}, None],
)
async def test_what_another_version_remembered_does_no_harm(kept: Any, serve_mongo: Make) -> None:
    watched = Watched(serve_mongo(script=ON))
    watched.memory[str(watched.server.address)] = {"slow": kept, "rejected": 3, "used_up": "x"}
    assert await watched.count(0) == (0, "complete")
