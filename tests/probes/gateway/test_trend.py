"""An answer that takes longer than it used to, by itself well within its bounds."""

from __future__ import annotations

from typing import Any

import pytest

from probed.clock import SystemClock
from probed.engine.runner import execute
from probed.model import Outcome
from probed.net import Network
from probed.probe import Run
from probed.testing.webserver import Answer, http_server
from probed.text.redact import Redactor
from probes.gateway import GatewayProbe
from probes.gateway.trend import KEY, USUAL, WARM_UP, judge, remembered

PROBE = GatewayProbe(url="http://h.test/")  # type: ignore[arg-type]


def begun(memory: dict[str, Any]) -> Run:
    return Run(
        PROBE.declared, clock=SystemClock(), network=Network(), redactor=Redactor(), trace_id="0" * 32,
        span_id="0" * 16, timeout=1.0, memory=memory,
    )  # fmt: skip


def waited(memory: dict[str, Any], *waits: float, factor: float | None = 3.0) -> list[str]:
    """The reasons that the last of these waits finds."""
    found: list[str] = []
    for wait in waits:
        run = begun(memory)
        judge(run, wait, factor)
        found = [str(finding.reason) for finding in run.findings]
    return found


def test_three_times_the_usual_is_a_trend_and_one_outlier_is_none() -> None:
    memory: dict[str, Any] = {}
    assert waited(memory, *[0.1] * 40) == []
    assert waited(memory, 3.0, 3.0) == []
    assert waited(memory, 0.4) == ["http.latency_trend"]
    assert waited(memory, *[0.1] * 5) == []


def test_a_rise_that_nobody_would_notice_is_none() -> None:
    assert waited({}, *[0.001] * 40, *[0.04] * 5) == []


def test_the_first_answers_are_no_measure() -> None:
    assert waited({}, *[0.1] * (WARM_UP - 6), *[1.0] * 5) == []
    assert waited({}, *[0.1] * (WARM_UP - 5), *[1.0] * 5) == ["http.latency_trend"]


def test_what_stays_slow_is_the_usual_in_the_end() -> None:
    assert waited({}, *[0.1] * 60, *[1.0] * 60) == []


def test_memory_is_bounded_and_what_is_foreign_in_it_is_let_go() -> None:
    memory: dict[str, Any] = {KEY: [0.1] * 500}
    waited(memory, 0.1)
    assert len(memory[KEY]) == USUAL
    for foreign in ("x", [None], [True], [float("nan")], [-1.0], {"a": 1}):
        assert remembered({KEY: foreign}) == []
    waited(memory, 0.1, factor=None)
    assert KEY not in memory


@pytest.mark.anyio
async def test_it_is_found_on_the_wire_and_only_good_answers_count() -> None:
    memory: dict[str, Any] = {KEY: [0.002] * 40}
    async with http_server({"/": Answer(delay=0.12), "/bad": Answer(status=500)}) as server:
        for path in ("/bad", "/", "/", "/"):
            probe = GatewayProbe(url=server.url(path), latency={"trend": 3, "failed": "5s"})
            result = await execute(probe, network=Network(), timeout=2, memory=memory)
    assert len(memory[KEY]) == 43
    assert result.outcome is Outcome.DEGRADED
    assert [str(f.reason) for f in result.findings] == ["http.latency_trend"]
