"""Workflow commands of GitHub Actions: annotations at the check's line in the configuration."""

from __future__ import annotations

from probed.model import Outcome, Result
from probed.output.report import Report, summary_of

LIMIT = 10
"""Annotations of one level that GitHub shows for a step; the worst come first."""
_COMMANDS = {Outcome.FAILED: "error", Outcome.UNKNOWN: "error", Outcome.DEGRADED: "warning"}


def render_github(report: Report) -> str:
    """`::error file=probed.yaml,line=12,title=…::…` for each check that is not ok, then a summary."""
    lines = []
    for command in ("error", "warning"):
        found = [result for result in report.bad if _COMMANDS[result.outcome] == command]
        lines += [_annotation(command, result, report) for result in found[:LIMIT]]
        if len(found) > LIMIT:
            lines.append(f"::notice::and {len(found) - LIMIT} more of these")
    lines.append(f"probed: {_data(summary_of(report.results))}")
    return "\n".join(lines)


def render_markdown(report: Report) -> str:
    """Return a table for the step's summary ($GITHUB_STEP_SUMMARY)."""
    lines = [
        f"### probed: {summary_of(report.results)}",
        "",
        "| Check | Outcome | Time | What was found |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(r.check)} | {r.outcome.value} | {r.duration_s * 1000:.1f} ms | {_cell(r.why)} |"
        for r in report.results
    ]
    return "\n".join(lines) + "\n"


def _annotation(command: str, result: Result, report: Report) -> str:
    properties = {"title": f"{result.check} {result.outcome.value}"}
    place = report.places.get(result.check)
    if place is not None:
        properties = {"file": place[0], "line": str(place[1]), **properties}
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{command} {listed}::{_data(f'{result.target}: {result.why}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    """Return foreign text for a table cell, without markup or an end of the cell."""
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"),
                         ("`", "&#96;"), ("[", "&#91;"), ("*", "&#42;"), ("_", "&#95;"),
                         ("@", "&#64;")):  # fmt: skip
        text = text.replace(mark, entity)
    return text
