"""A file that was damaged, deleted, replaced or truncated costs what was in the damaged place, and no more."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from anyio import to_thread

from probed.model import Outcome, Result, Transition, Verdict
from probed.state import CheckState
from probed.store.checks import SavedCheck, Snapshot, Store
from probed.store.schema import VERSION

pytestmark = pytest.mark.anyio

NOW = 1_767_225_600.0
CHECKS = 60
HEADER = 100
"""Bytes of a database's header (SQLite, file format, 1.3)."""


def state(number: int) -> SavedCheck:
    result = Result(f"c{number}", "tcp", "h:1", Outcome.FAILED, NOW, 0.5, "abc", "")
    memory = {"seen": "x" * (10_000 if number == 7 else 40)}
    known = CheckState(Verdict.DOWN, since=5.5, failed_streak=number, last_run=NOW)
    return SavedCheck("tcp", "h:1", known, memory, result, result)


def change(number: int) -> Transition:
    return Transition(f"c{number}", Verdict.UP, Verdict.DOWN, NOW, None, None, "", "tcp", "h:1")


SNAPSHOT = Snapshot(
    {f"c{number}": state(number) for number in range(CHECKS)},
    [change(number) for number in range(CHECKS)],
)


class Damaged:
    """A store in a folder of its own, and the problems that it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: Counter[str] = Counter()
        self.store = Store(folder, lambda reason: self.problems.update([reason]))
        self.file = folder / "state.db"

    @property
    def aside(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.corrupt-*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a file that holds the snapshot."""
    folder = tmp_path_factory.mktemp("whole")
    store = Store(folder)
    assert store._save(SNAPSHOT, NOW, 60.0)
    store.close()
    return (folder / "state.db").read_bytes()


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Damaged]:
    made = Damaged(tmp_path)
    yield made
    made.store.close()


async def read(file: Path) -> set[str]:
    """Return the names of checks in a file that is not open."""

    def names() -> set[str]:
        with closing(sqlite3.connect(file)) as database:
            return {name for (name,) in database.execute("SELECT name FROM checks")}

    return await to_thread.run_sync(names)


def flips(size: int) -> Iterator[tuple[int, int]]:
    """Places and lengths: the ends of each page, where its structure is, and many others."""
    chosen = random.Random(7)
    for page in range(0, size, 4096):
        yield page, 1
        yield page, 8
        yield page, 4096
        yield page + 8, 4
        for _ in range(6):
            yield page + chosen.randrange(4096), chosen.choice((1, 1, 2, 64))


@pytest.mark.timeout(120)
async def test_bytes_that_are_flipped_anywhere_cost_what_is_there(
    whole: bytes, tmp_path: Path
) -> None:
    later = Snapshot({"later": SavedCheck("tcp", "h:2")})
    for number, (start, length) in enumerate(flips(len(whole))):
        where = f"{length} bytes at {start}"
        folder = tmp_path / f"{number}"
        folder.mkdir()
        raw = bytearray(whole)
        raw[start : start + length] = bytes(byte ^ 0xFF for byte in raw[start : start + length])
        (folder / "state.db").write_bytes(raw)
        made = Damaged(folder)
        found = await made.store.load(NOW)
        lost = CHECKS - len(found)
        if start + length > HEADER:
            limit = 2 if length < 4096 else 20  # the one of many pages is lost with any of them
            assert lost <= limit, where
        assert not lost or made.problems, f"{where}: nothing was said"
        for name, check in found.items():
            assert (check.kind, name) == ("tcp", name), where
        for name in ("c0", "c7"):
            assert isinstance(await made.store.transitions(name), list), where
        saved = await made.store.save(later, NOW)
        assert saved or await made.store.save(later, NOW), where
        assert "later" in await made.store.load(NOW), where
        made.store.close()
        shutil.rmtree(folder)


async def test_a_row_that_cannot_be_read_is_named_and_the_others_are_loaded(
    damaged: Damaged, caplog: pytest.LogCaptureFixture
) -> None:
    assert await damaged.store.save(SNAPSHOT, NOW)
    damaged.store.close()

    def spoil() -> None:
        with closing(sqlite3.connect(damaged.file)) as database, database:
            for name, document in (
                ("c1", "CAST(x'7BFF' AS TEXT)"),
                ("c2", "NULL"),
                ("c3", "x'00'"),
            ):
                database.execute(f"UPDATE checks SET document = {document} WHERE name = '{name}'")

    await to_thread.run_sync(spoil)
    found = await damaged.store.load(NOW)
    assert set(found) == set(SNAPSHOT.checks) - {"c1", "c2", "c3"}
    assert damaged.problems == {"row": 3}
    assert "skipped 3 rows that cannot be read, of checks c1, c2, c3" in caplog.text


