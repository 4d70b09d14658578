"""Many short lives of the daemon: `python lives.py CONFIG LOG STATE`.

Each line on standard input is `SIGNAL SECONDS SAVES`: a daemon starts, gets that signal so many seconds
after it has saved its state so many times, and its exit status is printed (a negative number is the
signal that killed it). A life costs a fork instead of the start of an interpreter. State is saved more
often than usual, so that short lives leave some; every run of `tcp` remembers how many there were.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from pathlib import Path

import probed.app.saving
import probed.cli.loop
import probed.telemetry.export  # what is imported before the fork need not be after
from probed.cli import main
from probed.probe import Run
from probes.tcp import TcpProbe

gc.disable()  # as the command does
probed.app.saving.SAVE_INTERVAL = 0.02

_probe = TcpProbe.probe


async def _remembering(self: TcpProbe, run: Run) -> None:
    run.memory["runs"] = run.memory.get("runs", 0) + 1
    await _probe(self, run)


TcpProbe.probe = _remembering  # type: ignore[method-assign]


def life(path: str, log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(stream, number)
        main(["run", "-c", path])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(code)


def stamp(path: str) -> object:
    """What changes with each save."""
    try:
        found = Path(path, "state.db-wal").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def await_saves(path: str, count: int) -> None:
    ends = time.monotonic() + 20
    while count and time.monotonic() < ends:
        before = stamp(path)
        while stamp(path) == before and time.monotonic() < ends:
            time.sleep(0.002)
        count -= 1


for line in sys.stdin:
    name, seconds, saves = line.split()
    pid = life(sys.argv[1], sys.argv[2])
    await_saves(sys.argv[3], int(saves))
    time.sleep(float(seconds))
    os.kill(pid, signal.Signals[name])
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
