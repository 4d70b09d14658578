"""Faults of the machine and of the network, on real processes: the daemon and its peers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 20.0
PROBED = str(Path(sys.executable).with_name("probed"))
PEERS = str(Path(__file__).with_name("peers.py"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: it makes namespaces")


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """What the condition gives as soon as it gives something; fails when it takes too long.

    For programs that cannot be awaited.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PROBED_"))}
    return kept | {"NO_COLOR": "1"} | more


def fetch(url: str) -> str:
    """The text at the URL; empty where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@dataclass
class Daemon:
    """`probed run` as a process of its own, its files, and where it listens."""

    process: subprocess.Popen[str]
    config: Path
    log: Path
    control: Path
    metrics: str = ""
    api: str = ""
    took: float = field(default=0.0)

    @property
    def pid(self) -> int:
        return self.process.pid

    def told(self) -> list[dict[str, Any]]:
        """What it has logged."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def transitions(self, check: str) -> list[str]:
        """`old -> new reason` of the check, in order."""
        return [
            entry["message"].partition(": ")[2]
            for entry in self.told()
            if entry.get("check") == check and " -> " in entry["message"]
        ]

    def total(self, series: str) -> float:
        """The sum of all series of `/metrics` of that name."""
        lines = fetch(f"{self.metrics}/metrics").splitlines()
        values = [line.rpartition(" ")[2] for line in lines if re.match(rf"{series}[ {{]", line)]
        return sum(map(float, values))

    def reloads(self) -> dict[str, float]:
        """Reloads by their outcome."""
        found = {}
        for line in fetch(f"{self.metrics}/metrics").splitlines():
            if match := re.match(r'probed_config_reloads_total{outcome="(\w+)"} (\S+)', line):
                found[match[1]] = float(match[2])
        return found

    def checks(self) -> dict[str, dict[str, Any]]:
        """What the API says of each check; empty where it does not answer."""
        text = fetch(f"{self.api}/api/v1/checks")
        return {check["check"]: check for check in json.loads(text)["checks"]} if text else {}

    def outcomes(self, check: str) -> list[tuple[str, str | None]]:
        """Outcome and reason of the last runs of the check, the latest last."""
        text = fetch(f"{self.api}/api/v1/checks/{check}")
        runs = json.loads(text)["recent"] if text else []
        runs.sort(key=lambda run: run["started_at"])
        return [(run["outcome"], run["reason"]) for run in runs]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        begun = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(timeout=15)
        self.took = time.monotonic() - begun
        return code

    def sound(self) -> None:
        """Nothing went wrong in the daemon itself."""
        text = self.log.read_text()
        assert "Traceback" not in text, text
        assert "internal.error" not in text, text


Start = Callable[..., Daemon]


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def probed() -> str:
    return PROBED


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start daemons on a configuration, text or file, behind a command (`unshare -m …`) where one is given;
    they are gone at the end of the test.
    """
    running: list[Daemon] = []

    def begin(config: str | Path, *, behind: Sequence[str] = (), **env: str) -> Daemon:
        number = len(running)
        path = config if isinstance(config, Path) else tmp_path / f"probed-{number}.yaml"
        if isinstance(config, str):
            path.write_text(config)
        log = tmp_path / f"probed-{number}.log"
        control = tmp_path / f"{number}.sock"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [*behind, PROBED, "run", "-c", str(path)],
                stdout=stream,
                stderr=stream,
                text=True,
                env=environment(**({"PROBED_CONTROL": str(control)} | env)),
            )
        daemon = Daemon(process, path, log, control)
        running.append(daemon)

        def addresses() -> bool:
            assert process.poll() is None, log.read_text()
            found = re.search(r"metrics on (\S+)/metrics, API on (\S+)/api", log.read_text())
            if found is not None:
                daemon.metrics, daemon.api = found.groups()
            return found is not None

        wait_until(addresses, "the daemon says where it listens")
        return daemon

    yield begin
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGCONT)
            daemon.process.kill()
            daemon.process.wait()


@dataclass
class Peers:
    """Well-behaved peers: see peers.py. `ports` are those of line, late, http, tls, dns."""

    host: str
    ports: dict[str, int]
    ca: Path


@pytest.fixture(scope="session")
def peers_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Peers]]:
    """Start peers on an address, behind a command (`ip netns exec …`) where one is given."""
    running: list[subprocess.Popen[str]] = []

    def begin(host: str, *behind: str) -> Peers:
        folder = tmp_path_factory.mktemp("peers")
        process = subprocess.Popen(
            [*behind, sys.executable, PEERS, host, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        return Peers(host, json.loads(process.stdout.readline()), folder / "ca.pem")

    yield begin
    for process in running:
        process.communicate(timeout=10)


@pytest.fixture(scope="session")
def peers(peers_at: Callable[..., Peers]) -> Peers:
    return peers_at("127.0.0.1")
