"""mongo in the daemon: its numbers on /metrics and in OTLP, and what must be in no output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from probed.testing import CANARY
from tests.programs import Daemon, collector, starter, wait_until

Make = Callable[..., Any]

CONFIG = """
service: {{listen: 127.0.0.1:0, state_dir: '{folder}/state'}}
telemetry:
  listen: 127.0.0.1:0
  metrics_interval: 1s
  trace_ratio: 1
  otlp: {{endpoint: '{collector}', compression: none}}
checks:
  - name: mongo-primary
    probe: mongo
    uri: {{env: MONGO_URI}}
    databases: [shop]
    interval: 1s
    timeout: 1s
"""
SHOWN = {
    "mongodb_connection_count": b"mongodb.connection.count",
    "probed_mongodb_connection_utilization": b"probed.mongodb.connection.utilization",
    "probed_mongodb_operation_long_running": b"probed.mongodb.operation.long_running",
    "probed_mongodb_operation_duration_max": b"probed.mongodb.operation.duration.max",
    "probed_mongodb_slow_operation": b"probed.mongodb.slow_operation",
    "mongodb_replica_set_lag": b"mongodb.replica_set.lag",
    "db_client_operation_duration": b"db.client.operation.duration",
}
SPANS = (b"serverStatus", b"db.operation.name", b"db.system.name", b"db.response.status_code")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    yield from starter(tmp_path)


@pytest.mark.timeout(60)
def test_numbers_are_everywhere_and_values_of_queries_nowhere(
    start: Callable[..., Daemon], serve_mongo: Make, persona: Make, tmp_path: Path
) -> None:
    made = persona("busy") | {"script": [["shop", {"profile": 1}]], "user": ["probed", CANARY]}
    # An error that quotes what it was given, as servers do; two members, so that there is a lag.
    made["errors"] = {"replSetGetStatus": [13, "Unauthorized", f"not authorized: {CANARY}"]}
    busy, well = serve_mongo(**made), serve_mongo(**persona("primary"))
    entry = {
        "op": "query", "ns": "shop.orders", "millis": 2500, "planSummary": "COLLSCAN", "user": CANARY,
        "command": {"find": "orders", "filter": {"email": CANARY}, "comment": CANARY},
    }  # fmt: skip
    with collector() as (url, bodies):
        config = CONFIG.format(folder=tmp_path, collector=url)
        config += (
            f"  - {{name: well, probe: mongo, host: 127.0.0.1, port: {well.port}, interval: 1s}}\n"
        )
        uri = f"mongodb://probed:{CANARY}@127.0.0.1:{busy.port}/?authSource=admin"
        daemon = start(config, MONGO_URI=uri)

        def found() -> set[str]:
            last = daemon.checks()["mongo-primary"]["last"] or {}
            return {finding["reason"] for finding in last.get("findings", ())}

        wait_until(found, "it has run: what ends from now on is counted")
        busy.insert(*[entry | {"ts": datetime.now(UTC) + timedelta(seconds=1)}] * 10)
        wait_until(
            lambda: {"mongo.slow_ops", "mongo.long_running", "auth.permission"} <= found(),
            "slow and long operations are found",
        )
        wait_until(
            lambda: all(name in b"".join(bodies) for name in (*SHOWN.values(), *SPANS)),
            "OTLP tells",
        )
        metrics = daemon.scrape()
        said = metrics + str(daemon.ask("checks")) + str(daemon.ask("checks/mongo-primary"))
        assert daemon.stop() == 0
        daemon.sound()
    assert [name for name in SHOWN if name not in metrics] == []
    assert CANARY not in said
    assert CANARY not in daemon.log.read_text()
    assert CANARY.encode() not in b"".join(bodies)
    kept = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert kept
    assert not any(CANARY.encode() in each for each in kept)
