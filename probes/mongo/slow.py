"""`system.profile`: slow operations, each counted exactly once, or said to be counted in part.

The window is half open and on the server's clock, `(lo, hi]`; `lo` is remembered. `ts` is the wall clock
when the entry is written, which is when the operation ended (src/mongo/db/introspect.cpp); entries may
be written a little out of order, so `hi` is a second ago. The threshold is ours: what the profiler
records is only looked at for whether it records enough. Rules on `profile` after
https://www.mongodb.com/docs/manual/reference/command/profile/ and profile_common.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from bson.datetime_ms import DatetimeMS

from probed import Outcome, ProbeError
from probes.mongo import measures
from probes.mongo.part import Call, CommandError, Lost, NodePart, SendCommand, more
from probes.mongo.reading import Document, count, documents, milliseconds, text
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import SlowOperations

SETTLE_MS = 1000
BACK_MS = 60_000
"""The server's clock went back by more: where we were means nothing any more."""
RECENT_MS = 60_000
SEEN = 20
TOP = 5
BUDGET = 0.5
EIGHT = 25
BACK_OFF = 10
"""Runs of which one looks, where looking has taken too long twice in a row."""
ROLLS_OVER = 500
"""Entries that a collection which was empty before may have, and still hold all of them: 1 MiB, the
default, holds a thousand and more. [not verified on a real server]
"""
_COVERAGES = ("complete", "partial", "unknown")


def profile(database: str) -> Call:
    right = f"read the profiler's level (action find on {database}.system.profile)"
    return Call(database, {"profile": -1}, right, BUDGET)


def _counted(database: str, lo: int, hi: int, slow_ms: float) -> dict[str, Any]:
    """The expression that is true of a slow operation in the window that is not ours."""
    return {"$and": [
        {"$gt": ["$ts", DatetimeMS(lo)]},
        {"$lte": ["$ts", DatetimeMS(hi)]},
        {"$gt": ["$millis", slow_ms]},
        {"$ne": ["$appName", "probed"]},
        {"$ne": ["$ns", f"{database}.system.profile"]},
    ]}  # fmt: skip


def counts(database: str, lo: int, hi: int, slow_ms: float) -> Call:
    slow = _counted(database, lo, hi, slow_ms)
    return _aggregate(database, [{"$group": {
        "_id": None,
        "docs": {"$sum": 1},
        "oldest": {"$min": "$ts"},
        "slow": {"$sum": {"$cond": [slow, 1, 0]}},
        "max": {"$max": {"$cond": [slow, "$millis", 0]}},
    }}])  # fmt: skip


def shapes(database: str, lo: int, hi: int, slow_ms: float) -> Call:
    """The worst of them by shape. Of an entry nothing else than these fields is read, on the server."""
    hashes = {"$ifNull": ["$queryShapeHash", {"$ifNull": ["$planCacheShapeHash", "$queryHash"]}]}
    return _aggregate(database, [
        {"$match": {"$expr": _counted(database, lo, hi, slow_ms)}},
        {"$group": {
            "_id": {"ns": "$ns", "op": "$op", "plan": "$planSummary", "hash": hashes},
            "n": {"$sum": 1}, "max": {"$max": "$millis"}, "total": {"$sum": "$millis"},
        }},
        {"$sort": {"total": -1}},
        {"$limit": TOP},
    ])  # fmt: skip


def _aggregate(database: str, pipeline: list[dict[str, Any]]) -> Call:
    return Call(
        database,
        {"aggregate": "system.profile", "pipeline": pipeline, "cursor": {"batchSize": 100},
         "comment": "probed"},
        f"read the profile (action find on {database}.system.profile)",
        BUDGET,
        "system.profile",
    )  # fmt: skip


