"""Small charts as inline SVG, readable without colours and by screen readers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape

from probed.engine.history import Past
from probed.model import Outcome, Phase, Transition, Verdict
from probed.text.humanize import seconds
from probed.web.page.markup import Html, el

SHOWN = 40
"""Runs of a sparkline."""
_WIDTH, _HEIGHT = 160, 22
_HIGH = {
    Verdict.UP: 4,
    Verdict.PENDING: 4,
    Verdict.UNKNOWN: 6,
    Verdict.DEGRADED: 8,
    Verdict.DOWN: 12,
}
_MARKS = {Outcome.FAILED: "f", Outcome.DEGRADED: "d", Outcome.UNKNOWN: "u"}
_BADGE = {
    Verdict.UP: "#1a7f37", Verdict.DEGRADED: "#9a6700", Verdict.DOWN: "#cf222e",
    Verdict.UNKNOWN: "#6e7781", Verdict.PENDING: "#6e7781",
}  # fmt: skip


def sparkline(name: str, past: Sequence[Past], *, shown: int = SHOWN, wide: bool = False) -> Html:
    """Return a line of how long the last runs took. A run that was not ok is a gap with a mark: as high as the chart
    where it has failed, half where it was degraded, dotted where nothing is known.
    """
    runs = past[-shown:]
    if not runs:
        return Html("")
    width, height = (_WIDTH * 4, _HEIGHT * 3) if wide else (_WIDTH, _HEIGHT)
    good = [run.duration_s for run in runs if run.outcome is Outcome.OK]
    low, scale = height - 2, (height - 4) / (max(good, default=0.0) or 1.0)
    line, marks, gap = "", "", True
    for x, run in zip(_places(width, shown)[-len(runs) :], runs, strict=True):
        if run.outcome is Outcome.OK:
            # Where a line begins there is a point, so that a run between two that were not ok is seen.
            line += f"{f'M{x} ' if gap else f'L{x} '}{low - scale * run.duration_s:.1f}{'h.1' if gap else ''}"
            gap = False
            continue
        gap = True
        high = height if run.outcome is Outcome.FAILED else height / 2
        marks += f'<path class="{_MARKS[run.outcome]}" d="M{x} {height}v-{high:.0f}"/>'
    return Html(
        f'<svg class="spark" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' preserveAspectRatio="none"><title>{escape(_said(name, runs, good))}</title>'
        f'<path class="l" d="{line}"/>{marks}</svg>'
    )


@cache
def _places(width: int, shown: int) -> tuple[str, ...]:
    """Return the runs' places, from left to right."""
    return tuple(f"{(number + 0.5) * width / shown:.1f}" for number in range(shown))


def _said(name: str, runs: Sequence[Past], good: Sequence[float]) -> str:
    bad = len(runs) - len(good)
    told = f"{name}, last {len(runs)} runs: "
    if good:
        told += (
            f"{seconds(min(good))} to {seconds(max(good))}, latest {seconds(runs[-1].duration_s)}; "
        )
    return told + (f"{bad} not ok" if bad else "all ok")


def timeline(changes: Sequence[Transition], until: float) -> Html:
    """Return a bar of verdicts over time, since the first known change. Higher is worse."""
    begin = changes[0].at
    total = until - begin
    if total <= 0:
        return Html("")
    held: dict[Verdict, float] = {}
    bars = []
    for change, end in zip(changes, [*(later.at for later in changes[1:]), until], strict=True):
        span = max(0.0, end - change.at)  # a clock may have been set back
        held[change.new] = held.get(change.new, 0.0) + span
        high = _HIGH[change.new]
        bars.append(
            f'<rect class="{change.new.value}" x="{100 * (change.at - begin) / total:.3f}" y="{12 - high}"'
            f' width="{max(0.2, 100 * span / total):.3f}" height="{high}"/>'
        )
    said = ", ".join(f"{found.value} {100 * part / total:.3g} %" for found, part in held.items())
    return Html(
        '<svg class="time" role="img" viewBox="0 0 100 12" preserveAspectRatio="none">'
        f"{el('title', f'Of the time since the first change: {said}')}{''.join(bars)}</svg>"
    )


def waterfall(phases: Sequence[Phase], total: float) -> Html:
    """Return a table of phases, each with a bar on the time scale of the whole run."""
    rows = []
    for phase in phases:
        start = min(100.0, 100 * phase.start_s / total) if total else 0.0
        length = max(0.4, min(100 - start, 100 * phase.duration_s / total)) if total else 0.4
        bar = Html(
            f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="{"f" if phase.error else "b"}" x="{start:.2f}" width="{length:.2f}" height="8"/></svg>'
        )
        took = "skipped" if phase.skipped else seconds(phase.duration_s)
        rows.append(
            el(
                "tr",
                el("th", phase.name, scope="row"),
                el("td", took, class_="num"),
                el("td", "" if phase.skipped else bar, class_="wide"),
                el("td", phase.error or "", class_="why"),
            )
        )
    head = el("tr", *(el("th", word, scope="col") for word in ("Phase", "Time", "When", "Error")))
    return el("table", el("thead", head), el("tbody", rows), class_="waterfall")


def badge(name: str, verdict: Verdict) -> Html:
    """Return a badge of a check's verdict, for other pages."""
    left, right = 7 * len(name) + 14, 7 * len(verdict.value) + 14
    width = left + right
    return Html(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img">'
        f"{el('title', f'{name}: {verdict.value}')}"
        f'<rect width="{left}" height="20" fill="#444c56"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{_BADGE[verdict]}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f"{el('text', name, x=left / 2, y=14)}{el('text', verdict.value, x=left + right / 2, y=14)}</g></svg>"
    )


FAVICON = Html(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#24292f"/>'
    '<path d="M2 9h3l2-5 3 9 2-4h2" fill="none" stroke="#3fb950" stroke-width="1.6"/></svg>'
)
