"""Status page with 2,000 checks: the cost of rendering it and of leaving it open."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.figures import Figure
from benchmarks.processes import Daemon, cpu, daemon, nginx, sink, until
from probed.config import loads
from probed.engine.history import RESULTS, History
from probed.model import Finding, Outcome, Phase, Result
from probed.reasons import Reason
from probed.registry import Registry
from probed.web.page.layout import document
from probed.web.page.overview import Filter, Overview

CHECKS = 2000


def page(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure rendering in one process, then a daemon with 30 s intervals, with and without an open page."""
    history = _history(3 if quick else RESULTS)
    rounds = 2 if quick else 7
    cold, steps = zip(*(_shown(Overview(history)) for _ in range(rounds)), strict=True)
    overview = Overview(history)
    _shown(overview)
    warm = [_shown(overview)[0] for _ in range(rounds)]
    figures = [
        Figure(f"the page of {CHECKS} checks, none of them shown before, CPU",
               statistics.median(cold) * 1000, "ms", 200, 120, 60,
               detail=f"{statistics.median(warm) * 1000:.0f} ms the next time, "
               f"longest stop {max(steps) * 1000:.1f} ms"),
    ]  # fmt: skip
    with nginx(folder) as (url, _, _), sink(folder) as collector:
        config = "defaults: {interval: 30s, timeout: 5s, confirm: 0}\nchecks:\n" + "".join(
            f"- {{name: c{n}, probe: gateway, url: '{url}'}}\n" for n in range(CHECKS)
        )
        with daemon(config, folder, collector) as found:
            until(partial(_has_run, found), "all have run", 90)
            # In turns: what else the machine does would be more than the difference.
            seconds, turns = (3.0, 2) if quick else (10.0, 6)
            pairs = []
            for _ in range(turns):
                without = _used(found.pid, seconds)
                with _open_page(found.api) as heard:
                    pairs.append((_used(found.pid, seconds) - without, without))
    share = statistics.median(more for more, _ in pairs) / seconds * 100
    without = statistics.median(alone for _, alone in pairs) / seconds * 100
    figures.append(
        Figure("one open page of them, of a core", max(0.0, share), "%", 1, 0.7, 0.3,
               detail=f"{without:.1f} % without; {len(heard)} lines heard in the last turn")
    )  # fmt: skip
    return figures


def _has_run(found: Daemon) -> bool:
    return found.total("probed_check_runs_total") >= CHECKS


def _used(pid: int, seconds: float) -> float:
    before = cpu(pid)
    time.sleep(seconds)
    return cpu(pid) - before


@contextmanager
def _open_page(api: str) -> Iterator[list[bytes]]:
    """Hold a page open like a browser, and read its events."""
    parts = urlsplit(api)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    heard: list[bytes] = []

    def read() -> None:
        try:
            while line := answer.readline():
                heard.append(line)
        except (OSError, ValueError, AttributeError):
            pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    yield heard
    connection.close()


def _history(runs: int) -> History:
    text = "checks:\n" + "".join(
        f"- {{name: c{n}, probe: gateway, url: 'http://127.0.0.1:1/'}}\n" for n in range(CHECKS)
    )
    history = History(loads(text, Registry(), environ={}).checks)
    for number, check in enumerate(list(history.checks.values())):
        for run in range(min(runs, check.room)):
            failed = not (number + run) % 10
            findings = (Finding(Outcome.FAILED, Reason.CONNECT_REFUSED, "no"),) if failed else ()
            outcome = Outcome.FAILED if failed else Outcome.OK
            history.apply(
                Result(
                    check.check.name,
                    "gateway",
                    check.check.probe.target,
                    outcome,
                    1e9 + run,
                    0.001 * (run % 7 + 1),
                    f"{number:032x}",
                    f"{number:016x}",
                    findings=findings,
                    phases=(Phase("connect", 0.0, 0.001),),
                )
            )
    return history


def _shown(overview: Overview) -> tuple[float, float]:
    """Return the seconds for the whole page, and for its longest part without a yield to the event loop."""
    begun = last = time.perf_counter()
    size, longest = 0, 0.0
    for part in document("Checks", "", overview.body(Filter()), here="/", events="/events"):
        size += len(part)
        if size >= 1 << 15:
            now = time.perf_counter()
            longest, last, size = max(longest, now - last), now, 0
    return time.perf_counter() - begun, longest