class SlowOps:
    """Looks at one database of one node."""

    def __init__(
        self,
        part: NodePart,
        send: SendCommand,
        database: str,
        slow_s: float,
        bounds: SlowOperations,
    ) -> None:
        self._part = part
        self._send = send
        self._database = database
        self._slow_ms = slow_s * 1000
        self._bounds = bounds
        known = part.memory.get("slow")
        databases: dict[str, Any] = known if isinstance(known, dict) else {}
        part.memory["slow"] = databases
        saved = databases.get(database)
        self._memory: MutableMapping[str, Any] = saved if isinstance(saved, dict) else {}
        databases[database] = self._memory

    async def judge(self) -> None:
        """Count and judge. Only a lost connection is raised; an error is found of this database."""
        if self._part.role == "mongos":
            self._unknown("mongos has no profiler: add the members of the shards as checks.")
            return
        try:
            level = await self._send(f"profile/{self._database}", profile(self._database))
        except CommandError as error:
            self._cover("unknown")
            self._part.find(error.level, error.reason, f"{self._database}: {error.message}")
            return
        was = count(level, "was")
        self._measure(measures.LEVEL, was)
        if not was:
            # What is recorded already is counted when it is switched on again.
            self._unknown(
                f"The profiler of {self._database} is off: "
                f"db.setProfilingLevel(1, {{slowms: {self._slow_ms:g}}}) switches it on."
            )
            return
        await self._count(self._limits(level, was))

    def _limits(self, level: Document, was: float) -> list[str]:
        """Why not every slow operation is recorded."""
        found = []
        slow_ms, rate = count(level, "slowms"), count(level, "sampleRate")
        if level.get("filter") is not None:
            found.append("a filter decides what is recorded")
        elif was == 1:
            if slow_ms is not None and slow_ms > self._slow_ms:
                found.append(f"slowms is {slow_ms:g}")
            if (count(self._part.hello, "maxWireVersion") or 0) >= EIGHT:
                # 8.0 release notes, SERVER-85625.
                found.append("from 8.0 on, waiting for locks does not count")
        if rate is not None and rate < 1 and level.get("filter") is None:
            found.append(f"sampleRate is {rate:g}")
        return found

    async def _count(self, limits: list[str]) -> None:
        now = milliseconds(self._part.hello, "localTime")
        if now is None:
            self._unknown("The server does not say what time it has.")
            return
        hi = now - SETTLE_MS
        lo = self._start(hi)
        if self._rests():
            self._partial(["looking takes too long: it is done in one run of ten"])
            return
        if hi < lo:
            return  # its clock went back a little: the next window begins where the last one ended
        call = counts(self._database, lo, hi, self._slow_ms)
        try:
            reply = await self._send(f"system.profile/{self._database}", call)
        except (CommandError, Lost) as error:
            self._failed(error)
            return
        self._memory.pop("late", None)
        found: Document = next(iter(documents(reply, "cursor", "firstBatch")), {})
        if self._rolled_over(found, lo):
            limits = [*limits, "entries were overwritten before they were counted"]
        slow = int(count(found, "slow") or 0)
        self._memory["lo"] = hi
        self._measure(measures.SLOW, slow)
        self._measure(measures.SLOWEST, (count(found, "max") or 0.0) / 1000)
        await self._judge(slow, lo, hi)
        if limits:
            self._partial(limits)
        else:
            self._cover("complete")

    def _start(self, hi: int) -> int:
        """Where the window begins: at its end the first time, and where the clock went far back."""
        lo = count(self._memory, "lo")
        if lo is None or hi < lo - BACK_MS:
            self._memory.clear()
            self._memory["lo"] = hi
            return hi
        return int(lo)

    def _rests(self) -> bool:
        late, runs = (count(self._memory, name) or 0 for name in ("late", "rested"))
        if late < 2 or runs >= BACK_OFF - 1:
            self._memory.pop("rested", None)
            return False
        self._memory["rested"] = runs + 1
        return True

    def _failed(self, error: ProbeError) -> None:
        if error.reason is MongoReason.TIMEOUT:
            self._memory["late"] = (count(self._memory, "late") or 0) + 1
            self._partial(["looking through system.profile takes too long: it is too large"])
            return
        if isinstance(error, Lost):
            raise error
        self._cover("unknown")
        self._part.find(error.level, error.reason, f"{self._database}: {error.message}")

    def _rolled_over(self, found: Document, lo: int) -> bool:
        """Whether entries after `lo` may be gone: the oldest is younger, and it was another one."""
        oldest, entries = milliseconds(found, "oldest"), int(count(found, "docs") or 0)
        first = "oldest" not in self._memory
        before = count(self._memory, "oldest")
        self._memory["oldest"] = oldest
        if first or oldest is None or oldest <= lo or before == oldest:
            return False
        return before is not None or entries >= ROLLS_OVER

    async def _judge(self, slow: int, lo: int, hi: int) -> None:
        """Judge what was seen in the last minute, so that a confirming run sees it too."""
        recent = [each for each in _pairs(self._memory.get("recent")) if hi - each[0] < RECENT_MS]
        if slow:
            recent.append((hi, slow))
        self._memory["recent"] = [list(each) for each in recent[-SEEN:]]
        total = sum(number for _, number in recent)
        if self._bounds.crossed(total) is None:
            return
        begin = min([lo, hi - RECENT_MS]) if slow else hi - RECENT_MS
        call = shapes(self._database, begin, hi, self._slow_ms)
        found = await more(self._send, f"system.profile/{self._database}/shapes", call)
        worst = {str(at): _line(each) for at, each in enumerate(found, 1)}
        self._part.judge(
            total,
            self._bounds,
            MongoReason.SLOW_OPS,
            lambda most: (
                f"{self._database} has had {total} operations of more than "
                f"{self._slow_ms:g} ms, more than {most:g}."
            ),
            worst,
        )

    def _unknown(self, message: str) -> None:
        self._cover("unknown")
        self._part.find(Outcome.UNKNOWN, MongoReason.SLOW_OPS_UNKNOWN, message)

    def _partial(self, why: list[str]) -> None:
        self._cover("partial")
        self._part.find(
            Outcome.OK,
            MongoReason.SLOW_OPS_PARTIAL,
            f"Not every slow operation of {self._database} is counted: {'; '.join(why)}.",
        )

    def _cover(self, coverage: str) -> None:
        for each in _COVERAGES:
            self._measure(measures.COVERAGE, int(each == coverage), coverage=each)

    def _measure(self, measure: Any, value: float | None, **attributes: str) -> None:
        self._part.measure(measure, value, db__namespace=self._database, **attributes)


def _pairs(saved: object) -> list[tuple[int, int]]:
    """Return the pairs stored as `[[end of the window in ms, slow operations], …]`."""
    if not isinstance(saved, list):
        return []
    return [
        (each[0], each[1])
        for each in saved
        if isinstance(each, list) and len(each) == 2 and all(type(part) is int for part in each)
    ]


def _line(found: Mapping[str, Any]) -> str:
    number, most = (count(found, name) or 0 for name in ("n", "max"))
    parts = [f"{number:.0f}x", f"{most:.0f} ms at most"]
    parts += [text(found, "_id", name) for name in ("op", "ns", "plan")]
    hashed = text(found, "_id", "hash")
    return "  ".join(filter(None, [*parts, f"hash {hashed}" if hashed else ""]))
