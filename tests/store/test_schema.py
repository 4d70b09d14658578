"""A file of every version: older ones are migrated, newer ones are used or left untouched."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from anyio import to_thread

from probed.model import Outcome, Result, Transition, Verdict
from probed.state import CheckState
from probed.store import schema
from probed.store.checks import SavedCheck, Snapshot, Store
from probed.store.schema import MIGRATIONS, VERSION, open_database

pytestmark = pytest.mark.anyio

NOW = 1_767_225_600.0

# As program 0.1 wrote it, which knew no versions.
V1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS checks (name TEXT PRIMARY KEY, at REAL, document TEXT);
INSERT INTO checks VALUES ('web', 1767225600.0, '{"kind": "tcp", "target": "h:1", "state": {"verdict":
 "down", "since": 5.5, "failed": 3, "poor": 4, "last_run": 1767225599.0, "outcome": "failed"}, "memory":
 {"seen": 2}}');
"""
V2 = """
PRAGMA journal_mode = WAL;
CREATE TABLE checks (name TEXT PRIMARY KEY, at REAL, document TEXT);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
INSERT INTO meta VALUES ('readable_from', 1);
CREATE TABLE results (name TEXT, which TEXT, at REAL, document TEXT, PRIMARY KEY (name, which))
 WITHOUT ROWID;
CREATE TABLE transitions (
 id INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, document TEXT NOT NULL);
CREATE INDEX transitions_of_check ON transitions (name, id);
PRAGMA user_version = 2;
INSERT INTO checks VALUES ('web', 1767225600.0, '{"kind": "tcp", "target": "h:1", "state": {"verdict":
 "down", "since": 5.5, "failed_streak": 3, "not_ok_streak": 4, "last_run": 1767225599.0, "outcome":
 "failed"}, "memory": {"seen": 2}}');
INSERT INTO results VALUES ('web', 'not_ok', 1767225600.0, '{"check": "web", "probe": "tcp", "target":
 "h:1", "outcome": "failed", "started_at": "2026-01-01T00:00:00.000Z", "duration_s": 0.5, "trace_id":
 "abc"}');
INSERT INTO transitions (name, at, document) VALUES ('web', 1767225595.0, '{"at": 1767225595.0, "old": "up", "new":
 "down", "reason": "connect.refused", "message": "Connection refused.", "trace_id": "abc",
 "probe": "tcp", "target": "h:1"}');
"""
FILES = {1: V1, 2: V2}
STATE = CheckState(
    Verdict.DOWN, since=5.5, failed_streak=3, not_ok_streak=4, last_run=NOW - 1, outcome=Outcome.FAILED,
)  # fmt: skip
RESULT = Result("web", "tcp", "h:1", Outcome.FAILED, NOW, 0.5, "abc", "")
CHANGE = Transition(
    "web", Verdict.UP, Verdict.DOWN, NOW - 5, "connect.refused", "Connection refused.", "abc",
    "tcp", "h:1",
)  # fmt: skip


def written(folder: Path, script: str) -> Path:
    path = folder / "state.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
    return path


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(statement).fetchall()


def digest(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.endswith("-shm") and path.stat().st_size  # looking makes an empty -wal
    }


def test_there_is_a_file_of_every_version() -> None:
    assert set(FILES) == set(range(1, VERSION + 1))
    assert len(MIGRATIONS) == VERSION


@pytest.mark.parametrize("version", FILES)
async def test_a_file_of_each_version_is_migrated_and_keeps_what_it_knows(
    version: int, tmp_path: Path
) -> None:
    path = await to_thread.run_sync(written, tmp_path, FILES[version])
    store = Store(tmp_path)
    web = (await store.load(NOW))["web"]
    assert (web.state, web.memory) == (STATE, {"seen": 2})
    assert web.last_not_ok == (RESULT if version >= 2 else None)
    known = [CHANGE] if version >= 2 else []
    assert await store.transitions("web") == known
    later = CHANGE._replace(at=NOW, old=Verdict.DOWN, new=Verdict.UP)
    assert await store.save(Snapshot({"web": web}, [later]), NOW)
    assert await store.transitions("web") == [*known, later]
    store.close()
    assert await to_thread.run_sync(query, path, "PRAGMA user_version") == [(VERSION,)]
    assert await to_thread.run_sync(query, path, "SELECT value FROM meta") == [(1,)]


async def test_program_0_1_can_read_and_write_what_this_one_wrote(tmp_path: Path) -> None:
    """The statements are those of that program."""
    store = Store(tmp_path)
    await store.save(Snapshot({"web": SavedCheck("tcp", "h:1", STATE, {"n": 1})}, [CHANGE]), NOW)
    store.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as old, old:
        old.execute(
            "CREATE TABLE IF NOT EXISTS checks (name TEXT PRIMARY KEY, at REAL, document TEXT)"
        )
        old.execute("DELETE FROM checks WHERE at < ?", (NOW - 30 * 86400.0,))
        ((name, text),) = old.execute("SELECT name, document FROM checks").fetchall()
        document = json.loads(text)
        assert (name, document["state"]["verdict"], document["memory"]) == ("web", "down", {"n": 1})
        document["state"] = {"verdict": "up", "good": 7, "fair": 7}
        old.execute(
            "INSERT INTO checks VALUES (?, ?, ?) ON CONFLICT (name) "
            "DO UPDATE SET at = excluded.at, document = excluded.document",
            (name, NOW, json.dumps(document)),
        )
    state = (await store.load(NOW))["web"].state
    assert state == CheckState(Verdict.UP, ok_streak=7, not_failed_streak=7)
    assert await store.transitions("web") == [CHANGE]
    store.close()


