"""The events that the application has processed, read over HTTP, from MongoDB or from SQL.

The libraries of databases are loaded by the first run that needs them, in a thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread

from probed import ProbeError, Reason, Request
from probes.gateway.paths import JsonPath
from probes.stripe.drift_settings import HttpSource, MongoSource, Source, SqlSource
from probes.stripe.reasons import StripeReason
from probes.stripe.step import Step

MILLISECONDS = 1e11
"""A time that is greater is in milliseconds."""
CONNECTIONS = CapacityLimiter(4)
"""Threads that wait for databases; those of a database that hangs count until it lets go."""

PATIENCE = 0.8
"""The part of its time for which a library is told to wait: it takes some to let go."""


@dataclass(frozen=True, slots=True)
class Processed:
    """The application's state: when the last event that it has processed was created (seconds since
    the epoch; None where it has processed none), and how many subscriptions are active to it (None
    where it was not asked).
    """

    last: float | None
    active: float | None


def reader(source: Source, step: Step, seconds: float) -> Callable[[], Awaitable[Processed]]:
    """Return a function that reads the source within that many seconds. It raises OSError,
    ssl.SSLError or ProbeError.
    """
    if isinstance(source, HttpSource):
        return partial(_over_http, source, step)
    if isinstance(source, MongoSource):
        return partial(_in_mongo, source, step)
    return partial(_in_sql, source, step, PATIENCE * seconds)


async def _over_http(source: HttpSource, step: Step) -> Processed:
    answer = await step.fetch(Request(source.url, headers=source.headers, tls=source.tls))
    step.run.evidence = {"status": answer.status}
    if answer.status != 200:
        raise ProbeError(Reason.HTTP_STATUS, f"The application answers {answer.status}.")
    try:
        told = None if answer.truncated or answer.undecoded else json.loads(answer.body)
    except (ValueError, RecursionError):
        told = None
    if told is None:
        raise ProbeError(Reason.HTTP_NOT_JSON, "The application's answer is no JSON.")
    last = _time(_at(told, source.last_event))
    return Processed(last, None if source.active is None else _count(_at(told, source.active)))


def _at(told: Any, path: JsonPath) -> Any:
    found = path.find(told)
    if not found:
        raise ProbeError(StripeReason.SYNC_UNKNOWN, f"There is nothing at {path} of the answer.")
    return found[0]


async def _in_mongo(source: MongoSource, step: Step) -> Processed:
    # The driver takes 0.2 s to load.
    books = await to_thread.run_sync(import_module, "probes.stripe.mongo_books")
    last, active = await books.read(source, step.run)
    return Processed(_time(last), None if active is None else float(active))


async def _in_sql(source: SqlSource, step: Step, patience: float) -> Processed:
    """In a thread: libraries of databases look at files and block where they like. One that does not
    come back is left alone.
    """
    dsn = source.dsn.get_secret_value()
    if source.library == "psycopg":
        library = await to_thread.run_sync(_library, source.library)
        dsn = await _with_addresses(step, library, dsn)
    query = partial(_query_sql, source, dsn, patience)
    with step.run.phase("query"):
        return await to_thread.run_sync(query, abandon_on_cancel=True, limiter=CONNECTIONS)


async def _with_addresses(step: Step, library: ModuleType, dsn: str) -> str:
    """Return the connection string with the addresses that the library may dial: libpq looks no name up
    that has a `hostaddr`, and still verifies the certificate for `host`. Raises ProbeError.
    """
    try:
        given = library.conninfo.conninfo_to_dict(dsn)
    except library.Error as error:
        raise _unknown(error) from None
    hosts = str(given.get("host") or os.environ.get("PGHOST", "")).split(",")
    known = str(given.get("hostaddr") or os.environ.get("PGHOSTADDR", "")).split(",")
    ports = str(given.get("port") or os.environ.get("PGPORT", "5432")).split(",")
    if hosts == known == [""]:
        if "service" in given or "PGSERVICE" in os.environ:
            raise ProbeError(StripeReason.SYNC_UNKNOWN, "The dsn must name its host.")
        return dsn  # the unix socket of the library
    rows: list[tuple[str, str, str]] = []
    for at in range(max(len(hosts), len(known))):
        host, address = (part[at] if at < len(part) else "" for part in (hosts, known))
        port = ports[at] if at < len(ports) else ports[0]
        if host.startswith(("/", "@")) and not address:
            rows.append((host, "", port))
            continue
        with step.run.phase("resolve"):
            found = await step.run.network.addresses(address or host or "localhost")
        rows += [(host, each, port) for each in found]
    named, addressed, ported = (",".join(column) for column in zip(*rows, strict=True))
    changed = {"hostaddr": addressed, "port": ported} | ({"host": named} if any(hosts) else {})
    return str(library.conninfo.make_conninfo(dsn, **changed))


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise ProbeError(
            StripeReason.SYNC_UNKNOWN,
            f"The library {name.partition('.')[0]} is not installed: pip install {name.partition('.')[0]}.",
        ) from None


def _query_sql(source: SqlSource, dsn: str, timeout: float) -> Processed:
    """By PEP 249, in a connection that may only read."""
    module = _library(source.library)
    try:
        if source.library == "sqlite3":
            path = f"file:{quote(dsn)}?mode=ro"
            connection = module.connect(path, uri=True, timeout=timeout)
        else:
            connection = module.connect(dsn, connect_timeout=max(2, int(timeout)))
            connection.read_only = True
            # A query that takes too long ends there too, and is no load on what it asks.
            connection.execute(f"set statement_timeout = {max(1, int(timeout * 1000))}")
        with closing(connection):
            last = _time(_single(connection, source.last_event))
            active = None if source.active is None else _count(_single(connection, source.active))
            return Processed(last, active)
    except (module.Error, ValueError, ArithmeticError) as error:  # also of values it cannot read
        raise _unknown(error) from None


def _single(connection: Any, query: str) -> Any:
    with closing(connection.cursor()) as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return row[0] if row else None


def _unknown(error: Exception) -> ProbeError:
    """Its text may hold anything, a password too: its type does not."""
    message = f"The application's database could not be asked: {type(error).__name__}."
    return ProbeError(StripeReason.SYNC_UNKNOWN, message)


def _time(value: Any) -> float | None:
    """Seconds since the epoch of what an application may call a time: seconds, milliseconds, RFC 3339,
    or what its database makes of it; without a zone it is in UTC.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value) if value.isdecimal() else datetime.fromisoformat(value[:64])
        except (ValueError, OverflowError):
            value = "not a time"
    if isinstance(value, date):
        moment = (
            value if isinstance(value, datetime) else datetime(*value.timetuple()[:3], tzinfo=UTC)
        )
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp()
    number = _number(value, 1e15)
    if number is not None:
        return number / 1000 if number > MILLISECONDS else number
    raise ProbeError(StripeReason.SYNC_UNKNOWN, "What the application says is no time.")


def _count(value: Any) -> float:
    number = _number(value, 1e12)
    if number is None:
        raise ProbeError(StripeReason.SYNC_UNKNOWN, "What the application says is no count.")
    return number


def _number(value: Any, most: float) -> float | None:
    """Return the value if it is a number from 0 to below `most`. A Decimal that is NaN is not even
    comparable.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    return float(value) if 0 <= value < most else None
