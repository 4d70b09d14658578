"""`$currentOp`: how many operations run, for how long, and who waits for a lock.

One document of counts comes back; of the longest, what stands in `SHOWN`: no query, no user, no client
ever leaves the server. Fields after
https://www.mongodb.com/docs/manual/reference/operator/aggregation/currentOp/.
"""

from __future__ import annotations

from typing import Any

from probed import Duration, outcome_of
from probes.mongo import measures
from probes.mongo.part import Call, NodePart, SendCommand, more
from probes.mongo.reading import Document, count, documents, text
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import Active, LockWaiters, Longest, LongRunning

RIGHT = "see all operations (action inprog on {cluster: true})"
SHOWN = ("opid", "op", "ns", "secs_running", "planSummary", "waitingForLock")
"""Of the longest operations. `desc` and `appName` are free text of clients."""
LONGEST = 5
_ERA: dict[str, Any] = {"$ifNull": ["$secs_running", 0]}  # missing of what has just begun
_CLIENT = {"$ifNull": ["$client", {"$ifNull": ["$client_s", None]}]}  # client_s on mongos


def _source(*, mongos: bool) -> list[dict[str, Any]]:
    ours = {"appName": {"$ne": "probed"}}
    # Heartbeats of drivers wait for up to 10 s for something to change.
    waits = {f"command.{name}": {"$exists": False} for name in ("hello", "isMaster", "ismaster")}
    options = {"allUsers": True, "idleConnections": False, "idleCursors": False,
               "idleSessions": False}  # fmt: skip
    if mongos:
        options["localOps"] = True  # else it asks every shard
    return [{"$currentOp": options}, {"$match": {"active": True, **ours, **waits}}]


def counts(long_after: float, *, mongos: bool) -> Call:
    group = {
        "_id": {"$cond": [{"$ne": [_CLIENT, None]}, "user", "system"]},
        "n": {"$sum": 1},
        "long": {"$sum": {"$cond": [{"$gte": [_ERA, long_after]}, 1, 0]}},
        "max_s": {"$max": _ERA},
        "waiting": {"$sum": {"$cond": [{"$eq": ["$waitingForLock", True]}, 1, 0]}},
    }
    return _aggregate([*_source(mongos=mongos), {"$group": group}])


def longest(long_after: float, *, mongos: bool) -> Call:
    return _aggregate([
        *_source(mongos=mongos),
        {"$match": {"secs_running": {"$gte": long_after},
                    "$or": [{"client": {"$exists": True}}, {"client_s": {"$exists": True}}]}},
        {"$sort": {"secs_running": -1}},
        {"$limit": LONGEST},
        {"$project": dict.fromkeys(SHOWN, 1)},
    ])  # fmt: skip


def _aggregate(pipeline: list[dict[str, Any]]) -> Call:
    return Call(
        "admin",
        {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 100}, "comment": "probed"},
        RIGHT,
    )


async def judge(
    part: NodePart,
    send: SendCommand,
    *,
    long_after: Duration,
    active: Active,
    long_running: LongRunning,
    bound: Longest,
    waiters: LockWaiters,
) -> None:
    mongos = part.role == "mongos"
    reply = await send("currentOp", counts(long_after, mongos=mongos))
    found = {text(each, "_id"): each for each in documents(reply, "cursor", "firstBatch")}
    for name in ("user", "system"):
        each = found.get(name, {})
        part.measure(measures.ACTIVE, count(each, "n") or 0, **{"class": name})
        part.measure(measures.LONG_RUNNING, count(each, "long") or 0, **{"class": name})
    users = found.get("user", {})
    running, long, longest_s, waiting = (
        count(users, name) or 0.0 for name in ("n", "long", "max_s", "waiting")
    )
    part.measure(measures.LONGEST, longest_s)
    part.measure(measures.LOCK_WAITING, waiting)
    part.judge(
        running, active, MongoReason.ACTIVE,
        lambda most: f"{running:.0f} operations run at once, more than {most:g}.",
    )  # fmt: skip
    part.judge(
        waiting, waiters, MongoReason.LOCK_WAITERS,
        lambda most: f"{waiting:.0f} operations wait for locks, more than {most:g}.",
    )  # fmt: skip
    if not long:
        return
    told = f"{long:.0f} operations have run for {long_after:g} s and longer, the longest for {longest_s:.0f} s."
    if long == 1:
        told = f"An operation has run for {longest_s:.0f} s."
    before = len(part.run.findings)
    part.judge(long, long_running, MongoReason.LONG_RUNNING, lambda _: told)
    part.judge(longest_s, bound, MongoReason.LONG_RUNNING, lambda _: told)
    long_found = part.run.findings[before:]
    if not long_found:
        return
    level = outcome_of(long_found)
    shown = await more(send, "currentOp/longest", longest(long_after, mongos=mongos))
    evidence = {str(at): _line(each) for at, each in enumerate(shown, 1)}
    kills = [line for each in shown if (line := _kill(each))]
    del part.run.findings[before:]
    part.find(level, MongoReason.LONG_RUNNING, told, {**evidence, "to end them": kills})


def _line(operation: Document) -> str:
    seconds = count(operation, "secs_running") or 0
    parts = [f"{seconds:.0f} s", text(operation, "op"), text(operation, "ns")]
    parts += [text(operation, "planSummary")]
    parts += ["waits for a lock"] if operation.get("waitingForLock") is True else []
    return "  ".join(filter(None, parts))


def _kill(operation: Document) -> str:
    """The line to paste; probed itself never kills. On mongos an opid is text."""
    opid = operation.get("opid")
    if isinstance(opid, int) and not isinstance(opid, bool):
        return f"db.killOp({opid})"
    shard, _, number = opid.partition(":") if isinstance(opid, str) else ("", "", "")
    if number.isdigit() and shard.replace("-", "").replace("_", "").isalnum():
        return f'db.killOp("{shard}:{number}")'
    return ""