async def test_a_newer_file_that_this_program_can_read_is_used_and_stays_newer(
    tmp_path: Path,
) -> None:
    path = await to_thread.run_sync(
        written, tmp_path, V2 + "CREATE TABLE moods (mood TEXT); PRAGMA user_version = 9;"
    )
    store = Store(tmp_path)
    web = (await store.load(NOW))["web"]
    assert web.state == STATE
    assert await store.save(Snapshot({"web": web}, [CHANGE]), NOW)
    assert len(await store.transitions("web")) == 2
    store.close()
    assert await to_thread.run_sync(query, path, "PRAGMA user_version") == [(9,)]
    assert await to_thread.run_sync(query, path, "SELECT * FROM moods") == []


@pytest.mark.parametrize(
    "breaking",
    [
        "UPDATE meta SET value = 3; PRAGMA user_version = 3;",
        "DELETE FROM meta; PRAGMA user_version = 3;",
        "UPDATE meta SET value = 'soon'; PRAGMA user_version = 3;",
        "DROP TABLE meta; PRAGMA user_version = 3;",
        "DROP TABLE meta; CREATE TABLE meta (strange); PRAGMA user_version = 3;",
    ],
)
async def test_a_newer_file_that_it_cannot_read_is_left_untouched_and_that_is_loud(
    tmp_path: Path, breaking: str, caplog: pytest.LogCaptureFixture
) -> None:
    await to_thread.run_sync(written, tmp_path, V2 + breaking)
    before = await to_thread.run_sync(digest, tmp_path)
    store = Store(tmp_path)
    assert await store.load(NOW) == {}
    for _ in range(3):
        assert await store.save(Snapshot({"web": SavedCheck("tcp", "h:1", STATE)}, [CHANGE]), NOW)
    # It runs without: what happens now is still to be seen.
    assert len(await store.transitions("web")) == 3
    store.close()
    assert await to_thread.run_sync(digest, tmp_path) == before
    assert caplog.text.count("schema version 3 is newer than this program") == 1
    assert "nothing is saved" in caplog.text


async def test_a_migration_that_is_cut_off_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await to_thread.run_sync(written, tmp_path, V1)
    monkeypatch.setattr(schema, "MIGRATIONS", (MIGRATIONS[0], (*MIGRATIONS[1], "NONSENSE")))
    with pytest.raises(sqlite3.OperationalError):
        await to_thread.run_sync(open_database, path)
    monkeypatch.undo()
    assert await to_thread.run_sync(query, path, "PRAGMA user_version") == [(0,)]
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    assert await to_thread.run_sync(query, path, tables) == [("checks",)]
    store = Store(tmp_path)
    assert (await store.load(NOW))["web"].state == STATE
    store.close()


async def test_of_each_check_the_last_fifty_transitions_and_ninety_days_are_stored(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    for number in range(120):
        changes = [CHANGE._replace(check=name, at=NOW + number) for name in ("web", "mail")]
        await store.save(Snapshot({}, changes), NOW)
    for name in ("web", "mail"):
        found = await store.transitions(name)
        assert [each.at for each in found] == [NOW + number for number in range(70, 120)]
    day = 86400.0
    await store.load(NOW + 110 + 90 * day)
    assert [each.at for each in await store.transitions("web")] == [
        NOW + number for number in range(110, 120)
    ]
    store.close()


async def test_states_and_transitions_are_saved_together_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    await store.load(NOW)
    assert store._connection is not None
    store._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON transitions BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    assert not await store.save(Snapshot({"web": SavedCheck("tcp", "h:1", STATE)}, [CHANGE]), NOW)
    store.close()
    again = Store(tmp_path)
    assert await again.load(NOW) == {}
    again.close()


async def test_without_a_folder_transitions_are_held_in_memory() -> None:
    store = Store(None)
    assert await store.load(NOW) == {}
    assert await store.save(Snapshot({"web": SavedCheck("tcp", "h:1", STATE)}, [CHANGE]), NOW)
    assert await store.transitions("web") == [CHANGE]
    store.close()


async def test_results_of_another_target_are_not_those_of_the_check(tmp_path: Path) -> None:
    store = Store(tmp_path)
    await store.save(Snapshot({"web": SavedCheck("tcp", "h:1", STATE, {}, None, RESULT)}), NOW)
    assert (await store.load(NOW))["web"].last_not_ok == RESULT
    await store.save(Snapshot({"web": SavedCheck("tcp", "h:2", CheckState())}), NOW)
    web = (await store.load(NOW))["web"]
    assert (web.target, web.last, web.last_not_ok) == ("h:2", None, None)
    store.close()
