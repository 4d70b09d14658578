"""`replSetGetStatus`: the node's own state, the members' health, a primary, a majority, lag.

Fields and states after https://www.mongodb.com/docs/manual/reference/command/replSetGetStatus/. The
numeric state counts: its text is decorated ("(not reachable/healthy)").
"""

from __future__ import annotations

from collections.abc import Sequence

from probed import Outcome
from probes.mongo import measures
from probes.mongo.part import Call, NodePart, SendCommand
from probes.mongo.reading import Document, count, documents, milliseconds, number, text
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import Lag

CALL = Call(
    "admin",
    {"replSetGetStatus": 1},
    "run replSetGetStatus (action replSetGetStatus on {cluster: true})",
)
STATES = ("startup", "primary", "secondary", "recovering", "startup2", "unknown", "arbiter", "down",
          "rollback", "removed")  # fmt: skip
"""By number; 4 has no meaning any more, and 5 is STARTUP2."""
_BY_NUMBER = {0: "startup", 1: "primary", 2: "secondary", 3: "recovering", 5: "startup2",
              6: "unknown", 7: "arbiter", 8: "down", 9: "rollback", 10: "removed"}  # fmt: skip
_SERVES_NOBODY = {"recovering", "unknown", "down", "rollback", "removed"}


async def look(part: NodePart, send: SendCommand) -> None:
    """Measure, and judge the node's own state; the set is judged once for all nodes."""
    status = await send("replSetGetStatus", CALL)
    part.members = status
    members = documents(status, "members")
    seen = [_state(member) for member in members]
    state_here = _BY_NUMBER.get(int(number(status, "myState") or 6), "unknown")
    for state in STATES:
        part.measure(measures.MEMBERS, seen.count(state), mongodb__replica_set__member__state=state)
        part.measure(
            measures.STATUS, int(state_here == state), mongodb__replica_set__member__state=state
        )
    for name, kind, seconds in lags(members):
        part.measure(
            measures.LAG,
            seconds,
            mongodb__replica_set__member__name=name,
            mongodb__replica_set__lag__type=kind,
        )
    if state_here in _SERVES_NOBODY:
        part.find(Outcome.FAILED, MongoReason.STATE, f"The member's state is {state_here.upper()}.")


def lags(members: Sequence[Document]) -> list[tuple[str, str, float]]:
    """Name, type (applied, durable) and seconds for each secondary; none where no primary is seen."""
    primaries = [member for member in members if _state(member) == "primary"]
    if len(primaries) != 1:
        return []
    found = []
    for member in members:
        if _state(member) != "secondary" or number(member, "health") == 0:
            continue
        for kind, fields in (
            ("applied", ("lastAppliedWallTime", "optimeDate")),
            ("durable", ("lastDurableWallTime", "optimeDurableDate")),
        ):
            # What was made durable is compared with what the primary has applied.
            theirs = _first(member, fields)
            ours = _first(primaries[0], ("lastAppliedWallTime", "optimeDate"))
            if theirs is not None and ours is not None:
                name = text(member, "name")[:128]
                found.append((name, kind, max(0.0, (ours - theirs) / 1000)))
    return found


def _first(member: Document, fields: Sequence[str]) -> int | None:
    dates = (milliseconds(member, name) for name in fields)
    return next((date for date in dates if date is not None), None)


def _state(member: Document) -> str:
    return _BY_NUMBER.get(int(number(member, "state") or 0), "unknown")


def judge(parts: Sequence[NodePart], bounds: Lag, delayed: Sequence[str]) -> None:
    """Judge the set by what its primary says, or else by the first member that says anything."""
    views = [part for part in parts if part.members is not None]
    if not views:
        return
    part = next((view for view in views if view.role == "primary"), views[0])
    members = documents(part.members, "members")
    names = {state: [_name(m) for m in members if _state(m) == state] for state in STATES}
    shown = {state: found for state, found in names.items() if found}
    if not names["primary"]:
        part.find(Outcome.FAILED, MongoReason.NO_PRIMARY, evidence=shown)
    down = [_name(member) for member in members if number(member, "health") == 0]
    if down:
        part.find(
            Outcome.DEGRADED,
            MongoReason.MEMBER_DOWN,
            f"Members of the replica set cannot be reached: {', '.join(down)}.",
            shown,
        )
    _majority(part, members)
    for name, kind, seconds in lags(members):
        if kind == "applied" and name not in delayed:
            part.judge(
                seconds, bounds, MongoReason.LAG,
                lambda most, name=name, seconds=seconds: (  # type: ignore[misc]
                    f"{name} is {seconds:.0f} s behind the primary, more than {most:g} s."
                ),
            )  # fmt: skip


def _majority(part: NodePart, members: Sequence[Document]) -> None:
    """Votes stand in the configuration, which takes another right: with members that have none, as
    many of the healthy ones as can vote are taken to do so.
    """
    voters = int(count(part.members, "votingMembersCount") or len(members))
    majority = int(count(part.members, "majorityVoteCount") or voters // 2 + 1)
    healthy = min(voters, sum(1 for member in members if number(member, "health") != 0))
    evidence = {"healthy": healthy, "voting": voters, "majority": majority}
    if healthy < majority:
        part.find(Outcome.FAILED, MongoReason.NO_MAJORITY, evidence=evidence)
    elif healthy == majority and healthy < voters:
        part.find(Outcome.DEGRADED, MongoReason.NO_REDUNDANCY, evidence=evidence)


def _name(member: Document) -> str:
    return text(member, "name")[:128] or "?"
