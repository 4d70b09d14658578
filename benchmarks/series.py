"""Series board: recording a Result, and rendering 20,000 series without blocking the event loop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.figures import Figure
from probed.clock import SystemClock
from probed.config import Check, loads
from probed.model import Finding, Measurement, Outcome, Phase, Result
from probed.reasons import Reason
from probed.registry import Registry
from probed.telemetry.board import Board
from probed.telemetry.openmetrics import render
from probed.telemetry.otlp import MetricsView
from probed.telemetry.sdk import sdk_resource

SERIES = 20_000
_PHASES = ("resolve", "connect", "request", "wait", "receive", "parse")


def series(folder: Path, *, quick: bool) -> list[Figure]:  # noqa: ARG001  # all have the same shape
    """Measure in one process, without network."""
    board, results = _board(300)
    per_check = _lines(board) / 300
    board, results = _board(round(SERIES / per_check))
    count = _lines(board)
    rounds = 3 if quick else 15
    costs, stops = zip(
        *(_steps(render(board, openmetrics=False)) for _ in range(rounds)), strict=True
    )
    view = MetricsView(board, sdk_resource(board.resource))

    def export() -> Iterable[bytes]:
        for part in view.collect(time.time()):
            yield view.encode(part)

    exports, halts = zip(*(_steps(export()) for _ in range(rounds)), strict=True)
    cost = statistics.median(costs) * 1000
    stop = max(statistics.median(stops), statistics.median(halts)) * 1000
    sent = statistics.median(exports) * 1000
    return [
        Figure(f"/metrics with {count} series, CPU", cost, "ms", 50, 15, 3),
        Figure("longest block of the event loop by a scrape or an export of them", stop, "ms", 20, 5, 2,
               detail=f"OTLP: {sent:.0f} ms in all"),
        Figure("recording one Result in the series board", _record(board, results), "us", 20, 5, 1.5),
    ]  # fmt: skip


def _board(checks: int) -> tuple[Board, list[Result]]:
    text = "checks:\n" + "".join(
        f"- {{name: c{n}, probe: gateway, url: 'http://127.0.0.1:1/'}}\n" for n in range(checks)
    )
    config = loads(text, Registry(), environ={})
    board = Board(SystemClock(), version="0", resource={"service.name": "probed"})
    for check in config.checks:
        board.add(check)
    results = [_result(check, n) for n, check in enumerate(config.checks)]
    for result in results:
        board.record(result)
    return board, results


def _result(check: Check, number: int) -> Result:
    phases = tuple(Phase(phase, 0.001 * at, 0.001) for at, phase in enumerate(_PHASES))
    declared = check.probe.declared
    code = ("http.response.status_code", "200")
    measured = (
        Measurement(
            declared["http.client.request.duration"], 0.004, (("http.request.method", "GET"), code)
        ),
        Measurement(declared["probed.http.response.status_code"], 200.0),
        Measurement(declared["probed.http.response.wait"], 0.002),
        Measurement(declared["probed.http.response.body.size"], 18.0),
    )
    failed = not number % 10
    findings = (Finding(Outcome.FAILED, Reason.CONNECT_REFUSED, "no"),) if failed else ()
    return Result(
        check.name, "gateway", check.probe.target, Outcome.FAILED if failed else Outcome.OK, time.time(),
        0.006, f"{number:032x}", f"{number:016x}", findings=findings, phases=phases, measures=measured,
    )  # fmt: skip


def _lines(board: Board) -> int:
    text = b"".join(render(board, openmetrics=False))
    return sum(not line.startswith(b"#") for line in text.splitlines())


def _steps(chunks: Iterable[bytes]) -> tuple[float, float]:
    """Return the seconds of all steps, and of the longest; the event loop runs between steps."""
    longest, begun = 0.0, time.perf_counter()
    last = begun
    for _ in chunks:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return time.perf_counter() - begun, max(longest, time.perf_counter() - last)


def _record(board: Board, results: list[Result]) -> float:
    """Return microseconds in the best of several rounds: the cost of the code, not of the machine."""

    def once(record: Callable[[Result], None]) -> float:
        begun = time.process_time()
        for result in results:
            record(result)
        return (time.process_time() - begun) / len(results) * 1e6

    return min(once(board.record) for _ in range(10))
