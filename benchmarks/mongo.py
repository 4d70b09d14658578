"""MongoDB: the cost of a round, of a healthy node beside 50 silent ones, and of 100 idle targets.

The server is SecantusDB, in a separate process, with one address for each node.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from benchmarks.figures import Figure, quantile
from benchmarks.processes import (
    OTHER,
    Daemon,
    MissingError,
    cpu,
    daemon,
    free_port,
    memory,
    running,
    sink,
    until,
)

NODES = 100
SILENT = 50


def mongo(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure rounds on reused connections, as from the second run on."""
    seconds = 2.0 if quick else 20.0
    with _server(folder) as backend, sink(folder) as collector, ExitStack() as stack:
        port, hole = (
            stack.enter_context(_relay(folder, *each)) for each in ((NODES, backend), (SILENT,))
        )
        return [
            _round(folder, collector, port, seconds),
            _beside(folder, collector, port, hole, seconds),
            *_idle(folder, collector, port, seconds),
        ]


def _round(folder: Path, collector: str, port: int, seconds: float) -> Figure:
    """Measure 200 rounds per second, close to saturation."""
    config = f"defaults: {{interval: 500ms, timeout: 500ms, confirm: 0}}\nchecks:\n{_checks(port)}"
    with daemon(config, folder, collector) as found:
        until(partial(_has_run, found, 10 * NODES), "all have run")
        runs, poor, used = _runs(found), _poor(found), cpu(found.pid)
        time.sleep(seconds)
        used, runs = cpu(found.pid) - used, _runs(found) - runs
        assert _poor(found) - poor < runs / 100, "runs were not ok"
    name = "CPU of one round of MongoDB, one database, telemetry included"
    return Figure(name, used / runs * 1000, "ms", 4.0, detail=f"{runs:.0f} rounds")


def _beside(folder: Path, collector: str, port: int, hole: int, seconds: float) -> Figure:
    config = "defaults: {interval: 5s, timeout: 5s, confirm: 0}\nchecks:\n" + "".join(
        f"- {{name: silent-{n}, probe: mongo, host: 127.0.0.{n}, port: {hole}}}\n"
        for n in range(1, SILENT + 1)
    )
    config += (
        f"- {{name: healthy, probe: mongo, host: 127.0.0.1, port: {port}, interval: 200ms, "
        "timeout: 200ms}\n"
    )
    with daemon(config, folder, collector) as found:
        until(partial(_has_run, found, 3 * SILENT), "all have run", 60)
        before, missed = _durations(found, "healthy"), _missed(found)
        time.sleep(seconds)
        after, missed = _durations(found, "healthy"), _missed(found) - missed
        assert not found.total("probed_check_runs_total", 'check="silent-1".*outcome="ok"')
    p99 = quantile(0.99, {bound: after[bound] - before[bound] for bound in after}) * 1000
    runs = max(after.values()) - max(before.values())
    name = f"duration p99 of a healthy node beside {SILENT} silent ones"
    return Figure(name, p99, "ms", 100.0, detail=f"{runs:.0f} runs, {missed:.0f} missed")


def _idle(folder: Path, collector: str, port: int, seconds: float) -> Iterator[Figure]:
    """Measure idle targets, minus the same number of checks of one node."""
    taken = []
    for nodes in (1, NODES):
        config = f"defaults: {{interval: 1h, timeout: 5s}}\nchecks:\n{_checks(port, nodes)}"
        with daemon(config, folder, collector) as found:
            until(partial(_has_run, found, NODES), "all have run", 90)
            assert not _poor(found), "runs were not ok"
            used = cpu(found.pid)
            time.sleep(seconds)
            taken.append(((cpu(found.pid) - used) / seconds * 100, memory(found.pid)))
    (few, little), (many, much) = taken
    yield Figure(f"{NODES} idle MongoDB targets, CPU", many - few, "% of a core", 5.0)
    yield Figure(f"{NODES} idle MongoDB targets, memory", much - little, "MB", 8.0)


def _checks(port: int, nodes: int = NODES) -> str:
    return "".join(
        f"- {{name: m{n}, probe: mongo, host: 127.0.0.{1 + n % nodes}, port: {port}, "
        "databases: [shop]}\n"
        for n in range(NODES)
    )


def _runs(found: Daemon) -> float:
    return found.total("probed_check_runs_total")


def _missed(found: Daemon) -> float:
    return found.total("probed_scheduler_missed_total")


def _has_run(found: Daemon, runs: int) -> bool:
    return _runs(found) >= runs


def _poor(found: Daemon) -> float:
    return found.total("probed_check_runs_total", 'probed_outcome="(?:degraded|failed|unknown)"')


def _durations(found: Daemon, check: str) -> dict[float, float]:
    pattern = rf'probed_check_duration_seconds_bucket{{[^}}]*check="{check}"[^}}]*le="([^"]+)"[^}}]*}} (\S+)'
    return {float(bound): float(count) for bound, count in re.findall(pattern, found.metrics())}


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    if find_spec("secantus") is None:
        raise MissingError("needs SecantusDB")
    port = free_port()
    command = [
        sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(port),
        "--storage-path", str(folder / "db"), "--cache-size", "64M",
    ]  # fmt: skip
    with running(command, OTHER, folder / "mongo.log"):
        until(partial(_profiling, port), "SecantusDB answers")
        yield port


def _profiling(port: int) -> bool:
    with (
        suppress(PyMongoError),
        pymongo.MongoClient[dict[str, object]](
            "127.0.0.1", port, directConnection=True, timeoutMS=1000
        ) as client,
    ):
        client.shop.command({"profile": 1, "slowms": 1000})
        return True
    return False


@contextmanager
def _relay(folder: Path, count: int, *backend: int) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.forward", *map(str, (port, count, *backend))]
    with running(command, OTHER, folder / f"relay-{port}.log"):
        until(partial(_listens, port), "the relay listens")
        yield port


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
