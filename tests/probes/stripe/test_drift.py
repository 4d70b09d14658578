"""The application's books against Stripe's: lag and counts, from each of the three sources."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from probed.model import Outcome
from probed.testing.fake_receiver import SYNC, FakeReceiver
from probed.testing.fake_stripe import FakeStripe
from probed.testing.servers import serve
from probed.testing.webserver import Answer
from tests.mongod import cursor, mongod
from tests.probes.mongo.test_hostile import BODIES, USED, VALUES

pytestmark = pytest.mark.anyio
HOUR = 3600.0
CANARY = "c4nary-database-9b1f"


def over_http(receiver: FakeReceiver, **more: Any) -> dict[str, Any]:
    app = {
        "url": receiver.url(SYNC), "last_event": "$.last_event_created",
        "active": "$.active_subscriptions", "headers": {"X-Key": "k"},
    }  # fmt: skip
    return {"app": app, **more}


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (0.0, []),
        (200.0, []),
        (400.0, [("degraded", "stripe.sync_lag")]),
        (2000.0, [("failed", "stripe.sync_lag")]),
    ],
)
async def test_an_application_that_is_behind(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any, measured: Any, behind: float,
    expected: Any,
) -> None:  # fmt: skip
    newest = fake.event("invoice.paid", age=600.0)
    receiver.processed = [{"created": newest["created"] - behind}]
    result = await asked("drift", drift=over_http(receiver))
    assert found(result) == expected
    assert measured(result)["probed.stripe.sync.lag"] == behind
    assert receiver.requests[0].headers["x-key"] == "k"
    phases = {phase.name for phase in result.phases}
    assert {"drift/app/wait", "drift/wait", "drift/count/wait"} <= phases


async def test_a_fresh_event_may_be_on_its_way(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any
) -> None:
    old = fake.event("invoice.paid", age=HOUR)
    fake.event("invoice.paid", age=60.0)
    receiver.processed = [old]
    assert (await asked("drift", drift=over_http(receiver))).outcome is Outcome.OK


async def test_nothing_processed_is_as_late_as_the_newest_event_is_old(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    assert found(await asked("drift", drift=over_http(receiver))) == []
    fake.event("invoice.paid", age=HOUR)
    result = await asked("drift", drift=over_http(receiver))
    assert found(result) == [("failed", "stripe.sync_lag")]
    assert "has processed no event" in result.findings[0].message


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (1000, 1000, []),
        (1004, 1000, []),
        (990, 1000, [("degraded", "stripe.sync_drift")]),
        (900, 1000, [("failed", "stripe.sync_drift")]),
        (3, 0, [("failed", "stripe.sync_drift")]),
        (1, 20_000, []),  # Stripe does not count that far
    ],
)
async def test_counts_that_differ(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any, measured: Any, ours: int,
    theirs: int, expected: Any,
) -> None:  # fmt: skip
    receiver.active, fake.subscriptions = ours, theirs
    result = await asked("drift", drift=over_http(receiver))
    assert found(result) == expected
    difference = measured(result).get("probed.stripe.sync.difference")
    assert difference == (None if theirs > 10_000 else ours - theirs)
    if expected:
        assert f"{ours} active subscriptions, Stripe {theirs}" in result.findings[0].message


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(503), "answers 503"),
        (Answer(200, {}, "<html>"), "is no JSON"),
        (Answer(200, {}, "[" * 5000), "is no JSON"),
        (Answer(200, {}, '{"other": 1}'), "nothing at $.last_event_created"),
        (Answer(200, {}, '{"last_event_created": "soon"}'), "is no time"),
        (Answer(200, {}, '{"last_event_created": [1]}'), "is no time"),
        (Answer(200, {}, '{"last_event_created": 1e300}'), "is no time"),
        (Answer(200, {}, '{"last_event_created": 5, "active_subscriptions": "x"}'), "is no count"),
    ],
)
async def test_what_the_application_says_may_be_nothing_of_use(
    receiver: FakeReceiver, asked: Any, found: Any, answer: Answer, why: str
) -> None:
    receiver.answers[SYNC] = answer
    result = await asked("drift", drift=over_http(receiver))
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert why in result.findings[0].message


async def test_an_application_that_does_not_answer_is_not_stripes_fault(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    settings = over_http(receiver)
    async with serve("refused") as nobody:
        settings["app"]["url"] = f"http://{nobody.address}/"
        result = await asked("api", "drift", drift=settings)
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert result.findings[0].evidence["reason"] == "connect.refused"
    assert result.findings[0].evidence["phase"] == "drift/app/connect"


async def test_an_application_that_is_silent_leaves_time_for_stripe(
    receiver: FakeReceiver, asked: Any, found: Any
) -> None:
    receiver.answers[SYNC] = Answer(delay=60.0)
    result = await asked("drift", drift=over_http(receiver), timeout=0.6)
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert "does not answer in time" in result.findings[0].message
    assert result.findings[0].evidence["phase"] == "drift/app/wait"
    assert 0.2 < result.duration_s < 0.5


@pytest.mark.parametrize(
    "written",
    [1_767_225_600, 1_767_225_600.0, 1_767_225_600_000, '"1767225600"', '"2026-01-01T00:00:00Z"',
     '"2026-01-01T01:00:00+01:00"', '"2026-01-01 00:00:00"'],
)  # fmt: skip
async def test_times_as_applications_write_them(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, measured: Any, wall: Any, written: Any
) -> None:
    fake.event("invoice.paid", age=600.0)
    receiver.answers[SYNC] = Answer(body=f'{{"last_event_created": {written}}}')
    settings = over_http(receiver)
    del settings["app"]["active"]
    result = await asked("drift", drift=settings, clock=wall)
    assert result.outcome is Outcome.OK
    assert measured(result)["probed.stripe.sync.lag"] == 0
    fake.events[0]["created"] += 700  # younger than the grace
    wall.now += HOUR
    values = measured(await asked("drift", drift=settings, clock=wall))
    assert values["probed.stripe.sync.lag"] == 100


# --- SQL --------------------------------------------------------------------------------------------


@pytest.fixture
def books(tmp_path: Path) -> Path:
    path = tmp_path / f"{CANARY}.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table events (created int)")
        connection.execute("create table subscriptions (status text)")
        connection.executemany("insert into subscriptions values (?)", [("active",), ("canceled",)])
    connection.close()
    return path


def in_sql(path: Path, **more: Any) -> dict[str, Any]:
    return {
        "sql": {
            "library": "sqlite3", "dsn": str(path),
            "last_event": "select max(created) from events",
            "active": "select count(*) from subscriptions where status = 'active'", **more,
        }
    }  # fmt: skip


async def test_books_in_sql(
    fake: FakeStripe, asked: Any, found: Any, measured: Any, books: Path
) -> None:
    newest = fake.event("invoice.paid", age=HOUR)
    fake.subscriptions = 1
    assert found(await asked("drift", drift=in_sql(books))) == [("failed", "stripe.sync_lag")]
    with sqlite3.connect(books) as connection:
        connection.execute("insert into events values (?)", [newest["created"] - 60])
    connection.close()
    result = await asked("drift", drift=in_sql(books))
    assert result.outcome is Outcome.OK
    assert measured(result)["probed.stripe.sync.lag"] == 60
    assert measured(result)["probed.stripe.sync.difference"] == 0
    assert "drift/app/query" in {phase.name for phase in result.phases}


@pytest.mark.parametrize(
    "more",
    [
        {"last_event": "select nothing from nowhere"},
        {"last_event": "delete from events"},
        {"dsn": f"/nonexistent/{CANARY}"},
    ],
)
async def test_books_that_cannot_be_read_are_not_written(
    asked: Any, found: Any, books: Path, more: dict[str, Any]
) -> None:
    result = await asked("drift", drift=in_sql(books, **more))
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert "OperationalError" in result.findings[0].message
    assert CANARY not in repr(result)


async def test_a_library_that_is_missing_is_named(
    asked: Any, found: Any, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    result = await asked("drift", drift=in_sql(books, library="psycopg"))
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert "pip install psycopg" in result.findings[0].message


# --- MongoDB ----------------------------------------------------------------------------------------

_PORT = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[int]:
    """A server that speaks MongoDB's protocol, as a program of its own."""
    port = int(subprocess.check_output([sys.executable, "-c", _PORT]))
    process = subprocess.Popen(
        [sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(port),
         "--storage-path", str(tmp_path / "mongo"), "--cache-size", "64M"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield port
    process.kill()
    process.wait()


async def test_books_in_mongodb(
    fake: FakeStripe, asked: Any, found: Any, measured: Any, mongo: int
) -> None:
    from pymongo import AsyncMongoClient

    newest = fake.event("invoice.paid", age=HOUR)
    fake.subscriptions = 1
    uri = f"mongodb://127.0.0.1:{mongo}/?directConnection=true"
    async with AsyncMongoClient(uri, serverSelectionTimeoutMS=20_000) as client:
        await client.shop.subscriptions.insert_many([{"status": "active"}, {"status": "canceled"}])
        await client.shop.events.insert_one({"meta": {"created": newest["created"] - 3000}})
        settings = {"mongo": {
            "uri": uri, "database": "shop", "collection": "events", "last_event": "meta.created",
            "active": {"collection": "subscriptions", "where": {"status": "active"}},
        }}  # fmt: skip
        result = await asked("drift", drift=settings, timeout=10.0)
        assert found(result) == [("failed", "stripe.sync_lag")]
        assert measured(result)["probed.stripe.sync.difference"] == 0
        moment = datetime.fromtimestamp(newest["created"], UTC)
        await client.shop.events.insert_one({"meta": {"created": moment}})
        settings["mongo"]["collection"] = "others"
        await client.shop.others.insert_one({"meta": {"created": moment}})
        result = await asked("drift", drift=settings, timeout=10.0)
        assert result.outcome is Outcome.OK, result.findings


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:{CANARY}@127.0.0.1:1/",
        f"nonsense://{CANARY}",
        f"mongodb://127.0.0.1:{CANARY}/",
    ],
)
async def test_a_database_that_cannot_be_asked(asked: Any, found: Any, uri: str) -> None:
    settings = {"mongo": {"uri": uri, "database": "shop", "collection": "events"}}
    result = await asked("drift", drift=settings, timeout=1.0, patience=5.0)
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert CANARY not in repr(result)


async def test_no_reply_of_a_mongodb_server_is_an_error_of_ours(asked: Any, found: Any) -> None:
    mongo = {"database": "shop", "collection": "events", "active": {"collection": "mails"}}
    documents = [cursor({"created": value}) for value in VALUES.values()]
    counts = [cursor({"n": value}) for value in VALUES.values()]
    async with mongod(**USED) as server:
        settings = {"mongo": {**mongo, "uri": f"mongodb://127.0.0.1:{server.port}/"}}
        for command, bodies in (
            ("find", [*BODIES.values(), *documents]), ("mails", [*BODIES.values(), *counts]),
            ("hello", list(BODIES.values())),
        ):  # fmt: skip
            for body in bodies:
                server.replies = {**USED, command: body}
                result = await asked("drift", drift=settings, timeout=1.0)
                reasons = {reason for _, reason in found(result)}
                assert reasons <= {"stripe.sync_unknown", "stripe.sync_drift", "stripe.sync_lag"}, (
                    body
                )
                assert CANARY not in repr(result)
