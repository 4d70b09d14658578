"""What is saved survives the process, whatever became of the file."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed.model import Outcome, Verdict
from probed.state import CheckState
from probed.store.checks import RETENTION, SavedCheck, Snapshot, Store, state_folder
from probed.store.documents import (
    MEMORY_LIMIT,
    read_check,
    read_result,
    read_transition,
    write_check,
)

pytestmark = pytest.mark.anyio

NOW = 1_767_225_600.0
STATE = CheckState(
    Verdict.DOWN, since=5.5, failed_streak=3, not_ok_streak=3, last_run=NOW, outcome=Outcome.FAILED, changes=5,
    flapping=True,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


async def save(store: Store, kept: dict[str, SavedCheck], now: float = NOW) -> bool:
    return await store.save(Snapshot(kept), now)


def other(folder: Path) -> Store:
    return Store(folder)


async def test_what_is_saved_is_there_after_a_restart(store: Store, tmp_path: Path) -> None:
    kept = {"web": SavedCheck("tcp", "h:1", STATE, {"seen": [1, 2]}), "mx": SavedCheck("dns", "m")}
    assert await store.load(NOW) == {}
    assert await save(store, kept)
    store.close()
    assert await other(tmp_path).load(NOW) == kept


async def test_the_last_save_counts(store: Store) -> None:
    await save(store, {"web": SavedCheck("tcp", "h:1", STATE, {"n": 1})})
    await save(store, {"web": SavedCheck("tcp", "h:1", STATE, {"n": 2})})
    assert (await store.load(NOW))["web"].memory == {"n": 2}


async def test_without_a_folder_no_state_is_saved_and_nothing_complains() -> None:
    store = Store(None)
    assert await save(store, {"web": SavedCheck("tcp", "h:1")})
    assert await store.load(NOW) == {}


async def test_the_state_of_a_check_that_is_gone_for_a_month_is_forgotten(store: Store) -> None:
    await save(store, {"old": SavedCheck("tcp", "h:1")}, NOW - RETENTION - 1)
    await save(store, {"new": SavedCheck("tcp", "h:1")}, NOW - RETENTION + 1)
    assert set(await store.load(NOW)) == {"new"}


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_corrupt_file_is_moved_aside_and_checks_start_with_empty_state(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "state.db"
    file.write_bytes(content)
    store = Store(tmp_path)
    assert await store.load(NOW) == {}
    assert await save(store, {"web": SavedCheck("tcp", "h:1", STATE)})
    assert set(await store.load(NOW)) == {"web"}
    store.close()
    if content:
        aside = f"state.db.corrupt-{NOW:.0f}"
        assert (tmp_path / aside).read_bytes() == content
        assert f"is corrupt; moved to {aside}; starting with empty state" in caplog.text


async def test_a_second_daemon_keeps_out_of_the_first_ones_file(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await save(store, {"web": SavedCheck("tcp", "h:1", STATE)})
    second = other(tmp_path)
    assert await second.load(NOW) == {}
    assert not await save(second, {"web": SavedCheck("tcp", "other")})
    assert caplog.text.count("another process uses it") == 1
    assert (await store.load(NOW))["web"].target == "h:1"
    second.close()


async def test_where_it_cannot_be_written_it_says_so_once_and_goes_on_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "late"
    store = Store(folder)
    assert await store.load(NOW) == {}
    for _ in range(3):
        assert not await save(store, {"web": SavedCheck("tcp", "h:1")})
    assert caplog.text.count("state is not saved until it can") == 1
    folder.mkdir()
    assert await save(store, {"web": SavedCheck("tcp", "h:1")})
    assert "can be written again" in caplog.text
    store.close()


async def test_a_document_of_another_version_is_read_as_far_as_it_goes(
    store: Store, tmp_path: Path
) -> None:
    documents = {
        "newer": {"kind": "tcp", "target": "t", "state": {"verdict": "down", "failed": 2, "mood": 1},
                  "memory": {"a": 1}, "extra": {}},
        "older": {"kind": "tcp", "target": "t"},
        "strange": {"kind": "tcp", "target": "t", "state": {"verdict": "sideways"}},
        "endless": {"kind": "tcp", "target": "t", "state": {"verdict": "up", "since": 1e999}},
        "odd": {"kind": "tcp", "target": "t", "state": [1], "memory": "x"},
        "useless": {"target": "t"},
    }  # fmt: skip
    await save(store, {"x": SavedCheck("tcp", "t")})
    store.close()
    connection = sqlite3.connect(tmp_path / "state.db")
    with connection:
        for name, document in documents.items():
            connection.execute(
                "INSERT INTO checks VALUES (?, ?, ?)", (name, NOW, json.dumps(document))
            )
        connection.execute("INSERT INTO checks VALUES ('text', ?, 'not json')", (NOW,))
    connection.close()
    found = await store.load(NOW)
    assert found["newer"] == SavedCheck(
        "tcp", "t", CheckState(Verdict.DOWN, failed_streak=2), {"a": 1}
    )
    assert found["endless"] == SavedCheck("tcp", "t")
    assert found["older"] == found["strange"] == found["odd"] == SavedCheck("tcp", "t")
    assert not {"useless", "text"} & set(found)


@pytest.mark.parametrize("memory", [{"s": {1}}, {"n": float("nan")}, {"b": "x" * MEMORY_LIMIT}])
async def test_memory_that_cannot_be_kept_does_not_keep_the_state_from_being_kept(
    store: Store, memory: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    await save(store, {"web": SavedCheck("tcp", "h:1", STATE, memory)})
    assert (await store.load(NOW))["web"] == SavedCheck("tcp", "h:1", STATE)
    assert "is not saved" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["kind", "target", "state", "memory"]), JSON) | JSON)
def test_whatever_a_document_holds_it_can_be_read(document: object) -> None:
    read = read_check(json.dumps(document))
    if read is not None:
        assert write_check("web", *read) is not None or read[3]


RESULT_FIELDS = [
    "check", "probe", "target", "outcome", "started_at", "duration_s", "trace_id", "findings", "phases",
    "measures", "facts", "earlier_attempts", "labels", "severity",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(RESULT_FIELDS), JSON) | JSON)
def test_whatever_the_document_of_a_result_holds_it_can_be_read(document: object) -> None:
    read_result(json.dumps(document))
    read_transition("web", json.dumps(document))


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_row_it_can_be_read(raw: bytes) -> None:
    assert read_check(raw) is None
    assert read_result(raw) is None
    assert read_transition("web", raw) is None


def test_the_state_directory_is_made_as_configured_or_as_systemd_says(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "b", tmp_path / "c"
    environ = {"STATE_DIRECTORY": f"{other}:/d"}
    assert state_folder(one, environ) == one
    assert one.stat().st_mode & 0o777 == 0o700
    assert not other.exists()
    assert state_folder(None, environ) == other
    assert state_folder(other, {}) == other
    assert state_folder(None, {}) is None
    (tmp_path / "file").touch()
    assert state_folder(tmp_path / "file", {}) == tmp_path / "file"
