"""Servers of every persona, in one process beside the tests: see personas.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

# Imported before any loop runs, as the daemon does: libraries read files while they are imported.
import probes.mongo.rounds  # noqa: F401
from probed import HostPort
from probed.testing import CANARY

HERE = Path(__file__).parent
OPTIONS = json_util.JSONOptions(tz_aware=True)


class Servers:
    """The process, and the commands that it takes."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "personas.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def tell(self, **command: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json_util.dumps(command) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json_util.loads(stdout.readline(), json_options=OPTIONS)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Server:
    """One server of a persona."""

    def __init__(self, servers: Servers, persona: Mapping[str, Any]) -> None:
        self._servers = servers
        self.stopped = False
        self.port: int = servers.tell(start=persona)["port"]
        self.address = HostPort("127.0.0.1", self.port)

    def change(self, **parts: Any) -> None:
        self._servers.tell(port=self.port, set=parts)

    def insert(self, *entries: Mapping[str, Any], database: str = "shop") -> None:
        """Write to the database's `system.profile`, as the profiler would."""
        self._servers.tell(port=self.port, insert=list(entries), db=database)

    def run(self, database: str, command: Mapping[str, Any]) -> None:
        """Run a command as a client would."""
        self._servers.tell(port=self.port, run=[database, command])

    def counts(self) -> dict[str, int]:
        """How often each command was sent."""
        return self._servers.tell(port=self.port, counts=1)

    def fail_command(self, name: str, times: int = 1, **data: Any) -> None:
        """Have it fail that command of ours (a failpoint of MongoDB's own)."""
        data |= {"failCommands": [name], "appName": "probed"}
        command = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
        self.run("admin", command)

    def stop(self) -> None:
        if not self.stopped:
            self._servers.tell(port=self.port, stop=1)
        self.stopped = True


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("personas"))
    yield started
    started.close()


@pytest.fixture
def serve_mongo(servers: Servers) -> Iterator[Callable[..., Server]]:
    """Start a server of a persona; it is stopped at the end."""
    started: list[Server] = []

    def start(**persona: Any) -> Server:
        started.append(Server(servers, persona))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def reply(name: str) -> dict[str, Any]:
    """A reply that was written by hand, as a copy to change."""
    found: dict[str, Any] = json_util.loads(
        (HERE / "replies" / f"{name}.json").read_text(), json_options=OPTIONS
    )
    del found["_about"]
    return found


PRIMARY = {
    "setName": "rs0", "isWritablePrimary": True, "ismaster": True, "secondary": False,
    "me": "db1.example.com:27017", "hosts": ["db1.example.com:27017"], "maxWireVersion": 21,
}  # fmt: skip
SECONDARY = {**PRIMARY, "isWritablePrimary": False, "ismaster": False, "secondary": True}
MONGOS = {"msg": "isdbgrid", "maxWireVersion": 21}


def healthy(version: int = 7, *, hello: Mapping[str, Any] = PRIMARY) -> dict[str, Any]:
    """The primary of a healthy set."""
    wire = {6: 17, 7: 21, 8: 25}[version]
    return {
        "hello": {**hello, "maxWireVersion": wire},
        "replies": {
            "serverStatus": reply(f"server_status_{version}"),
            "replSetGetStatus": reply("repl_set_status"),
        },
    }


@pytest.fixture
def persona() -> Callable[[str], dict[str, Any]]:
    """A persona by name, to be changed."""

    def make(name: str) -> dict[str, Any]:
        made = healthy(int(name[-1])) if name[-1].isdigit() else healthy()
        status, members = made["replies"]["serverStatus"], made["replies"]["replSetGetStatus"]
        if name == "secondary":
            made["hello"] = SECONDARY
            members["myState"] = 2
        elif name == "standalone":
            made["hello"] = {"maxWireVersion": 21}
            del made["replies"]["replSetGetStatus"]
        elif name == "mongos":
            made["hello"] = MONGOS
        elif name == "crowded":
            status["connections"] |= {"current": 970, "available": 30, "active": 900}
        elif name == "busy":
            made["operations"] = reply("current_op")["operations"]
        elif name == "lagging":
            late = json_util.loads('{"$date": "2026-11-23T11:58:00Z"}', json_options=OPTIONS)
            members["members"][1] |= {"lastAppliedWallTime": late, "optimeDate": late}
        elif name == "no primary":
            made["hello"] = SECONDARY
            members["myState"] = 2
            members["members"][0] |= {"state": 2, "self": True}
        elif name == "member down":
            members["members"][2] |= {"state": 8, "health": 0.0}
        elif name == "saturated":
            status["wiredTiger"]["concurrentTransactions"]["write"] |= {"out": 12, "available": 0}
            status["globalLock"]["currentQueue"] |= {"total": 40, "writers": 40}
        elif name == "stranger":
            denied = [13, "Unauthorized", f"not authorized on admin {CANARY}"]
            made["errors"] = dict.fromkeys(
                ["serverStatus", "$currentOp", "replSetGetStatus", "profile", "system.profile"],
                denied,
            )
        return made

    return make
