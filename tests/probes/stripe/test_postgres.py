"""The application's books in a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probed.model import Outcome
from probed.net import DenyList, Network, Resolver
from probed.testing import CANARY, FakeStripe
from tests.programs import free_port, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.debian("postgresql")]
HOUR = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its connection string. It does not run as root, so it may have to run as somebody else."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    root = os.getuid() == 0
    with tempfile.TemporaryDirectory(prefix="probed-pg-") as name:
        folder, port = Path(name), free_port()
        secret = folder / "password"
        secret.write_text(CANARY)
        if root:
            user = pwd.getpwnam("postgres")
            for path in (folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)

        def begin(program: str, *arguments: str) -> subprocess.Popen[bytes]:
            command = [*(as_user if root else []), str(programs / program), *arguments]
            return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

        with (folder / "log").open("wb") as log:
            data = str(folder / "data")
            made = begin(
                "initdb", "-D", data, "-U", "shop", "-A", "scram-sha-256", "--pwfile", str(secret)
            )
            assert made.wait(60) == 0
            process = begin(
                "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"
            )
            try:
                wait_until(lambda: b"ready to accept" in (folder / "log").read_bytes(), "postgres")
                yield f"host=127.0.0.1 port={port} user=shop dbname=postgres"
            finally:
                process.terminate()
                process.wait(20)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def books(server: str) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(f"{server} password={CANARY}", autocommit=True) as connection:
        connection.execute("drop table if exists events, subscriptions")
        connection.execute("create table events (created timestamptz)")
        connection.execute("create table subscriptions (status text)")
        connection.execute("insert into subscriptions values ('active'), ('canceled')")
        yield connection


def settings(server: str, **more: Any) -> dict[str, Any]:
    return {
        "sql": {
            "library": "psycopg", "dsn": f"{server} password={CANARY}",
            "last_event": "select max(created) from events",
            "active": "select count(*) from subscriptions where status = 'active'", **more,
        }
    }  # fmt: skip


async def test_books_that_agree_and_then_lag(
    fake: FakeStripe, asked: Any, found: Any, measured: Any, server: str, books: Any
) -> None:
    newest = fake.event("invoice.paid", age=HOUR)
    fake.subscriptions = 1
    assert found(await asked("drift", drift=settings(server))) == [("failed", "stripe.sync_lag")]
    books.execute("insert into events values (to_timestamp(%s))", [newest["created"] - 60])
    result = await asked("drift", drift=settings(server))
    assert result.outcome is Outcome.OK
    assert measured(result)["probed.stripe.sync.lag"] == 60
    assert measured(result)["probed.stripe.sync.difference"] == 0


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"last_event": "select nothing from nowhere"}, "UndefinedTable"),
        ({"last_event": "delete from subscriptions returning 1"}, "ReadOnlySqlTransaction"),
        (
            {"last_event": "insert into events values (now()) returning created"},
            "ReadOnlySqlTransaction",
        ),
        ({"dsn": "host=127.0.0.1 port=1 user=shop dbname=postgres"}, "OperationalError"),
    ],
)
async def test_what_cannot_be_read_is_unknown_and_nothing_is_written(
    asked: Any, found: Any, server: str, books: Any, more: dict[str, Any], error: str
) -> None:
    result = await asked("drift", drift=settings(server, **more))
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert error in result.findings[0].message
    assert CANARY not in repr(result)
    (rows,) = books.execute("select count(*) from subscriptions").fetchone()
    assert rows == 2


async def test_a_wrong_password_is_in_no_output(asked: Any, found: Any, server: str) -> None:
    wrong = f"{CANARY}-wrong"
    result = await asked("drift", drift=settings(server, dsn=f"{server} password={wrong}"))
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert CANARY not in repr(result)


async def test_a_query_that_takes_too_long_ends_there_too(
    asked: Any, found: Any, server: str, books: Any
) -> None:
    start = time.monotonic()
    result = await asked(
        "drift",
        drift=settings(server, last_event="select max(created), pg_sleep(60) from events"),
        timeout=2.0,
    )
    assert next(reason for _, reason in found(result)) in {"stripe.sync_unknown", "timeout.run"}
    assert time.monotonic() - start < 5
    sleeping = "select count(*) from pg_stat_activity where query like 'select max%%pg_sleep%%' and state = 'active'"
    wait_until(lambda: books.execute(sleeping).fetchone() == (0,), "the query to end")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("kind", ["numeric", "float8"])
async def test_a_number_that_is_none_has_a_reason(
    asked: Any, found: Any, server: str, books: Any, value: str, kind: str
) -> None:
    for name in ("last_event", "active"):
        more = {name: f"select '{value}'::{kind}"}
        result = await asked("drift", drift=settings(server, **more))
        assert found(result) == [("unknown", "stripe.sync_unknown")]


async def test_a_time_past_all_calendars_has_a_reason(
    asked: Any, found: Any, server: str, books: Any
) -> None:
    for value in ("'infinity'::timestamptz", "'294000-01-01'::timestamptz", "'\\xff'::bytea"):
        result = await asked("drift", drift=settings(server, last_event=f"select {value}"))
        assert found(result) == [("unknown", "stripe.sync_unknown")]


@pytest.mark.parametrize(
    "where",
    [
        "host=127.0.0.1", "host=127.1", "host=2130706433", "host=localhost", "hostaddr=127.0.0.1",
        "host=db.invalid hostaddr=127.0.0.1", "host=127.0.0.1,127.0.0.1",
        "host=::ffff:127.0.0.1",
    ],
)  # fmt: skip
async def test_nothing_is_dialed_past_the_deny_list(
    asked: Any, found: Any, server: str, where: str
) -> None:
    port = server.partition("port=")[2].partition(" ")[0]
    dsn = f"{where} port={port} user=shop dbname=postgres password={CANARY}"
    denying = Network(Resolver(hosts=None), DenyList(["127.0.0.0/8", "::1/128"]))
    result = await asked("drift", drift=settings(server, dsn=dsn), network=denying)
    assert found(result) == [("unknown", "stripe.sync_unknown")]
    assert result.findings[0].evidence["reason"] == "connect.denied"
    assert "drift/app/query" not in {phase.name for phase in result.phases}
