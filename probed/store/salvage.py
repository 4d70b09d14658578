"""Reading what is left of a corrupt database.

Rows are read from both ends of each table, up to the page that is damaged. The documents of checks that
are still missing are then looked for in the raw bytes: each names its check.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

CARVED_LIMIT = 256 << 20
"""Bytes of a file that are searched for documents."""
DOCUMENT_LIMIT = 4096
"""Maximum size of a document that lies in one piece, in bytes: SQLite's page size."""
_START = re.compile(rb'\{"check": "')

_CHECKS = "SELECT name, at, document FROM checks ORDER BY rowid"
_RESULTS = "SELECT name, which, at, document FROM results ORDER BY name"
_TRANSITIONS = "SELECT name, at, document FROM transitions ORDER BY id"

Row = tuple[Any, ...]


class Salvaged(NamedTuple):
    """Rows of each table, as far as they could be read."""

    checks: Sequence[Row] = ()
    results: Sequence[Row] = ()
    transitions: Sequence[Row] = ()


def salvage(path: Path, now: float) -> Salvaged:
    """Return what can be read of the database and its log. Rows without a time get `now`, seconds since
    the epoch.
    """
    checks = _rows(path, _CHECKS, lambda row: row[0])
    known = {row[0] for row in checks}
    checks += [(name, now, text) for name, text in _carve(path).items() if name not in known]
    results = _rows(path, _RESULTS, lambda row: row[:2])
    transitions = _rows(path, _TRANSITIONS, lambda row: row)
    return Salvaged(_timed(checks, now), _timed(results, now), _timed(transitions, now))


def all_transitions(connection: sqlite3.Connection) -> list[Row]:
    """Return the rows of transitions of an open database, those that can be read."""
    with suppress(sqlite3.Error):
        return connection.execute(_TRANSITIONS).fetchall()
    return []


def insert(connection: sqlite3.Connection, rows: Salvaged) -> None:
    """Write the rows to a new database. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.executemany("INSERT OR IGNORE INTO checks VALUES (?, ?, ?)", rows.checks)
        connection.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)", rows.results)
        connection.executemany(
            "INSERT INTO transitions (name, at, document) VALUES (?, ?, ?)", rows.transitions
        )


def _rows(path: Path, query: str, key: Callable[[Row], object]) -> list[Row]:
    """Return the rows in their order, as far as they can be read from either end."""
    forward = [*_scan(path, query)]
    seen = {key(row) for row in forward}
    back = [row for row in _scan(path, f"{query} DESC") if key(row) not in seen]
    return forward + back[::-1]


def _scan(path: Path, query: str) -> Iterator[Row]:
    with (
        suppress(sqlite3.Error, MemoryError),
        closing(sqlite3.connect(path, isolation_level=None)) as database,
    ):
        database.text_factory = lambda raw: raw.decode(errors="replace")
        yield from database.execute(query)


def _timed(rows: list[Row], now: float) -> list[Row]:
    """Return the rows that have a name and a document, each with a time."""
    return [
        (*row[:-2], row[-2] if isinstance(row[-2], float | int) else now, row[-1])
        for row in rows
        if isinstance(row[0], str) and isinstance(row[-1], str)
    ]


def _carve(path: Path) -> dict[str, str]:
    """Return the latest document of each check in the raw bytes of the file and its log."""
    found: dict[str, tuple[float, str]] = {}
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            with each.open("rb") as file:
                raw = file.read(CARVED_LIMIT)
        except OSError:
            continue
        for match in _START.finditer(raw):
            piece = raw[match.start() : match.start() + DOCUMENT_LIMIT]
            read = _document(piece.decode(errors="replace"))
            if read is not None and read[1] >= found.get(read[0], (0.0, ""))[0]:
                found[read[0]] = read[1:]
    return {name: text for name, (_, text) in found.items()}


def _document(text: str) -> tuple[str, float, str] | None:
    """Return name, time of the last run and text of the document that begins here, if there is one."""
    try:
        read, end = json.JSONDecoder().raw_decode(text)
        state = read["state"]
        return str(read["check"]), float(state.get("last_run", 0.0)), text[:end]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
