"""What outlives a restart: each check's state and `run.memory`, in one SQLite file.

A row is a JSON document by the check's name. Documents are read tolerantly: what is missing has its
default, what is unknown is passed over, so that a newer and an older version can take turns. A file
that is broken is put aside, never repaired by guessing. Where nothing can be kept, the daemon runs
without, and says so.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from probed.model import Outcome, Verdict
from probed.state import CheckState

log = logging.getLogger("probed.store")

FILE = "state.db"
MEMORY_LIMIT = 64 * 1024
"""Bytes of one check's memory as JSON."""
KEEP = 30 * 86400.0
"""Seconds that the state of a check which is no longer configured is kept."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS checks (name TEXT PRIMARY KEY, at REAL, document TEXT)"
_UPSERT = (
    "INSERT INTO checks VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET at = excluded.at, document = excluded.document"
)

_FORMER_KEYS = {
    "failed_streak": "failed",
    "not_ok_streak": "poor",
    "not_failed_streak": "fair",
    "ok_streak": "good",
    "unknown_streak": "unjudged",
}
"""Names under which version 0.1 stored the streaks."""

Document: TypeAlias = tuple[str, float, str]


def state_folder(configured: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Where the daemon keeps what outlives it: as configured, or as systemd says
    (`StateDirectory=`). It is made where it is not there yet.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    folder = configured or (Path(given) if given else None)
    if folder is not None:
        with suppress(OSError):  # whoever cannot write there says so
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@dataclass(slots=True)
class SavedCheck:
    """What is kept of a check. State and memory are of use as long as kind and target are the same."""

    kind: str
    target: str
    state: CheckState = field(default_factory=CheckState)
    memory: dict[str, Any] = field(default_factory=dict)


class Store:
    """The file in the state directory; without one, nothing is kept. One process at a time."""

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._limiter = anyio.CapacityLimiter(1)
        self._complaint = ""

    async def load(self, now: float) -> dict[str, SavedCheck]:
        """All that was kept, by name; nothing where it cannot be read. `now` is seconds since the
        epoch.
        """
        if self.path is None:
            return {}
        return await to_thread.run_sync(self._load, self.path, now, limiter=self._limiter)

    def encode(self, kept: Mapping[str, SavedCheck], now: float) -> list[Document]:
        """What `save` writes, as it is at this moment."""
        return [(name, now, text) for name, what in kept.items() if (text := _write(name, what))]

    async def save(self, documents: Sequence[Document]) -> bool:
        """Keep these; they are on disk together or not at all. False where that failed."""
        if self.path is None or not documents:
            return True
        return await to_thread.run_sync(self._save, self.path, documents, limiter=self._limiter)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _load(self, path: Path, now: float) -> dict[str, SavedCheck]:
        try:
            return self._read(path, now)
        except sqlite3.OperationalError as error:
            self._complain(error)
        except sqlite3.DatabaseError:
            self.close()
            aside = path.with_suffix(".broken")
            log.error(  # noqa: TRY400  # sqlite's text says no more
                "%s is broken; it is put aside as %s, and checks begin anew", path, aside.name
            )
            try:
                path.replace(aside)
                for tail in ("-wal", "-shm"):
                    path.with_name(path.name + tail).unlink(missing_ok=True)
                return self._read(path, now)
            except (sqlite3.Error, OSError) as error:
                self._complain(error)
        return {}

    def _read(self, path: Path, now: float) -> dict[str, SavedCheck]:
        connection = self._open(path)
        with connection:
            connection.execute("DELETE FROM checks WHERE at < ?", (now - KEEP,))
        with closing(connection.execute("SELECT name, document FROM checks")) as rows:
            found = {str(name): _read(document) for name, document in rows}
        return {name: kept for name, kept in found.items() if kept is not None}

    def _save(self, path: Path, documents: Sequence[Document]) -> bool:
        try:
            connection = self._open(path)
            with connection:
                connection.executemany(_UPSERT, documents)
        except sqlite3.Error as error:
            self.close()
            self._complain(error)
            return False
        if self._complaint:
            log.info("%s can be written again", path)
            self._complaint = ""
        return True

    def _open(self, path: Path) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
            try:
                # One process only: a second one would overwrite what the first knows.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA journal_size_limit = 4194304")
                with connection:
                    connection.execute(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _complain(self, error: Exception) -> None:
        """Once for each way in which it fails."""
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if "locked" in why:
            why = "another process uses it"
        if why != self._complaint:
            self._complaint = why
            log.error("%s cannot be used: %s; state is not kept until it can", self.path, why)


def _write(name: str, kept: SavedCheck) -> str | None:
    """The document; None, and a word in the log, where the memory is none that can be kept."""
    memory: Mapping[str, Any] = kept.memory
    for attempt in (memory, {}):
        try:
            text = json.dumps(
                {
                    "kind": kept.kind,
                    "target": kept.target,
                    "state": {
                        f.name: value
                        for f in fields(CheckState)
                        if (value := getattr(kept.state, f.name)) != f.default
                    },
                    "memory": attempt,
                },
                allow_nan=False,
            )
        except (TypeError, ValueError, RecursionError) as error:
            log.error(  # noqa: TRY400  # its text may hold anything
                "check %s: its memory is not JSON (%s) and is not kept", name, type(error).__name__
            )
            continue
        if len(text) <= MEMORY_LIMIT:
            return text
        log.error(
            "check %s: its memory is larger than %d bytes and is not kept", name, MEMORY_LIMIT
        )
    return None


def _read(document: object) -> SavedCheck | None:
    try:
        read = json.loads(str(document))
        state = read.get("state", {})
        memory = read.get("memory", {})
        return SavedCheck(
            str(read["kind"]),
            str(read["target"]),
            _state(state if isinstance(state, dict) else {}),
            memory if isinstance(memory, dict) else {},
        )
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None


def _state(read: Mapping[str, Any]) -> CheckState:
    """The state as far as it can be read; the whole of it is new where it makes no sense."""
    found: dict[str, Any] = {}
    try:
        for known in fields(CheckState):
            value = read.get(known.name, read.get(_FORMER_KEYS.get(known.name, "")))
            if value is None:
                continue
            if known.name == "verdict":
                value = Verdict(value)
            elif known.name == "outcome":
                value = Outcome(value)
            elif isinstance(known.default, bool):
                value = bool(value)
            elif isinstance(known.default, int):
                value = max(0, int(value))
            else:
                value = float(value)
            found[known.name] = value
        return replace(CheckState(), **found)
    except (ValueError, TypeError, OverflowError):
        return CheckState()