async def test_one_corrupt_file_is_kept(damaged: Damaged, whole: bytes) -> None:
    for now in (NOW, NOW + 1):
        damaged.file.write_bytes(b"junk" + whole[4:])
        assert len(await damaged.store.load(now)) == CHECKS - 1, "all but the one of many pages"
        damaged.store.close()
    assert damaged.aside == [f"state.db.corrupt-{NOW + 1:.0f}"]
    assert damaged.problems == {"corrupt": 2}


def delete(file: Path) -> None:
    file.unlink()


def delete_log(file: Path) -> None:
    file.with_name("state.db-wal").unlink()


def replace(file: Path) -> None:
    beside = file.with_name("beside")
    with closing(sqlite3.connect(beside)) as database, database:
        database.execute("CREATE TABLE checks (name TEXT PRIMARY KEY, at REAL, document TEXT)")
    beside.replace(file)


def replace_by_junk(file: Path) -> None:
    beside = file.with_name("beside")
    beside.write_bytes(b"x" * 9000)
    beside.replace(file)


def truncate(file: Path) -> None:
    os.truncate(file, 8192)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def remove_folder(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.mkdir()


@pytest.mark.parametrize(
    "harm", [delete, delete_log, replace, replace_by_junk, truncate, empty, remove_folder]
)
async def test_a_file_that_changes_under_the_daemon_is_made_anew_without_a_restart(
    damaged: Damaged, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert await damaged.store.save(SNAPSHOT, NOW)
    damaged.store.close()
    assert len(await damaged.store.load(NOW)) == CHECKS
    assert await damaged.store.save(Snapshot({"c0": state(0)}), NOW)
    assert not damaged.store.renewed
    await to_thread.run_sync(harm, damaged.file)
    for _ in range(2):  # where the new one is corrupt, the first attempt finds it out
        await damaged.store.save(Snapshot({"c0": state(0)}), NOW)
    assert damaged.store.renewed, "all state is saved next"
    assert await damaged.store.save(SNAPSHOT, NOW)
    assert damaged.problems
    assert any(record.levelno >= logging.WARNING for record in caplog.records)
    damaged.store.close()
    assert set(SNAPSHOT.checks) <= await read(damaged.file)
    assert len(await Store(damaged.folder).load(NOW)) == CHECKS


async def test_a_file_that_is_corrupt_while_it_is_in_use_is_made_anew(damaged: Damaged) -> None:
    assert await damaged.store.save(SNAPSHOT, NOW)
    damaged.store.close()
    assert await damaged.store.load(NOW)
    damaged.store.close()

    def spoil() -> None:
        with damaged.file.open("r+b") as file:
            file.seek(HEADER)
            file.write(b"\xff" * 3000)

    await to_thread.run_sync(spoil)
    assert await damaged.store.transitions("c0") == []
    assert damaged.problems == {"corrupt": 1}
    assert damaged.store.renewed
    assert await damaged.store.save(SNAPSHOT, NOW)
    assert len(await damaged.store.load(NOW)) == CHECKS


async def test_a_file_of_a_newer_version_is_reported_and_left_as_it_is(damaged: Damaged) -> None:
    def write() -> bytes:
        with closing(sqlite3.connect(damaged.file)) as database:
            database.executescript(f"CREATE TABLE x (y); PRAGMA user_version = {VERSION + 1}")
        return damaged.file.read_bytes()

    before = await to_thread.run_sync(write)
    assert await damaged.store.load(NOW) == {}
    assert damaged.problems == {"newer": 1}
    assert await to_thread.run_sync(damaged.file.read_bytes) == before
    assert damaged.aside == []


@pytest.mark.parametrize("existing", [False, True])
async def test_only_the_owner_can_read_the_files(damaged: Damaged, *, existing: bool) -> None:
    before = os.umask(0)
    try:
        if existing:
            for tail in ("", "-wal"):
                path = damaged.folder / f"state.db{tail}"
                path.touch()
                path.chmod(0o666)
        assert await damaged.store.save(SNAPSHOT, NOW)
        for path in damaged.folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    finally:
        os.umask(before)
