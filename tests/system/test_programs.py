"""The installed daemon leaves no program behind when it stops."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)


def alive(word: str) -> list[str]:
    """Processes with the word in their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in file.read_bytes():
                found.append(file.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("source", "signals"), [("command", 1), ("postqueue", 2)])
def test_programs_end_with_the_daemon(
    start: Callable[..., Any], until: Callable[..., Any], source: str, signals: int
) -> None:
    word = f"600.{secrets.randbelow(10**12):012d}"
    script = f"sleep {word} & sleep {word}"
    check = f"{{name: q, probe: email_queue, timeout: 9s, interval: 10s, {source}: {{run: [sh, -c, '{script}']}}}}"
    daemon = start(f"checks:\n  - {check}\n")
    until(lambda: len(alive(word)) >= 2, "the programs run")
    for _ in range(signals):
        daemon.process.send_signal(signal.SIGTERM)
    daemon.process.wait(20)
    until(lambda: not alive(word), "no program is left")
