"""Many checks: their lateness, beside that of a bare timer, and the memory they need."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, quantile
from benchmarks.processes import MEASURED, Daemon, daemon, memory, nginx, sink, until

_TIMER = """
import asyncio, sys, time, uvloop
async def main():
    late = []
    ends = time.monotonic() + float(sys.argv[1])
    while (now := time.monotonic()) < ends:
        await asyncio.sleep(0.01)
        late.append(time.monotonic() - now - 0.01)
    print(sorted(late)[int(len(late) * 0.99)])
uvloop.run(main())
"""


def scale(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure 1,000 and 10,000 HTTP checks with 10 s intervals and telemetry export."""
    figures = []
    sizes = ((1000, (10, 5, 2), (110, 70, 45)), (10_000, (25, 10, 2), (200, 110, 65)))
    with nginx(folder) as (url, _, _), sink(folder) as collector:
        for count, late, room in sizes[:1] if quick else sizes:
            config = "defaults: {interval: 10s, timeout: 5s, confirm: 0}\nchecks:\n"
            config += "".join(
                f"- {{name: c{n}, probe: gateway, url: '{url}'}}\n" for n in range(count)
            )
            with daemon(config, folder, collector) as found:
                until(partial(_has_run, found, count), "all have run")
                before = _buckets(found)
                timer = _timer(3 if quick else 30)
                time.sleep(0.1)
                after = _buckets(found)
                missed = found.total("probed_scheduler_missed_total")
                used = memory(found.pid)
            p99 = quantile(0.99, {bound: after[bound] - before[bound] for bound in after}) * 1000
            detail = f"a bare timer {timer:.2g} ms; {missed:.0f} missed"
            figures.append(
                Figure(f"lateness p99, {count} checks at 10 s", p99, "ms", *late, detail)
            )
            figures.append(Figure(f"resident memory, {count} checks, exporting", used, "MB", *room))
    return figures


def _has_run(found: Daemon, count: int) -> bool:
    return found.total("probed_check_runs_total") >= count


def _timer(seconds: float) -> float:
    """Return the p99 lateness of a bare timer on the same core, in ms."""
    command = ["taskset", "-c", str(MEASURED), sys.executable, "-c", _TIMER, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def _buckets(found: Daemon) -> dict[float, float]:
    text = found.metrics()
    pattern = r'probed_scheduler_lateness_seconds_bucket{le="([^"]+)"} (\S+)'
    return {float(bound): float(count) for bound, count in re.findall(pattern, text)}
