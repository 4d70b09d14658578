"""The state that survives a restart, in one SQLite file: state, memory, last results and transitions of each check.

A row is a JSON document. Documents are read tolerantly: what is missing has its default, what is unknown
is ignored, so that a newer and an older program can take turns. A row that cannot be read costs itself
only. A corrupt file is moved aside, and what can be read of it is copied to a new one. A file that was
deleted, replaced or truncated under the daemon is made anew. Where nothing can be stored, the daemon runs
without, and says so.
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
from time import monotonic, time
from typing import Any, NamedTuple, TypeVar

import anyio
from anyio import to_thread

from probed.model import Result, Transition
from probed.state import CheckState
from probed.store.documents import (
    Clean,
    read_check,
    read_result,
    read_transition,
    write_check,
    write_result,
    write_transition,
)
from probed.store.files import Identity, identify, move_aside, protect_folder
from probed.store.salvage import Salvaged, all_transitions, insert, salvage
from probed.store.schema import NewerError, is_corrupt, open_database

log = logging.getLogger("probed.store")
T = TypeVar("T")

FILE = "state.db"
RETENTION = 30 * 86400.0
"""Seconds for which the state of a check that is no longer configured is stored."""
TRANSITIONS = 50
"""Transitions that are stored per check."""
TRANSITION_RETENTION = 90 * 86400.0
"""Seconds for which transitions are stored."""
RENEWAL_INTERVAL = 60.0
"""Seconds between two moves of a corrupt file."""
NAMED = 5
"""Maximum number of checks that one log line names."""
PROBLEMS = ("row", "corrupt", "replaced", "newer")
"""A row that cannot be read; a corrupt file; one that was deleted, replaced or truncated; one of a newer
program that this one cannot read.
"""

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
    where it does not exist. Only the owner can read the files in it from now on.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    folder = configured or (Path(given) if given else None)
    if folder is not None:
        with suppress(OSError):  # whoever cannot write there says so
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            protect_folder(folder)
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
    rest is not stored. One process at a time. `report` receives each problem, one of `PROBLEMS`, from
    another thread.
    """

    def __init__(
        self,
        folder: Path | None,
        report: Callable[[str], None] = lambda _: None,
        clean: Clean = str,
    ) -> None:
        self._clean = clean
        self.path = None if folder is None else folder / FILE
        self.renewed = False
        """The file is another one than before: all that is known has to be saved."""
        self._report = report
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._renewed_at = -inf
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
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._limiter)

    def _load(self, now: float) -> dict[str, SavedCheck]:
        try:
            try:
                return self._read(now)
            except sqlite3.Error as error:
                if not is_corrupt(error):
                    raise
                self._renew(now)
                return self._read(now)
        except NewerError as error:
            self._report("newer")
            log.error(  # noqa: TRY400  # the text is the whole of it
                "%s is not used: %s; running without stored state, nothing is saved",
                self.path,
                error,
            )
            self.path = None
        except (sqlite3.Error, OSError) as error:
            self.close()
            self._complain(error)
        return {}

    def _read(self, now: float) -> dict[str, SavedCheck]:
        connection = self._open(now)
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.execute("DELETE FROM checks WHERE at < ?", (now - RETENTION,))
            connection.execute("DELETE FROM results WHERE name NOT IN (SELECT name FROM checks)")
            connection.execute(
                "DELETE FROM transitions WHERE at < ?", (now - TRANSITION_RETENTION,)
            )
        found: dict[str, SavedCheck] = {}
        unreadable: list[str] = []
        with closing(connection.execute("SELECT name, document FROM checks")) as rows:
            for name, document in rows:
                if (read := read_check(document)) is not None:
                    found[str(name)] = SavedCheck(*read)
                else:
                    unreadable.append(str(name))
        with closing(connection.execute("SELECT name, which, document FROM results")) as rows:
            for name, which, document in rows:
                check, result = found.get(str(name)), read_result(document)
                if result is None:
                    unreadable.append(str(name))
                if check is None or result is None:
                    continue
                if (result.probe, result.target) != (check.kind, check.target):
                    continue  # of before a reload gave the check another target
                if which == "not_ok":
                    check.last_not_ok = result
                if check.last is None or check.last.started_at <= result.started_at:
                    check.last = result
        self._skip(unreadable)
        return found

    def _document(self, name: str, check: SavedCheck) -> str | None:
        return write_check(name, check.kind, check.target, check.state, check.memory, self._clean)

    def _save(self, snapshot: Snapshot, now: float, seconds: float) -> bool:
        ends = monotonic() + seconds
        checks = snapshot.checks if self.path is not None else {}
        states = [
            (name, text)
            for name, check in checks.items()
            if monotonic() < ends and (text := self._document(name, check))
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
            connection = self._open(now)
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.execute(_UPSERT, (json.dumps(states), now))
                connection.execute(_UPSERT_RESULT, (json.dumps(results), now))
                connection.execute(_INSERT_TRANSITION, (json.dumps(transitions),))
                connection.execute(_TRIM_TRANSITIONS, (json.dumps(names), TRANSITIONS))
        except (sqlite3.Error, OSError, NewerError) as error:
            self._fail(error, now)
            return False
        if self.path is not None:
            self._identity = identify(self.path)
        if self._complaint:
            log.info("%s can be written again", self.path)
            self._complaint = ""
        return True

    def _transitions(self, name: str) -> list[Transition]:
        query = "SELECT document FROM transitions WHERE name = ? ORDER BY id"
        now = time()
        try:
            with closing(self._open(now).execute(query, (name,))) as rows:
                read = [read_transition(name, document) for (document,) in rows]
        except (sqlite3.Error, OSError, NewerError) as error:
            self._fail(error, now)
            return []
        self._skip([name] * read.count(None))
        return [each for each in read if each is not None]

    def _open(self, now: float) -> sqlite3.Connection:
        """Return the connection, a new one where the file is not the one that was opened."""
        if self.path is None:
            self._connection = self._connection or open_database(None)
            return self._connection
        known, replaced = self._identity, False
        left = Salvaged()
        if self._connection is not None and known is not None:
            found = identify(self.path)
            if known.is_truncated(found):
                self._report("replaced")
                self._renew(now)
            elif not known.is_same(found):
                replaced = True
                if found is None:  # what was deleted is open still
                    left = Salvaged(transitions=all_transitions(self._connection))
                self.close()
        if self._connection is None:
            self._connection = open_database(self.path)
            self._identity = identify(self.path)
            if replaced or (known and self._identity and known[:2] != self._identity[:2]):
                self.renewed = True
                self._report("replaced")
                log.error("%s was deleted or replaced; saving all state again", self.path)
                insert(self._connection, left)
        return self._connection

    def _renew(self, now: float) -> None:
        """Move a corrupt file aside, and copy what can be read of it to a new one."""
        assert self.path is not None
        self.close()
        self._identity = None
        self._renewed_at = monotonic()
        aside = move_aside(self.path, now)
        self.renewed = True
        self._report("corrupt")
        rows = salvage(aside, now)
        saved = (
            f"recovered the state of {len(rows.checks)} checks"
            if rows.checks
            else "starting with empty state"
        )
        log.error("%s is corrupt; moved to %s; %s", self.path, aside.name, saved)
        insert(self._open(now), rows)

    def _skip(self, names: Sequence[str]) -> None:
        """Report rows that cannot be read."""
        if not names:
            return
        for _ in names:
            self._report("row")
        shown = ", ".join(dict.fromkeys(names[:NAMED])) + (", ..." if len(names) > NAMED else "")
        log.warning(
            "%s: skipped %d rows that cannot be read, of checks %s", self.path, len(names), shown
        )

    def _fail(self, error: Exception, now: float) -> None:
        """Close the file, so that it is opened again; where it is corrupt, make a new one."""
        self.close()
        # Twice within a minute it would be a mistake of ours, and the first file would be lost.
        due = monotonic() - self._renewed_at > RENEWAL_INTERVAL
        if self.path is not None and is_corrupt(error) and due:
            try:
                self._renew(now)
            except (sqlite3.Error, OSError, NewerError) as further:
                error = further
                self.close()
            else:
                return
        if isinstance(error, NewerError):
            self._report("newer")
        self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Log each way in which it fails once."""
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if "locked" in why:
            why = "another process uses it"
        if why != self._complaint:
            self._complaint = why
            log.error("%s cannot be used: %s; state is not saved until it can", self.path, why)
