"""The state that survives a restart, in one SQLite file: state, memory, last results and transitions of each check.

A row is a JSON document. Documents are read tolerantly: what is missing has its default, what is unknown
is ignored, so that a newer and an older program can take turns. A corrupt file is moved aside, never
repaired by guessing. Where nothing can be stored, the daemon runs without, and says so.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import anyio
from anyio import to_thread

from probed.model import Result, Transition
from probed.state import CheckState
from probed.store.documents import (
    read_check,
    read_result,
    read_transition,
    write_check,
    write_result,
    write_transition,
)
from probed.store.schema import NewerError, open_database

log = logging.getLogger("probed.store")
T = TypeVar("T")

FILE = "state.db"
RETENTION = 30 * 86400.0
"""Seconds for which the state of a check that is no longer configured is stored."""
TRANSITIONS = 50
"""Transitions that are stored per check."""
TRANSITION_RETENTION = 90 * 86400.0
"""Seconds for which transitions are stored."""

# One statement for all rows: at each step of one, a thread hands the interpreter over, and in a busy
# process waits some milliseconds to have it back.
_UPSERT = """INSERT INTO checks (name, at, document)
    SELECT json_extract(value, '$[0]'), ?2, json_extract(value, '$[1]') FROM json_each(?1) WHERE true
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, document = excluded.document"""
_UPSERT_RESULT = """INSERT OR REPLACE INTO results (name, which, at, document)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?2, json_extract(value, '$[2]')
    FROM json_each(?1)"""
_INSERT_TRANSITION = """INSERT INTO transitions (name, at, document)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(?1) ORDER BY key"""
_TRIM_TRANSITIONS = """DELETE FROM transitions WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY name ORDER BY id DESC) AS place FROM transitions
        WHERE name IN (SELECT value FROM json_each(?1))
    ) WHERE place > ?2)"""


def state_folder(configured: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the state directory: as configured, or as systemd says (`StateDirectory=`). It is made
    where it does not exist.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    folder = configured or (Path(given) if given else None)
    if folder is not None:
        with suppress(OSError):  # whoever cannot write there says so
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@dataclass(slots=True)
class SavedCheck:
    """The stored state of a check. It is used only while kind and target are the same."""

    kind: str
    target: str
    state: CheckState = field(default_factory=CheckState)
    memory: Mapping[str, Any] = field(default_factory=dict)
    last: Result | None = None
    last_not_ok: Result | None = None


class Snapshot(NamedTuple):
    """The changes at one moment: checks by name, and transitions in their order. They are
    stored together or not at all.
    """

    checks: Mapping[str, SavedCheck]
    transitions: Sequence[Transition] = ()


class Store:
    """The file in the state directory. Without a directory, transitions are held in memory and the
    rest is not stored. One process at a time.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._limiter = anyio.CapacityLimiter(1)
        self._complaint = ""

    async def load(self, now: float) -> dict[str, SavedCheck]:
        """Return what was stored, by name; nothing where it cannot be read. `now` is seconds since the
        epoch.
        """
        if self.path is None:
            return {}
        return await self._in_thread(lambda: self._load(now))

    async def save(self, snapshot: Snapshot, now: float, *, seconds: float = inf) -> bool:
        """Store a snapshot in one transaction. Return False where that failed. States, then results, are
        written down for so many `seconds`; those that are left over are not stored. Transitions all are.
        """
        return await self._in_thread(lambda: self._save(snapshot, now, seconds))

    async def transitions(self, name: str) -> list[Transition]:
        """Return the stored transitions of a check, the oldest first; none where they cannot be read."""
        return await self._in_thread(lambda: self._transitions(name))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._limiter)

    def _load(self, now: float) -> dict[str, SavedCheck]:
        assert self.path is not None
        try:
            return self._read(now)
        except sqlite3.OperationalError as error:
            self._complain(error)
        except sqlite3.DatabaseError:
            self.close()
            aside = self.path.with_suffix(".broken")
            log.error(  # noqa: TRY400  # sqlite's text says no more
                "%s is corrupt; moved to %s; starting with empty state", self.path, aside.name
            )
            try:
                self.path.replace(aside)
                for tail in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + tail).unlink(missing_ok=True)
                return self._read(now)
            except (sqlite3.Error, OSError, NewerError) as error:
                self._complain(error)
        except NewerError as error:
            log.error(  # noqa: TRY400  # the text is the whole of it
                "%s is not used: %s; running without stored state, nothing is saved",
                self.path,
                error,
            )
            self.path = None
        return {}

    def _read(self, now: float) -> dict[str, SavedCheck]:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.execute("DELETE FROM checks WHERE at < ?", (now - RETENTION,))
            connection.execute("DELETE FROM results WHERE name NOT IN (SELECT name FROM checks)")
            connection.execute(
                "DELETE FROM transitions WHERE at < ?", (now - TRANSITION_RETENTION,)
            )
        found: dict[str, SavedCheck] = {}
        with closing(connection.execute("SELECT name, document FROM checks")) as rows:
            for name, document in rows:
                if (read := read_check(document)) is not None:
                    found[str(name)] = SavedCheck(*read)
        with closing(connection.execute("SELECT name, which, document FROM results")) as rows:
            for name, which, document in rows:
                check, result = found.get(str(name)), read_result(document)
                if check is None or result is None:
                    continue
                if (result.probe, result.target) != (check.kind, check.target):
                    continue  # of before a reload gave the check another target
                if which == "not_ok":
                    check.last_not_ok = result
                if check.last is None or check.last.started_at <= result.started_at:
                    check.last = result
        return found

    def _save(self, snapshot: Snapshot, now: float, seconds: float) -> bool:
        ends = monotonic() + seconds
        checks = snapshot.checks if self.path is not None else {}
        states = [
            (name, text)
            for name, check in checks.items()
            if monotonic() < ends
            and (text := write_check(name, check.kind, check.target, check.state, check.memory))
        ]
        results = [
            (name, which, text)
            for name, check in checks.items()
            for which, result in (("not_ok", check.last_not_ok), ("last", check.last))
            if result is not None and monotonic() < ends and (text := write_result(result))
        ]
        transitions = [
            (each.check, each.at, write_transition(each)) for each in snapshot.transitions
        ]
        names = sorted({name for name, _, _ in transitions})
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.execute(_UPSERT, (json.dumps(states), now))
                connection.execute(_UPSERT_RESULT, (json.dumps(results), now))
                connection.execute(_INSERT_TRANSITION, (json.dumps(transitions),))
                connection.execute(_TRIM_TRANSITIONS, (json.dumps(names), TRANSITIONS))
        except (sqlite3.Error, NewerError) as error:
            self.close()
            self._complain(error)
            return False
        if self._complaint:
            log.info("%s can be written again", self.path)
            self._complaint = ""
        return True

    def _transitions(self, name: str) -> list[Transition]:
        query = "SELECT document FROM transitions WHERE name = ? ORDER BY id"
        try:
            with closing(self._open().execute(query, (name,))) as rows:
                read = [read_transition(name, document) for (document,) in rows]
        except (sqlite3.Error, NewerError) as error:
            self.close()
            self._complain(error)
            return []
        return [each for each in read if each is not None]

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_database(self.path)
        return self._connection

    def _complain(self, error: Exception) -> None:
        """Log each way in which it fails once."""
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if "locked" in why:
            why = "another process uses it"
        if why != self._complaint:
            self._complaint = why
            log.error("%s cannot be used: %s; state is not saved until it can", self.path, why)
