"""One run: all nodes at the same time, each by its phases. Imports the driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio

from probed import (
    Finding,
    Outcome,
    ProbeError,
    Rule,
    Run,
    judge_certificate,
    pooled,
    record_fault,
)
from probes.mongo import operations, replica, saturation, slow
from probes.mongo.node import HELLO, Node
from probes.mongo.part import CommandError, NodePart
from probes.mongo.reading import Document, number, shape
from probes.mongo.reasons import MongoReason
from probes.mongo.seeds import Plan, plan
from probes.mongo.settings import MongoSettings

NOT_REPLICATED = {76, 94}
"""NoReplicationEnabled, NotYetInitialized."""
_SERVING = {"standalone", "primary", "mongos"}
_REACHING = ("connect.", "dns.", "timeout.")
_OF_ONE = {MongoReason.TIMEOUT, MongoReason.SHUTTING_DOWN, MongoReason.STATE}


async def run_round(settings: MongoSettings, run: Run) -> None:
    """Ask all nodes, judge each, then the set that they are."""
    planned = await _plan(settings, run)
    several = len(planned.nodes) > 1
    known = {str(node): run.memory.get(str(node)) for node in planned.nodes}
    run.memory.clear()
    run.memory.update(
        {name: each if isinstance(each, dict) else {} for name, each in known.items()}
    )
    parts = {
        str(node): NodePart(
            run.part(f"node/{node}" if several else ""), node, run.memory[str(node)]
        )
        for node in planned.nodes
    }
    async with anyio.create_task_group() as tasks:
        for part in parts.values():
            tasks.start_soon(_examine, settings, planned, part)
    replica.judge(list(parts.values()), settings.lag, settings.delayed)
    served = any(part.role in _SERVING for part in parts.values())
    rule = Rule.SOFTENED if several and served else Rule.ANY_FAILS
    named = {name if several else "": part.run for name, part in parts.items()}
    run.join(named, rule, softens=_is_of_one)
    if not several:
        run.facts.update(named[""].facts)
    judge_certificate(run, settings.certificate)


async def _plan(settings: MongoSettings, run: Run) -> Plan:
    return await plan(
        run, settings.connection, settings.encryption, settings.username or "", settings.password
    )


def _is_of_one(found: Finding) -> bool:
    """Return whether the failure is that of one node, which is no outage while another one serves."""
    of_one = found.reason.startswith(_REACHING) or found.reason in _OF_ONE
    return of_one and found.level is Outcome.FAILED


async def _examine(settings: MongoSettings, planned: Plan, part: NodePart) -> None:
    def make() -> Node:
        return Node(part.address, planned.login, planned.tls)

    async with pooled(part.run, planned.key(part.address), make) as node:
        fault = await part.run.guard(lambda: _phases(settings, part, node))
        if fault is not None:
            await node.aclose()
            record_fault(part.run, fault)


async def _phases(settings: MongoSettings, part: NodePart, node: Node) -> None:
    part.hello = await node.open(part)
    part.role = role_of(part.hello)
    part.run.fact("db.system.name", "mongodb")
    part.run.fact("probed.mongodb.role", part.role)
    send = partial(node.send, part)
    if part.role == "arbiter":  # it holds no data and no users
        return
    await _step(part, lambda: saturation.judge(part, send, settings.connections))
    await _step(
        part,
        lambda: operations.judge(
            part,
            send,
            long_after=settings.long_running_after,
            active=settings.active_operations,
            long_running=settings.long_running,
            bound=settings.longest,
            waiters=settings.lock_waiters,
        ),
    )
    if part.role != "mongos" and part.hello.get("setName"):
        await _step(part, lambda: replica.look(part, send))
    for database in settings.databases:
        await slow.SlowOps(
            part, send, database, settings.slow_above, settings.slow_operations
        ).judge()


def role_of(hello: Document) -> str:
    """Return the role that the node reports."""
    if hello.get("msg") == "isdbgrid":
        return "mongos"
    if not hello.get("setName"):
        return "standalone" if not hello.get("isreplicaset") else "other"
    if hello.get("arbiterOnly") is True:
        return "arbiter"
    if hello.get("isWritablePrimary") is True or hello.get("ismaster") is True:
        return "primary"
    return "secondary" if hello.get("secondary") is True else "other"


async def _step(part: NodePart, judge: Callable[[], Any]) -> None:
    """Record a refused command as a finding, so that the rest is still judged."""
    try:
        await judge()
    except CommandError as error:
        if error.code not in NOT_REPLICATED:
            part.find(error.level, error.reason, error.message)


async def shapes(settings: MongoSettings, run: Run) -> dict[str, Any]:
    """Keys and types of what each command replies, by node and command; no values."""
    planned = await _plan(settings, run)
    found: dict[str, Any] = {}
    for address in planned.nodes:
        node = Node(address, planned.login, planned.tls)
        part = NodePart(run.part(f"node/{address}"), address, memory={})
        try:
            hello = await node.open(part)
            mongos = role_of(hello) == "mongos"
            calls = [
                HELLO,
                saturation.command(number(hello, "maxWireVersion") or 0),
                operations.counts(0, mongos=mongos),
                operations.longest(0, mongos=mongos),
                replica.CALL,
            ]
            for database in settings.databases:
                calls += [
                    slow.profile(database),
                    slow.counts(database, 0, 1 << 40, settings.slow_above * 1000),
                    slow.shapes(database, 0, 1 << 40, 0),
                ]
            replies: dict[str, Any] = {}
            for call in calls:
                name = f"{call.operation} {call.database}"
                while name in replies:
                    name += " (again)"
                try:
                    replies[name] = shape(await node.send(part, call.operation, call))
                except ProbeError as error:
                    replies[name] = f"{error.reason}"
            found[str(address)] = replies
        finally:
            await node.aclose()
    return found
