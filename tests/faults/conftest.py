"""Faults of the machine and of the network, on real processes: the daemon and its peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.programs import PROBED, Daemon, starter, wait_until

PEERS = str(Path(__file__).with_name("peers.py"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: it makes namespaces")


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def probed() -> str:
    return PROBED


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    yield from starter(tmp_path)


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
