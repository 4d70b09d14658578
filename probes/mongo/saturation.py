"""`serverStatus`: connections, tickets and queues.

Fields after https://www.mongodb.com/docs/manual/reference/command/serverStatus/ and SERVER-104811
(`rejected`, `queued`); where tickets stand moved from 6 and 7 (`wiredTiger`) to 8 (`queues`). No real
server could be asked: `probed check NAME --dump-shapes` shows what yours replies.
"""

from __future__ import annotations

from typing import Any

from probed import Outcome
from probes.mongo import measures
from probes.mongo.part import Call, NodePart, SendCommand
from probes.mongo.reading import Document, at, count
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import Connections

EIGHT = 25
"""maxWireVersion of MongoDB 8.0."""
RECENT_MS = 60_000
"""How long rejected connections count, so that a confirming run sees them too."""
_OFF = (
    "asserts", "batchedDeletes", "bucketCatalog", "catalogStats", "changeStreamPreImages", "defaultRWConcern",
    "electionMetrics", "encryptionAtRest", "extra_info", "featureCompatibilityVersion", "flowControl",
    "indexBulkBuilder", "indexStats", "locks", "logicalSessionRecordCache", "mem", "metrics", "network",
    "opLatencies", "opReadConcernCounters", "opWriteConcernCounters", "opWorkingTime", "opcounters",
    "opcountersRepl", "oplogTruncation", "planCache", "queryAnalyzers", "queryStats", "readConcernCounters",
    "readPreferenceCounters", "repl", "scramCache", "security", "shardedIndexConsistency",
    "shardingStatistics", "spillWiredTiger", "storageEngine", "tcmalloc", "tenantMigrations", "transactions",
    "transportSecurity", "twoPhaseCommitCoordinator", "watchdog", "writeBacksQueued", "profiler",
)  # fmt: skip
"""Sections that nobody here reads. What a server does not know it passes over."""


def command(wire: float) -> Call:
    off = [*_OFF, *(["wiredTiger"] if wire >= EIGHT else [])]
    return Call(
        "admin",
        {"serverStatus": 1, **dict.fromkeys(off, 0)},
        "run serverStatus (action serverStatus on {cluster: true})",
    )


async def judge(part: NodePart, send: SendCommand, bounds: Connections) -> None:
    status = await send("serverStatus", command(count(part.hello, "maxWireVersion") or 0))
    part.measure(measures.UPTIME, count(status, "uptimeMillis"))
    _connections(part, status, bounds)
    _rejected(part, status)
    _tickets(part, status)


def _connections(part: NodePart, status: Document, bounds: Connections) -> None:
    current, available = (count(status, "connections", name) for name in ("current", "available"))
    active = count(status, "connections", "active")
    if current is None or available is None:
        part.find(Outcome.UNKNOWN, MongoReason.CONNECTIONS_UNKNOWN)
        return
    # An imitation (SecantusDB says so) that counts no limit would read as exhausted.
    counts = available > 0 or (current >= 100 and "secantus" not in status)
    part.measure(measures.CONNECTIONS, current, type="current")
    part.measure(measures.CONNECTIONS, active, type="active")
    if not counts:
        if "secantus" not in status:
            part.find(
                Outcome.UNKNOWN,
                MongoReason.CONNECTIONS_UNKNOWN,
                f"The server says that 0 connections are available beside {current:.0f}: its limit "
                "is reached, or it does not count them.",
            )
        return
    part.measure(measures.CONNECTIONS, available, type="available")
    waiting = sum(
        count(status, "connections", name) or 0 for name in ("queued", "queuedForEstablishment")
    )
    used = current / (current + available + waiting)
    part.measure(measures.UTILIZATION, used)
    evidence = {"current": current, "available": available, "active": active, "queued": waiting}
    part.judge(
        used,
        bounds,
        MongoReason.CONNECTIONS,
        lambda bound: (
            f"{used:.0%} of the connections are in use ({current:.0f}, and "
            f"{available:.0f} are free), more than {bound:.0%}."
        ),
        evidence,
    )


def _rejected(part: NodePart, status: Document) -> None:
    """Rejected since the run before; a server that was restarted counts from 0."""
    total = count(status, "connections", "rejected")
    uptime = count(status, "uptimeMillis")
    if total is None or uptime is None:
        return
    saved = part.memory.get("rejected")
    known = saved if isinstance(saved, dict) else {}
    before, up_before = count(known, "total"), count(known, "uptime")
    if before is None or up_before is None:
        more = 0.0
    else:
        more = total - before if uptime >= up_before and total >= before else total
    part.measure(measures.REJECTED, more)
    last = uptime if more else count(known, "last")
    part.memory["rejected"] = {"total": total, "uptime": uptime, "last": last}
    if last is not None and 0 <= uptime - last < RECENT_MS:
        part.find(
            Outcome.FAILED,
            MongoReason.REJECTED,
            evidence={"since the start": total, "since the last run": more},
        )


def _tickets(part: NodePart, status: Document) -> None:
    waiting = count(status, "globalLock", "currentQueue", "total")
    part.measure(measures.QUEUE, waiting)
    pools: Any = at(status, "queues", "execution") or at(
        status, "wiredTiger", "concurrentTransactions"
    )
    used_up = []
    for kind in ("read", "write"):
        free = count(pools, kind, "available")
        part.measure(measures.TICKETS, free, type=kind)
        if free == 0:
            used_up.append(kind)
        waiting = (waiting or 0) + (count(pools, kind, "normalPriority", "queueLength") or 0)
    before, part.memory["used_up"] = part.memory.get("used_up"), bool(used_up and waiting)
    if used_up and waiting and before is True:
        part.find(
            Outcome.DEGRADED,
            MongoReason.TICKETS,
            f"No {' and '.join(used_up)} tickets are left, and {waiting:.0f} operations wait, for "
            "two runs now.",
        )
