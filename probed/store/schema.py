"""The schema of `state.db`, its versions, and how one version becomes the next.

`PRAGMA user_version` holds the version of the schema; the table `meta` holds `readable_from`, the oldest
version whose programs can read and write the file. Additive migrations leave it alone, so that a
program can be rolled back without losing what it knows. A breaking migration raises it: older
programs then leave the file untouched.

| Version | Since | Tables |
|---|---|---|
| 1 | 0.1 | `checks`: state and memory of each check, a JSON document |
| 2 | 0.2 | `meta`; `results`: the last result, and the last that was not ok; `transitions` |
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from probed.store.files import protect

VERSION = 2
"""The version that this program writes."""

MIGRATIONS: Sequence[Sequence[str]] = (
    ("CREATE TABLE IF NOT EXISTS checks (name TEXT PRIMARY KEY, at REAL, document TEXT)",),
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('readable_from', 1)",
        """CREATE TABLE results (
            name TEXT, which TEXT, at REAL, document TEXT, PRIMARY KEY (name, which)
        ) WITHOUT ROWID""",
        """CREATE TABLE transitions (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, document TEXT NOT NULL
        )""",
        "CREATE INDEX transitions_of_check ON transitions (name, id)",
    ),
)
"""Statements that lead from version n to n + 1, by n."""


_CORRUPT = frozenset({
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR,
})  # fmt: skip
"""Codes of a damaged file. Our statements are fixed: SQL that fails finds another schema than ours."""


def is_corrupt(error: Exception) -> bool:
    """Return whether an error of SQLite means that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _CORRUPT


class NewerError(Exception):
    """The file was written by a newer program in a form that this one cannot read."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"its schema version {version} is newer than this program, which reads versions up to {VERSION}"
        )
        self.version = version


def open_database(path: Path | None) -> sqlite3.Connection:
    """Open the file, or a database in memory, at the version of this program.

    Raises NewerError, and leaves the file as it is, where this program cannot read it; sqlite3.Error or
    OSError where it cannot be used.
    """
    if path is not None:
        if path.exists():
            _refuse_newer(path)
        protect(path)
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=0, check_same_thread=False, isolation_level=None,
    )  # fmt: skip
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        # One process only: a second one would overwrite what the first knows.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an open database to this program's version, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        version = version_of(connection)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the schema. Program 0.1 wrote version 1 without saying so."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _refuse_newer(path: Path) -> None:
    # Read-only: a program that cannot read the file must not change a byte of it.
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)
    ) as look:
        version = version_of(look)
        if version <= VERSION:
            return
        if not _is_readable(look):
            raise NewerError(version)


def _is_readable(newer: sqlite3.Connection) -> bool:
    try:
        row = newer.execute("SELECT value FROM meta WHERE key = 'readable_from'").fetchone()
    except sqlite3.OperationalError:  # a breaking version may have another table, or none
        return False
    return row is not None and isinstance(row[0], int) and row[0] <= VERSION
