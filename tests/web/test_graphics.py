"""The pictures: what a line and its marks say."""

from __future__ import annotations

import re

from probed.engine.history import Past
from probed.model import Outcome, Transition, Verdict
from probed.web.page.graphics import sparkline, timeline


def past(*outcomes: Outcome) -> list[Past]:
    return [
        Past(float(n), 0.001 * (n + 1), outcome, None, "") for n, outcome in enumerate(outcomes)
    ]


def test_a_run_that_was_not_ok_is_a_gap_with_a_mark_and_one_between_two_a_point() -> None:
    ok, failed = Outcome.OK, Outcome.FAILED
    drawn = sparkline("web", past(ok, ok, failed, ok, failed, Outcome.DEGRADED, Outcome.UNKNOWN))
    (line,) = re.findall(r'class="l" d="([^"]*)"', drawn)
    assert re.fullmatch(r"M\S+ \S+h\.1L\S+ [\d.]+M\S+ \S+h\.1", line), line
    assert re.findall(r'class="([fdu])"', drawn) == ["f", "f", "d", "u"]
    assert "web, last 7 runs: 1.0 ms to 4.0 ms, latest 7.0 ms; 4 not ok" in drawn


def test_the_slowest_is_on_top_and_the_last_at_the_right() -> None:
    drawn = sparkline("web", past(*[Outcome.OK] * 50))
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn)
    assert len(points) == 40
    assert points[-1] == ("158.0", "2.0")
    assert points[0][0] == "2.0"


def test_no_runs_no_picture_and_a_name_is_text() -> None:
    assert sparkline("web", []) == ""
    assert "<b>" not in sparkline("<b>", past(Outcome.OK))
    assert 'd=""' in sparkline("web", past(Outcome.FAILED))


def change(at: float, new: Verdict) -> Transition:
    return Transition("web", Verdict.PENDING, new, at, None, None, "", "tcp", "h:1")


def test_a_timeline_shows_which_verdict_held_when_and_says_how_long() -> None:
    changes = [change(100.0, Verdict.UP), change(190.0, Verdict.DOWN), change(199.0, Verdict.UP)]
    drawn = timeline(changes, 200.0)
    bars = re.findall(r'class="(\w+)" x="([\d.]+)" y="\d+" width="([\d.]+)" height="(\d+)"', drawn)
    assert bars == [
        ("up", "0.000", "90.000", "4"), ("down", "90.000", "9.000", "12"), ("up", "99.000", "1.000", "4"),
    ]  # fmt: skip
    assert "Of the time since the first change: up 91 %, down 9 %" in drawn


def test_a_change_of_just_now_has_no_timeline_and_a_clock_that_was_set_back_breaks_none() -> None:
    assert timeline([change(100.0, Verdict.UP)], 100.0) == ""
    drawn = timeline([change(100.0, Verdict.UP), change(90.0, Verdict.DOWN)], 110.0)
    assert "-" not in "".join(re.findall(r'width="([^"]*)"', drawn))
