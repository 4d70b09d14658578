"""kill -9 at any moment: what was saved is whole, and what was saved was told."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LIVES = str(Path(__file__).with_name("lives.py"))
CHAINS, KILLS = 4, 25
SEED = 20260101
CONFIG = """
service: {{listen: 127.0.0.1:0, state_dir: {state}}}
telemetry: {{listen: 127.0.0.1:0, otlp: {{endpoint: '{collector}'}}}}
defaults: {{interval: 100ms, timeout: 90ms, confirm: 0, fail_after: 2, recover_after: 2}}
checks:
  - {{name: good, probe: tcp, address: '127.0.0.1:{good}', expect: '^220 '}}
  - {{name: bad, probe: tcp, address: '127.0.0.1:1'}}
"""


class Collector:
    """A collector that can be away. `spans`: of each check, the start of each trace's root span, in
    microseconds since the epoch.
    """

    def __init__(self) -> None:
        self.spans: defaultdict[str, dict[bytes, int]] = defaultdict(dict)
        self.away = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path: str, body: bytes) -> None:
        if not path.endswith("/v1/traces"):
            return
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    kind, _, check = span.name.partition(" ")
                    if kind == "probed.check" and not span.parent_span_id:
                        self.spans[check][span.trace_id] = round(span.start_time_unix_nano / 1000)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if not collector.away:
                    collector.take(self.path, body)
                self.send_response(503 if collector.away else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@dataclass
class Chain:
    """One daemon's lives, one after another, in one state directory."""

    folder: Path
    process: subprocess.Popen[str]
    states: list[dict[str, Any]] = field(default_factory=list)

    def live(self, how: str, seconds: float, saves: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{how} {seconds} {saves}\n")
        self.process.stdin.flush()

    def ended(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def look(self) -> None:
        """Read what is on disk, of a copy: recovering it is the daemon's business."""
        with TemporaryDirectory(dir=self.folder) as copy:
            for path in (self.folder / "state").glob("state.db*"):
                shutil.copy(path, copy)
            file = Path(copy) / "state.db"
            if not file.exists():
                return
            with closing(sqlite3.connect(file)) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                if not database.execute("SELECT name FROM sqlite_master").fetchall():
                    return
                rows = database.execute("SELECT name, document FROM checks")
                state = {name: json.loads(document) for name, document in rows}
                rows = database.execute("SELECT name, which, document FROM results")
                for name, which, document in rows:
                    state[name][which] = json.loads(document)
                rows = database.execute("SELECT name, document FROM transitions ORDER BY id")
                for name, document in rows:
                    state[name].setdefault("transitions", []).append(json.loads(document))
                self.states.append(state)

    def log(self) -> list[dict[str, Any]]:
        text = (self.folder / "log").read_text()
        assert "Traceback" not in text, text
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture
def chains(tmp_path: Path, collector: Collector, peers: Any) -> Iterator[list[Chain]]:
    made = []
    for number in range(CHAINS):
        folder = tmp_path / str(number)
        (folder / "state").mkdir(parents=True)
        config = folder / "probed.yaml"
        config.write_text(
            CONFIG.format(state=folder / "state", collector=collector.url, good=peers.ports["line"])
        )
        process = subprocess.Popen(
            [sys.executable, LIVES, str(config), str(folder / "log"), str(folder / "state")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PROBED_"))}
            | {"PROBED_CONTROL": ""},
        )
        made.append(Chain(folder, process))
    yield made
    for chain in made:
        chain.process.communicate(timeout=10)


@pytest.mark.timeout(240)
def test_a_hundred_kills_break_no_state_and_lose_no_span(
    chains: list[Chain], collector: Collector
) -> None:
    """Four daemons, 25 kills each, at moments that are always the same."""
    moments = random.Random(SEED)
    collector.away = True
    for kill in range(KILLS):
        if kill == KILLS // 2:
            collector.away = False
        for chain in chains:
            # Some die while they start, others after they have saved.
            saves = kill % 2
            chain.live("SIGKILL", moments.uniform(0.05, 0.4), saves)
        for chain in chains:
            assert chain.ended() == -9, "it ended by itself"
            chain.look()
    for chain in chains:
        chain.live("SIGTERM", 0.5, 2)
    for chain in chains:
        assert chain.ended() == 0
        chain.look()
        judge(chain.states)
        told(chain.log())
    starts = set(collector.spans["bad"].values())
    for chain in chains:
        expected = {round(state["bad"]["state"]["last_run"] * 1e6)
                    for state in chain.states if "bad" in state}  # fmt: skip
        missing = {at for at in expected if not near(at, starts)}
        assert not missing, f"{len(missing)} of {len(expected)} runs that were saved were not told"
    saved = sum(chain.states[-1]["bad"]["state"]["failed_streak"] for chain in chains)
    assert saved > KILLS, "the lives were too short to tell anything"
    assert len(collector.spans["bad"]) >= saved


def near(at: int, starts: set[int]) -> bool:
    return any(at + shift in starts for shift in (-1, 0, 1))


def judge(states: list[dict[str, Any]]) -> None:
    """Nothing that was known once is forgotten or counted twice."""
    known: dict[str, dict[str, Any]] = {}
    assert len(states) > KILLS // 2
    for state in states:
        for name, kept in state.items():
            now, before = kept["state"], known.get(name, {"state": {}, "memory": {"runs": 0}})
            streak = "failed_streak" if name == "bad" else "ok_streak"
            assert now[streak] >= before["state"].get(streak, 0)
            assert now["last_run"] >= before["state"].get("last_run", 0)
            assert kept["memory"]["runs"] >= before["memory"]["runs"]
            # What a run remembers is saved with its result; a run that was cut off leaves nothing.
            assert kept["memory"]["runs"] == now[streak]
            # Events and the state that they lead to are one transaction.
            changes = kept.get("transitions", [])
            assert [change["new"] for change in changes] in ([], ["down"], ["up"])
            assert now.get("verdict", "pending") == (changes[-1]["new"] if changes else "pending")
            assert now.get("since", 0.0) == (changes[-1]["at"] if changes else 0.0)
            if name == "bad":
                last = kept["not_ok"]
                assert last["findings"][0]["reason"] == "connect.refused"
                at = datetime.fromisoformat(last["started_at"]).timestamp()
                assert abs(at - now["last_run"]) < 0.002
            settled = {"bad": "down", "good": "up"}[name]
            if before["state"].get("verdict") == settled:
                assert now["verdict"] == settled
            known[name] = kept
        assert set(known) == set(state), "a check is forgotten"


def told(log: list[dict[str, Any]]) -> None:
    assert not [entry for entry in log if "state.db" in entry["message"]], "the file was not sound"
    assert not [entry for entry in log if entry["level"] == "error"], log
    # A verdict that was not saved is found anew; one that was is not told twice.
    changes = [entry["message"] for entry in log if "-> down" in entry["message"]]
    assert 1 <= len(changes) <= 5
