"""One run: all nodes at the same time, each by its phases. Imports the driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from probed import (
    Finding,
    HostPort,
    Outcome,
    ProbeError,
    Reason,
    Rule,
    Run,
    Tls,
    judge_certificate,
    pooled,
    record_fault,
)
from probes.mongo import operations, replica, saturation, slow
from probes.mongo.node import HELLO, Login, Node
from probes.mongo.part import CommandError, NodePart
from probes.mongo.reading import Document, number, shape
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import MongoSettings
from probes.mongo.uri import NODES, PORT

NOT_REPLICATED = {76, 94}
"""NoReplicationEnabled, NotYetInitialized."""
_SERVING = {"standalone", "primary", "mongos"}
_REACHING = ("connect.", "dns.", "timeout.")
_OF_ONE = {MongoReason.TIMEOUT, MongoReason.SHUTTING_DOWN, MongoReason.STATE}


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """Whom to ask, and as whom."""

    nodes: tuple[HostPort, ...]
    login: Login
    tls: Tls | None

    def key(self, node: HostPort) -> tuple[object, ...]:
        tls = self.tls
        return ("mongo", str(node), self.login, tls and (tls.options, tls.server_name))


async def plan(settings: MongoSettings, run: Run) -> Plan:
    """The nodes: as written, or as the SRV records say. Raises ProbeError `dns.*`."""
    uri = settings.connection
    nodes, source = uri.nodes, uri.options.get("authSource", "")
    tls = settings.encryption
    if uri.srv:
        nodes = await _srv(run, uri.srv, uri.options.get("srvServiceName", "mongodb"))
        source = source or await _source(run, uri.srv)
    password = settings.password
    if uri.password and uri.password in run.clean(uri.password):
        run.redactor.learn([uri.password])  # what was read as a secret is the whole string
    username = settings.username or uri.username
    return Plan(
        nodes,
        Login(
            username,
            uri.password if password is None else password.get_secret_value(),
            source or uri.database or "admin",
            uri.options.get("authMechanism", ""),
        ),
        tls,
    )


async def _srv(run: Run, name: str, service: str) -> tuple[HostPort, ...]:
    with run.phase("resolve"):
        records = await run.network.resolver.query(f"_{service}._tcp.{name}", "SRV")
    domain = name.partition(".")[2].rstrip(".").lower()
    nodes = []
    for record in records:
        parts = record.split()
        host = parts[3].rstrip(".").lower() if len(parts) == 4 else ""
        if not host.endswith(f".{domain}"):
            # Initial DNS Seedlist Discovery: others could lead our password elsewhere.
            raise ProbeError(Reason.DNS_MISMATCH, "An SRV record leads out of the domain.")
        nodes.append(HostPort(host, int(parts[2]) or PORT))
    return tuple(sorted(dict.fromkeys(nodes), key=str)[:NODES])


async def _source(run: Run, name: str) -> str:
    """The authSource that the TXT record gives; it may give that and replicaSet, no more."""
    try:
        with run.phase("resolve"):
            records = await run.network.resolver.query(name, "TXT")
    except ProbeError:
        return ""
    for option in "".join(records[0].split('"')[1::2]).split("&") if records else ():
        key, _, value = option.partition("=")
        if key.lower() == "authsource":
            return value
    return ""


async def run_round(settings: MongoSettings, run: Run) -> None:
    """Ask all nodes, judge each, then the set that they are."""
    planned = await plan(settings, run)
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
    planned = await plan(settings, run)
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
