"""Script of test_spool.py, run in a mount namespace: the spool on a disk that fills up, and on a read-only
one. The argument is a directory on that disk.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio

from probed.clock import SystemClock
from probed.config.telemetry import Spool as Limits
from probed.telemetry.daemon_metrics import DaemonMetrics
from probed.telemetry.spool import Queue, Spool
from probed.telemetry.spool_records import Encoded

LOGGED: list[str] = []


class Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LOGGED.append(record.getMessage())


def request(number: int) -> Encoded:
    return Encoded("traces", b"%06d" % number + b"x" * 20_000, 1, SystemClock.time())


async def remount(root: Path, option: str) -> None:
    await anyio.run_process(["mount", "-o", f"remount,{option}", str(root)])


async def drain(queue: Queue) -> list[int]:
    numbers = []
    while (found := await queue.head()) is not None:
        numbers.append(int(found.body[:6]))
        await queue.sent()
    return numbers


def make(root: Path) -> tuple[Spool, DaemonMetrics]:
    daemon_metrics = DaemonMetrics(SystemClock(), "1")
    return Spool(root, Limits(), daemon_metrics, SystemClock()), daemon_metrics


async def fill_up(root: Path) -> None:
    """The disk has half a megabyte: 40 requests do not fit; 60 fit after it was enlarged."""
    filler = root / "filler"
    await anyio.Path(filler).write_bytes(b"x" * 300_000)
    spool, daemon_metrics = make(root)
    queue = spool.queues["fail"]
    errors = daemon_metrics._values["probed.export.spool.errors"]
    numbers = iter(range(100))
    for _ in range(40):
        await queue.put([request(next(numbers))])
    assert errors[("lane", "fail"),] == 1, errors
    size, room, _ = queue.status()
    assert room == 6 << 20, "in memory for now, and said so"
    assert size == 40 * 20_034, size
    assert len(LOGGED) == 1, LOGGED
    assert "No space left" in LOGGED[0]
    filler.unlink()
    await remount(root, "size=4m")
    for _ in range(20):
        await queue.put([request(next(numbers))])
    assert errors[("lane", "fail"),] == 1, errors
    assert queue.status()[1] == 128 << 20, "on disk again"
    assert LOGGED[1:] == ["spool: writing lane fail to disk again"], LOGGED
    await spool.close()

    spool, daemon_metrics = make(root)
    await spool.open()
    assert await drain(spool.queues["fail"]) == list(range(60))
    await spool.close()


async def read_only(root: Path) -> None:
    """Requests of an earlier process stay; this one uses memory until the disk is writable."""
    spool, daemon_metrics = make(root)
    await spool.queues["fail"].put([request(1)])
    await spool.close()
    await remount(root, "ro")
    spool, daemon_metrics = make(root)
    queue = spool.queues["fail"]
    await queue.put([request(2)])
    assert daemon_metrics.spool()["fail"][1] == 6 << 20
    assert len(LOGGED) == 1, LOGGED
    assert "Read-only file system" in LOGGED[0]
    await remount(root, "rw")
    spool._due = 0.0
    await queue.put([request(3)])
    assert LOGGED[1:] == [f"spool: using {root}/spool now"], LOGGED
    assert await drain(queue) == [1, 2, 3]
    await spool.close()


if __name__ == "__main__":
    logging.getLogger("probed.spool").addHandler(Lines())
    logging.getLogger("probed.spool").setLevel(logging.INFO)
    anyio.run({"full": fill_up, "read-only": read_only}[sys.argv[1]], Path(sys.argv[2]))
