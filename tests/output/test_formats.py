"""Results in the formats of other programs; what a peer says cannot break out of any of them."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed.model import Finding, Measure, Measurement, MetricType, Outcome, Phase, Result, Severity
from probed.output import Report, Style, render_result
from probed.output.github import render_github, render_markdown
from probed.output.junit import render_junit
from probed.output.nagios import render_nagios
from probed.output.report import render_json

HOSTILE = "a|b='c'\n::error::x%0A,:<script>]]>&\x1b[2J@all `x` \x00"


def result(name: str, outcome: Outcome = Outcome.OK, message: str = "It did not.") -> Result:
    findings = () if outcome is Outcome.OK else (Finding(outcome, "http.status", message),)
    return Result(
        name, "gateway", "http://h/", outcome, 1_767_225_600.0, 0.25, "ab" * 16, "cd" * 8,
        findings=findings, labels={"team": "web"}, severity=Severity.P1,
    )  # fmt: skip


def report(*results: Result) -> Report:
    places = {r.check: ("probed.yaml", 10 + i) for i, r in enumerate(results)}
    return Report(results, 1_767_225_600.0, 1.5, places)


ALL = report(
    result("good"),
    result("slow", Outcome.DEGRADED),
    result("dark", Outcome.UNKNOWN),
    result("bad", Outcome.FAILED),
)


def test_nagios_says_the_worst_first_and_measures_all() -> None:
    lines = render_nagios(ALL).splitlines()
    assert lines[0] == (
        "PROBED CRITICAL - 1 ok, 1 degraded, 1 failed, 1 unknown: bad http.status: It did not."
        " | 'good'=0.250000s;;;0 'slow'=0.250000s;;;0 'dark'=0.250000s;;;0 'bad'=0.250000s;;;0"
    )
    assert lines[1:] == [
        "OK: good http://h/",
        "WARNING: slow http://h/ http.status: It did not.",
        "UNKNOWN: dark http://h/ http.status: It did not.",
        "CRITICAL: bad http://h/ http.status: It did not.",
    ]


def test_nagios_of_good_news_is_short() -> None:
    assert render_nagios(report(result("good"))).splitlines()[0] == (
        "PROBED OK - 1 ok | 'good'=0.250000s;;;0"
    )


def test_nagios_is_one_line_with_one_bar_whatever_a_peer_says() -> None:
    lines = render_nagios(report(result("bad", Outcome.FAILED, HOSTILE))).splitlines()
    assert len(lines) == 2
    assert lines[0].count("|") == 1
    assert re.fullmatch(r"('[^'=|]+'=[0-9.]+s;;;0 ?)+", lines[0].split("| ")[1])


def test_junit_tells_failures_from_errors() -> None:
    suite = ET.fromstring(render_junit(ALL))[0]
    counted = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counted == ["4", "1", "1", "0"]
    cases = {case.get("name"): case for case in suite}
    failure = cases["bad"].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.text) == ("http.status", "failed http.status: It did not.")
    assert cases["dark"].find("error") is not None
    assert cases["slow"].findtext("system-out") == "degraded http.status: It did not."
    assert [child.tag for child in cases["good"]] == ["properties"]
    properties = {p.get("name"): p.get("value") for p in cases["good"].iter("property")}
    assert properties["label.team"] == "web"
    assert properties["trace_id"] == "ab" * 16


@given(st.text())
def test_junit_can_be_parsed_whatever_a_peer_says(text: str) -> None:
    bad = result("bad", Outcome.FAILED, text)._replace(target=text, labels={"a": text})
    suite = ET.fromstring(render_junit(report(bad)).encode("utf-8", "surrogatepass"))
    assert len(suite[0]) == 1


def test_github_points_at_the_line_of_the_check() -> None:
    assert render_github(ALL).splitlines() == [
        "::error file=probed.yaml,line=13,title=bad failed::http://h/: http.status: It did not.",
        "::error file=probed.yaml,line=12,title=dark unknown::http://h/: http.status: It did not.",
        "::warning file=probed.yaml,line=11,title=slow degraded::http://h/: http.status: It did not.",
        "probed: 1 ok, 1 degraded, 1 failed, 1 unknown",
    ]


def test_github_shows_no_more_than_ten_of_a_kind_and_counts_the_others() -> None:
    lines = render_github(
        report(*(result(f"c{i}", Outcome.FAILED) for i in range(14)))
    ).splitlines()
    assert sum(line.startswith("::error ") for line in lines) == 10
    assert "::notice::and 4 more of these" in lines


def test_a_peer_cannot_give_github_commands() -> None:
    text = render_github(report(result("bad", Outcome.FAILED, HOSTILE)))
    assert len(text.splitlines()) == 2
    assert [line for line in text.splitlines() if line.startswith("::")] == [text.splitlines()[0]]


def test_a_peer_cannot_give_markup_in_the_summary() -> None:
    table = render_markdown(report(result("bad", Outcome.FAILED, HOSTILE.replace("\n", " "))))
    row = table.splitlines()[-1]
    assert row.count("|") == 5
    assert "<script>" not in row
    assert "@all" not in row


@pytest.mark.parametrize("render", [render_json, render_junit, render_nagios, render_github])
def test_nothing_at_all_is_a_document_too(render: object) -> None:
    assert render(report())  # type: ignore[operator]


def test_the_waterfall_fits_its_frame() -> None:
    phases = (Phase("resolve", 0.0, 0.0), Phase("wait", 0.1, 0.15, "timeout.wait"))
    text = render_result(result("good")._replace(phases=phases), Style(verbose=True))
    bars = re.findall(r"\|(.*)\|", text)
    assert [len(bar) for bar in bars] == [32, 32]
    assert "timeout.wait" in text


def test_measures_are_told_apart_by_what_differs() -> None:
    count = Measure("a.count", unit="{member}", help="Members.", attributes=("state", "server"))
    level = Measure("a.level", help="Level.", attributes=("server",))
    here = ("server", "db1")
    measures = (
        Measurement(count, 3.0, (here, ("state", "up"))),
        Measurement(count, 0.0, (here, ("state", "down"))),
        Measurement(level, 0.0, (here,)),
    )
    text = render_result(result("good")._replace(measures=measures), Style(verbose=True))
    assert [line.strip() for line in text.splitlines()[1:-1]] == [
        "a.count{state=up} = 3 member",
        "a.level = 0",
    ]


def test_many_values_of_a_measure_are_one_line() -> None:
    took = Measure(
        "a.took", unit="s", kind=MetricType.HISTOGRAM, help="Time.", attributes=("step",)
    )
    until = Measure("a.until", unit="s", help="End.", attributes=("step",))
    size = Measure("a.size", unit="By", help="Size.", attributes=("step", "side"))
    state = Measure("a.state", help="State.", attributes=("step", "is"))
    steps = [(("step", f"s{number}"),) for number in range(12)]
    measures = (
        *(Measurement(took, 0.001 * (number + 1), step) for number, step in enumerate(steps)),
        *(Measurement(until, 1.8e9, step) for step in steps[:2]),
        *(Measurement(size, 7.0, (*step, ("side", "left"))) for step in steps),
        Measurement(state, 1.0, (*steps[0], ("is", "ok"))),
        Measurement(state, 0.0, (*steps[0], ("is", "failed"))),
        Measurement(state, 1.0, (*steps[1], ("is", "failed"))),
        Measurement(state, 0.0, (*steps[1], ("is", "ok"))),
    )
    text = render_result(result("good")._replace(measures=measures), Style(verbose=True))
    assert [line.strip() for line in text.splitlines()[1:-1]] == [
        "a.took = 12 values, 1.0 ms to 12.0 ms",
        "a.until = s0 2027-01-15 08:00:00 UTC, s1 2027-01-15 08:00:00 UTC",
        "a.size{side=left} = 12 values, 7 By",
        "a.state = s0/ok, s1/failed",
    ]


def test_facts_of_several_lines_stand_below_their_name() -> None:
    facts = {"a": "1", "tree": ("top", "  below"), "none": None, "empty": ""}
    text = render_result(result("good")._replace(facts=facts), Style(verbose=True))
    assert text.splitlines()[1:-1] == [
        "    a      1",
        "    tree",
        "        top",
        "          below",
    ]


def test_a_phase_that_was_not_come_to_is_no_bar_and_says_so() -> None:
    phases = (Phase("banner", 0.0, 0.1, "timeout.banner"), Phase("auth", 0.1, 0.0, skipped=True))
    found = result("good")._replace(phases=phases)
    text = render_result(found, Style(verbose=True))
    assert re.search(r"^ +auth +skipped$", text, re.MULTILINE)
    assert len(re.findall(r"\|(.*)\|", text)) == 1
    shown = json.loads(render_json(report(found)))["results"][0]["phases"]
    assert [phase.get("skipped") for phase in shown] == [None, True]
