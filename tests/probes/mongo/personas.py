"""Servers that speak MongoDB's real protocol and say what a test tells them to: run as a program.

SecantusDB (GPL: it is only ever run, in a process of its own) gives the wire, SCRAM, TLS, failpoints,
the profiler and capped collections. What it cannot show (`currentOp`, exhaustion, lag, roles, mongos,
replies of other versions) is laid over its handlers.

Commands are read from standard input, one extended JSON document a line; each is answered by one:

    {"start": {persona}}                    -> {"port": 40001}
    {"port": 40001, "set": {part}}          -> {}          replace these parts of the persona
    {"port": 40001, "insert": [docs], "db"} -> {}          into that database's `system.profile`
    {"port": 40001, "run": [db, command]}   -> {}          as a client would
    {"port": 40001, "counts": 1}            -> {"hello": 3, "login": 1, ...}
    {"port": 40001, "stop": 1}              -> {}

A persona has `hello` (fields to replace; null removes), `replies` and `errors` ([code, name, text]) by
command, `operations` (what `$currentOp` sees), `server` (arguments of SecantusDBServer), `user`
([name, password]: needed from then on) and `script` (commands to run on it first, as [db, command]).
In `replies` and `errors`, `$currentOp` and `system.profile` stand for the aggregations on them.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections import Counter
from typing import Any

import pymongo
from bson import json_util
from secantus import aggregate, commands
from secantus.server import SecantusDBServer

FULL = [
    "hello", "isMaster", "ismaster", "serverStatus", "replSetGetStatus", "profile", "saslStart",
    "aggregate",
]  # fmt: skip

servers: dict[int, SecantusDBServer] = {}
personas: dict[int, dict[str, Any]] = {}
counts: dict[int, Counter[str]] = {}


def main() -> None:
    for name in FULL:
        commands._HANDLERS[name] = overlaid(name, commands._HANDLERS[name])
    aggregate._STAGES["$currentOp"] = current_op
    for line in sys.stdin:
        told = json_util.loads(line, json_options=json_util.JSONOptions(tz_aware=True))
        sys.stdout.write(json_util.dumps(obey(told)) + "\n")
        sys.stdout.flush()
    os._exit(0)


def obey(told: dict[str, Any]) -> dict[str, Any]:
    if "start" in told:
        return {"port": start(told["start"])}
    port = told["port"]
    if "set" in told:
        personas[port].update(told["set"])
    elif "insert" in told:
        for each in told["insert"]:  # one by one: what comes in one batch does not roll over
            servers[port].storage.insert(told["db"], "system.profile", [each])
    elif "run" in told:
        run(port, [told["run"]])
    elif "counts" in told:
        return dict(counts[port])
    elif "stop" in told:
        stop(port)
    return {}


def start(persona: dict[str, Any]) -> int:
    server = SecantusDBServer(
        storage_path=tempfile.mkdtemp(prefix="persona-", dir=sys.argv[1]),
        **{"replica_set_name": None, "cache_size": "32M", **persona.get("server", {})},
    )
    server.start()
    port = int(server.address[1])
    servers[port], personas[port], counts[port] = server, {}, Counter()
    script = list(persona.get("script", []))
    if "user" in persona:
        name, password = persona["user"]
        create = {"createUser": name, "pwd": password, "roles": ["root"]}
        script.append(["admin", {**create, "mechanisms": ["SCRAM-SHA-256"]}])
    run(port, script)
    server.require_auth = "user" in persona
    counts[port].clear()
    personas[port].update(persona)
    return port


def run(port: int, script: list[Any]) -> None:
    if script:
        with pymongo.MongoClient("127.0.0.1", port, directConnection=True) as client:
            for database, command in script:
                client[database].command(command)


def stop(port: int) -> None:
    """As `SecantusDBServer.stop`, without its wait for the next connection."""
    server = servers.pop(port)
    server._stop_event.set()
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        pass
    server.stop()


def overlaid(name: str, original: Any) -> Any:
    def handler(document: dict[str, Any], context: Any) -> Any:
        port = context.server_address[1]
        persona = personas[port]
        key = name
        if name == "aggregate":
            collection = document["aggregate"]
            key = "$currentOp" if collection == 1 else collection
        elif name in {"isMaster", "ismaster"}:
            key = "hello"
        counts[port][key] += 1
        # A driver begins to log in with its first hello, to save a round trip.
        counts[port]["login"] += name == "saslStart" or "speculativeAuthenticate" in document
        error = persona.get("errors", {}).get(key)
        if error is not None:
            code, code_name, text = error
            return {"ok": 0.0, "code": code, "codeName": code_name, "errmsg": text}
        reply = persona.get("replies", {}).get(key)
        if reply is not None:
            return {**reply, "ok": 1.0}
        reply = original(document, context)
        if key == "hello":
            reply = {**reply, **persona.get("hello", {})}
            reply = {field: value for field, value in reply.items() if value is not None}
        return reply

    return handler


def current_op(_spec: Any, _docs: Any, context: Any) -> list[dict[str, Any]]:
    port = next(p for p, server in servers.items() if server.storage is context.storage)
    return [dict(each) for each in personas[port].get("operations", [])]


if __name__ == "__main__":
    main()
