"""mongo: what is measured and judged, on a real wire. See personas.py for what is behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from probed import Outcome
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import CANARY, no_leaks
from probed.testing.soundness import assert_sound
from probes.mongo import MongoProbe

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]


async def ask(server: Any, memory: dict[str, Any] | None = None, **settings: Any) -> Result:
    """One run, alone: nothing is left behind, and no secret comes out."""
    probe = MongoProbe(host="127.0.0.1", port=server.port, **settings)
    async with no_leaks():
        result = await execute(probe, network=Network(), timeout=5.0, memory=memory)
    assert_sound(probe, result)
    return result


def measured(result: Result, name: str, **attributes: str) -> float | None:
    """The value of a measure whose attributes end so."""
    for each in result.measures:
        given = dict(each.attributes)
        if each.measure.name == name and all(
            given[key.replace("__", ".")] == value for key, value in attributes.items()
        ):
            return each.value
    return None


def reasons(result: Result) -> set[str]:
    return {finding.reason for finding in result.findings}


async def test_a_healthy_primary_is_ok(serve_mongo: Make, persona: Make) -> None:
    result = await ask(serve_mongo(**persona("primary")))
    assert (result.outcome, result.findings) == (Outcome.OK, ())
    names = [phase.name for phase in result.phases]
    assert names == ["resolve", "connect", "wait", "hello", "serverStatus", "currentOp",
                     "replSetGetStatus"]  # fmt: skip
    assert measured(result, "mongodb.connection.count", type="current") == 40
    assert measured(result, "mongodb.connection.count", type="active") == 8
    assert measured(result, "mongodb.uptime") == 86_400_000
    assert measured(result, "db.client.operation.duration", db__operation__name="hello")
    assert result.facts["probed.mongodb.role"] == "primary"


@pytest.mark.parametrize("version", ["mongo6", "mongo7", "mongo8"])
async def test_tickets_are_found_where_each_version_has_them(
    version: str, serve_mongo: Make, persona: Make
) -> None:
    result = await ask(serve_mongo(**persona(version)))
    assert result.outcome is Outcome.OK
    free = {kind: measured(result, "probed.mongodb.ticket.available", type=kind)
            for kind in ("read", "write")}  # fmt: skip
    assert free == (
        {"read": 126, "write": 127} if version == "mongo6" else {"read": 10, "write": 11}
    )


async def test_no_tickets_and_a_queue_in_two_runs_are_saturation(
    serve_mongo: Make, persona: Make
) -> None:
    server, memory = serve_mongo(**persona("saturated")), dict[str, Any]()
    assert (await ask(server, memory)).outcome is Outcome.OK
    result = await ask(server, memory)
    assert (result.outcome, reasons(result)) == (Outcome.DEGRADED, {"mongo.tickets"})
    assert "write tickets" in result.why
    server.change(**persona("primary"))
    assert (await ask(server, memory)).outcome is Outcome.OK


async def test_connections_nearly_used_up_have_failed(serve_mongo: Make, persona: Make) -> None:
    result = await ask(serve_mongo(**persona("crowded")))
    assert (result.outcome, reasons(result)) == (Outcome.FAILED, {"mongo.connections"})
    assert "97%" in result.why
    assert measured(result, "probed.mongodb.connection.utilization") == pytest.approx(0.97)
    own = {"degraded": 0.98, "failed": 0.99}
    assert (await ask(serve_mongo(**persona("crowded")), connections=own)).outcome is Outcome.OK


async def test_none_available_is_not_taken_for_exhausted_where_nothing_else_says_so(
    serve_mongo: Make, persona: Make
) -> None:
    made = persona("primary")
    made["replies"]["serverStatus"]["connections"] = {"current": 5, "available": 0}
    result = await ask(serve_mongo(**made))
    assert (result.outcome, reasons(result)) == (Outcome.UNKNOWN, {"mongo.connections_unknown"})
    made["replies"]["serverStatus"]["connections"] = {"current": 500, "available": 0}
    assert reasons(await ask(serve_mongo(**made))) == {"mongo.connections"}


async def test_rejected_connections_are_counted_once_also_over_a_restart_of_the_server(
    serve_mongo: Make, persona: Make
) -> None:
    made, memory = persona("primary"), dict[str, Any]()
    status = made["replies"]["serverStatus"]
    status["connections"]["rejected"] = 7
    server = serve_mongo(**made)

    async def run(rejected: int, uptime_s: int) -> tuple[float | None, Outcome]:
        status["connections"]["rejected"] = rejected
        status["uptimeMillis"] = uptime_s * 1000
        server.change(**made)
        result = await ask(server, memory)
        return measured(result, "probed.mongodb.connection.rejected"), result.outcome

    assert await run(7, 1000) == (0, Outcome.OK)  # what was before us is not ours to tell
    assert await run(9, 1030) == (2, Outcome.FAILED)
    assert await run(9, 1031) == (0, Outcome.FAILED)  # the run that confirms
    assert await run(9, 1100) == (0, Outcome.OK)
    assert await run(3, 10) == (3, Outcome.FAILED)  # restarted: counts from 0


async def test_a_long_running_operation_is_told_with_the_line_that_ends_it(
    serve_mongo: Make, persona: Make
) -> None:
    result = await ask(serve_mongo(**persona("busy")))
    assert (result.outcome, reasons(result)) == (Outcome.DEGRADED, {"mongo.long_running"})
    assert result.why == "mongo.long_running: An operation has run for 75 s."
    evidence = result.findings[0].evidence
    assert evidence == {
        "1": "75 s  query  shop.orders  COLLSCAN",
        "to end them": ("db.killOp(4711)",),
    }
    # 4711, 4712 and 4714 without: 4714 is a heartbeat, 4715 is ours, 12 is of the system.
    assert measured(result, "probed.mongodb.operation.active", **{"class": "user"}) == 3
    assert measured(result, "probed.mongodb.operation.active", **{"class": "system"}) == 1
    assert measured(result, "probed.mongodb.operation.long_running", **{"class": "user"}) == 1
    assert measured(result, "probed.mongodb.operation.duration.max") == 75
    assert measured(result, "probed.mongodb.operation.lock_waiting") == 1


async def test_operations_are_judged_by_number_length_and_locks(
    serve_mongo: Make, persona: Make
) -> None:
    made = persona("busy")
    user, waiter = made["operations"][:2]
    made["operations"] = [{**user, "opid": n, "secs_running": 400} for n in range(3)]
    result = await ask(serve_mongo(**made))
    assert (result.outcome, reasons(result)) == (Outcome.FAILED, {"mongo.long_running"})
    made["operations"] = [{**waiter, "opid": n} for n in range(101)]
    result = await ask(serve_mongo(**made))
    assert (result.outcome, reasons(result)) == (
        Outcome.DEGRADED, {"mongo.lock_waiters", "mongo.active_operations"},
    )  # fmt: skip


async def test_a_lagging_secondary(serve_mongo: Make, persona: Make) -> None:
    result = await ask(serve_mongo(**persona("lagging")))
    assert (result.outcome, reasons(result)) == (Outcome.FAILED, {"mongo.lag"})
    assert (
        result.why
        == "mongo.lag: db2.example.com:27017 is 120 s behind the primary, more than 60 s."
    )
    name = {"mongodb__replica_set__member__name": "db2.example.com:27017"}
    applied = {"mongodb__replica_set__lag__type": "applied"}
    assert measured(result, "mongodb.replica_set.lag", **name, **applied) == 120
    delayed = await ask(serve_mongo(**persona("lagging")), delayed=["db2.example.com:27017"])
    assert delayed.outcome is Outcome.OK


async def test_a_set_without_a_primary_has_failed_and_no_lag(
    serve_mongo: Make, persona: Make
) -> None:
    result = await ask(serve_mongo(**persona("no primary")))
    assert (result.outcome, reasons(result)) == (Outcome.FAILED, {"mongo.no_primary"})
    assert measured(result, "mongodb.replica_set.lag") is None
    count = {"mongodb__replica_set__member__state": "secondary"}
    assert measured(result, "mongodb.replica_set.member.count", **count) == 3


async def test_a_member_that_is_down_leaves_no_redundancy(serve_mongo: Make, persona: Make) -> None:
    result = await ask(serve_mongo(**persona("member down")))
    assert (result.outcome, reasons(result)) == (
        Outcome.DEGRADED, {"mongo.member_down", "mongo.no_redundancy"},
    )  # fmt: skip
    assert "db3.example.com:27017" in result.why


@pytest.mark.parametrize("state", [3, 6, 8, 9, 10])
async def test_a_member_that_serves_nobody_has_failed(
    state: int, serve_mongo: Make, persona: Make
) -> None:
    made = persona("secondary")
    made["replies"]["replSetGetStatus"]["myState"] = state
    result = await ask(serve_mongo(**made))
    assert (result.outcome, reasons(result)) == (Outcome.FAILED, {"mongo.member_state"})


async def test_a_standalone_and_a_mongos_have_no_set(serve_mongo: Make, persona: Make) -> None:
    for name in ("standalone", "mongos"):
        result = await ask(serve_mongo(**persona(name)))
        assert result.outcome is Outcome.OK, result.findings
        assert result.facts["probed.mongodb.role"] == name
        assert "replSetGetStatus" not in [phase.name for phase in result.phases]


async def test_each_missing_right_is_named_and_the_rest_judged(
    serve_mongo: Make, persona: Make
) -> None:
    made = persona("stranger")
    result = await ask(serve_mongo(**made), databases=["shop"])
    assert (result.outcome, reasons(result)) == (Outcome.UNKNOWN, {"auth.permission"})
    assert [finding.message for finding in result.findings] == [
        "Our user lacks the right to run serverStatus (action serverStatus on {cluster: true}).",
        "Our user lacks the right to see all operations (action inprog on {cluster: true}).",
        "Our user lacks the right to run replSetGetStatus (action replSetGetStatus on {cluster: true}).",
        "shop: Our user lacks the right to read the profiler's level (action find on shop.system.profile).",
    ]
    del made["errors"]["$currentOp"]
    result = await ask(serve_mongo(**made))
    assert measured(result, "probed.mongodb.operation.active") is not None


async def test_a_run_sends_few_commands_and_nothing_that_writes(
    serve_mongo: Make, persona: Make
) -> None:
    server = serve_mongo(**persona("primary"))
    await ask(server, databases=["shop", "users"])
    counts = server.counts()
    del counts["login"]
    assert {name for name in counts if name != "hello"} == {
        "serverStatus", "$currentOp", "replSetGetStatus", "profile",
    }  # fmt: skip
    assert sum(counts.values()) - counts["hello"] <= 5 + 2 * 2


async def test_no_value_of_an_operation_is_shown(serve_mongo: Make, persona: Make) -> None:
    made = persona("busy")
    for operation in made["operations"]:
        operation["secs_running"] = 400
    result = await ask(serve_mongo(**made))
    assert result.outcome is Outcome.FAILED
    assert CANARY not in repr(result)
