"""Results for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from probed.model import Fact, Finding, Outcome, Phase, Result
from probed.output.document import counts
from probed.text.humanize import measure_lines, seconds

_MARKS = {Outcome.OK: "✔", Outcome.DEGRADED: "!", Outcome.UNKNOWN: "?", Outcome.FAILED: "✖"}
_PLAIN_MARKS = {Outcome.OK: "+", Outcome.DEGRADED: "!", Outcome.UNKNOWN: "?", Outcome.FAILED: "x"}
_COLOURS = {Outcome.OK: "32", Outcome.DEGRADED: "33", Outcome.UNKNOWN: "35", Outcome.FAILED: "31"}
_BAR = 32
_INDENT = "    "


class Style(NamedTuple):
    """Style of the text: colours, characters beyond ASCII, and how much detail."""

    colour: bool = False
    unicode: bool = True
    verbose: bool = False
    name_width: int = 12

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def render_result(result: Result, style: Style) -> str:
    """Return a line, and its findings below it; with `verbose`, phases and evidence too."""
    return "\n".join(_lines(result, style))


def render_summary(results: Sequence[Result], duration_s: float, style: Style) -> str:
    """Return `8 checks in 1.2 s: 6 ok, 1 degraded, 1 failed`."""
    found = counts(results)
    parts = [
        style.paint(f"{count} {name}", _COLOURS[Outcome(name)])
        for name, count in found.items()
        if count
    ]
    noun = "check" if len(results) == 1 else "checks"
    return f"{len(results)} {noun} in {seconds(duration_s)}: {', '.join(parts)}"


def _lines(result: Result, style: Style) -> Iterator[str]:
    mark = (_MARKS if style.unicode else _PLAIN_MARKS)[result.outcome]
    head = style.paint(f"{mark} {result.outcome.value:<8}", _COLOURS[result.outcome])
    tries = f"  (attempt {result.attempts})" if result.attempts > 1 else ""
    yield (
        f"{head} {result.check:<{style.name_width}}  {seconds(result.duration_s):>8}  "
        f"{result.target}{tries}"
    )
    if style.verbose and result.previous is not None:
        yield from _attempts(result.previous, style)
    if style.verbose:
        yield from _waterfall(result.phases, result.duration_s, style)
    for finding in result.findings:
        yield from _finding(finding, style)
    if style.verbose:
        yield from _facts(result.facts)
        yield from measure_lines(result.measures, _INDENT)
        yield f"{_INDENT}trace {result.trace_id}"


def _attempts(result: Result, style: Style) -> Iterator[str]:
    if result.previous is not None:
        yield from _attempts(result.previous, style)
    yield style.paint(
        f"{_INDENT}attempt {result.attempts}: {result.outcome.value} after "
        f"{seconds(result.duration_s)}, {result.why}",
        "2",
    )


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    reason = style.paint(str(finding.reason), _COLOURS[finding.level])
    yield f"{_INDENT}{reason}: {finding.message}"
    if style.verbose:
        yield from _evidence(finding.evidence, _INDENT * 2)


def _evidence(evidence: Mapping[str, Any], indent: str) -> Iterator[str]:
    width = max((len(name) for name in evidence), default=0)
    for name, value in evidence.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _evidence(value, indent + _INDENT)
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if isinstance(value, tuple) and len(shown) > _BAR * 3:
            yield f"{indent}{name}"
            yield from (f"{indent}{_INDENT}{line}" for line in value)
        elif shown:
            yield f"{indent}{name:<{width}}  {shown}"


def _facts(facts: Mapping[str, Fact]) -> Iterator[str]:
    """Yield a line for each; a value of several lines stands below its name."""
    width = max((len(name) for name in facts if len(name) <= _BAR), default=0)
    for name, value in facts.items():
        if isinstance(value, tuple):
            yield f"{_INDENT}{name}"
            yield from (f"{_INDENT * 2}{line}" for line in value)
        elif value not in {None, ""}:
            yield f"{_INDENT}{name:<{width}}  {value}"


def _waterfall(phases: Iterable[Phase], total: float, style: Style) -> Iterator[str]:
    """Yield each phase as a bar, on the time scale of the whole run."""
    listed = list(phases)
    width = max((len(phase.name) for phase in listed), default=0)
    full = "█" if style.unicode else "#"
    for phase in listed:
        if phase.skipped:
            yield style.paint(f"{_INDENT}{phase.name:<{width}}  {'skipped':>8}", "2")
            continue
        start = round(phase.start_s / total * _BAR) if total else 0
        length = max(1, round(phase.duration_s / total * _BAR)) if total else 1
        start = min(start, _BAR - 1)
        bar = " " * start + full * min(length, _BAR - start)
        line = f"{_INDENT}{phase.name:<{width}}  {seconds(phase.duration_s):>8}  |{bar:<{_BAR}}|"
        yield style.paint(f"{line} {phase.error}", "31") if phase.error else line
