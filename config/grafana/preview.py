"""Preview of a dashboard without a Grafana: its file and its queries, drawn as one HTML page.

    python config/grafana/preview.py http://127.0.0.1:9090 \
        config/grafana/dashboards/probed-check.json check=gateway > check.html

Each panel is drawn at its place, by its type, unit, thresholds and legend. A variable that is not
given is All. The preview is an aid for writing dashboards and does not replace Grafana.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import httpx2

Series = list[dict[str, Any]]
Query = Callable[[str, bool], Series]
"""From an expression, and whether it is evaluated once, to its series: `metric` and `values`."""
TIMES = {"__rate_interval": "5m", "__range": "1h"}
COLOURS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "text": "#9a9da4"}  # fmt: skip
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a")  # fmt: skip
HOUR = 3600
STEPS = 60
STYLE = Path(__file__).with_suffix(".css").read_text()


def resolved(expr: str, values: Mapping[str, str]) -> str:
    """Return the query with its variables replaced."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)


def variables(
    dashboard: Mapping[str, Any], query: Query, wanted: Mapping[str, str]
) -> dict[str, str]:
    """Return the value of each variable: the wanted one, else All, or the first if it takes only one."""
    values = dict(TIMES)
    for one in dashboard["templating"]["list"]:
        if one["type"] != "query":
            continue
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", one["definition"])
        assert found is not None, one["definition"]
        answer = query(resolved(found[1], values), True)
        options = sorted({name for each in answer if (name := each["metric"].get(found[2]))})
        every = one["allValue"] or "|".join(map(re.escape, options))
        chosen = every if one["multi"] else "".join(options[:1])
        values[one["name"]] = wanted.get(one["name"], chosen).replace("\\", "\\\\")
    return values


def prometheus(base: str, end: float) -> Query:
    """Return a function that queries a Prometheus for the hour before `end`."""

    def query(expr: str, instant: bool) -> Series:
        when = {"time": end} if instant else {"start": end - HOUR, "end": end, "step": HOUR / STEPS}
        url = f"{base}/api/v1/query{'' if instant else '_range'}"
        answer = httpx2.get(url, params={"query": expr, **when}, timeout=20).raise_for_status()
        return [
            {"metric": one["metric"], "values": one.get("values") or [one["value"]]}
            for one in answer.json()["data"]["result"]
        ]

    return query


def shown(value: float, unit: str) -> str:
    """Return a number with its unit."""
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    for each, factor, name in (
        ("s", 86400, "d"), ("s", 3600, "h"), ("s", 60, "min"), ("s", 1, "s"), ("s", 1e-3, "ms"), ("s", 1e-6, "µs"),
        ("bytes", 1 << 20, "MiB"), ("bytes", 1 << 10, "KiB"), ("short", 1e6, "M"), ("short", 1e3, "k"),
    ):  # fmt: skip
        if unit == each and abs(value) >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value:.3g}{'/min' if unit in {'rpm', 'cpm'} else ''}"


def named(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return the legend of a series."""
    template = target.get("legendFormat", "__auto")
    if template == "__auto":
        return ", ".join(f"{key}={text}" for key, text in labels.items()) or "value"
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template).strip()


def judged(value: float, defaults: Mapping[str, Any]) -> tuple[str, str]:
    """Return text and colour, by mappings and thresholds."""
    for mapping in defaults["mappings"]:
        if mapping["type"] == "value" and (found := mapping["options"].get(f"{value:g}")):
            return found["text"], COLOURS[found["color"]]
    steps = defaults["thresholds"]["steps"]
    colour = next(s["color"] for s in reversed(steps) if s["value"] is None or value >= s["value"])
    return shown(value, defaults["unit"]), COLOURS[colour]


def numbers(series: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the finite points of a series, by time."""
    return [(at, n) for at, text in series["values"] if math.isfinite(n := float(text))]


def answers(panel: Mapping[str, Any], query: Query) -> list[tuple[str, dict[str, str], list[Any]]]:
    """Return legend, labels and points of each series that has points."""
    return [
        (named(target, one["metric"]), one["metric"], points)
        for target in panel["targets"]
        for one in query(target["expr"], target["instant"])
        if (points := numbers(one))
    ]


def stat(panel: Mapping[str, Any], query: Query, _end: float) -> Iterator[str]:
    yield '<div class="stat">'
    found = answers(panel, query)
    for legend, _, points in found:
        text, colour = judged(points[-1][1], panel["fieldConfig"]["defaults"])
        below = f"<small>{escape(legend)}</small>" if len(found) > 1 else ""
        yield f'<div style="color:{colour}">{escape(text)}{below}</div>'
    yield "</div>"


Track = list[tuple[float, float, float]]
"""Time, lower and upper bound of each point of a line or an area."""


def tracks(panel: Mapping[str, Any], query: Query) -> list[tuple[str, Track]]:
    """Return the legend and the points of each line, stacked if the panel says so."""
    stacked = "stacking" in panel["fieldConfig"]["defaults"]["custom"]
    under: dict[float, float] = {}
    found: list[tuple[str, Track]] = []
    for legend, _, points in answers(panel, query):
        track = []
        for at, value in points:
            low = under.get(at, 0.0) if stacked else 0.0
            under[at] = low + value
            track.append((at, low, low + value))
        found.append((legend, track))
    return found


def timeseries(panel: Mapping[str, Any], query: Query, end: float) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    found = tracks(panel, query)
    values = [high for _, track in found for _, _, high in track]
    top, bottom = max([*values, 0.0]) or 1.0, min([*values, 0.0])

    def point(at: float, value: float) -> str:
        x = (at - end + HOUR) / HOUR * 1000
        return f"{x:.0f},{100 - (value - bottom) / (top - bottom) * 96:.1f}"

    yield '<svg viewBox="0 0 1000 100" preserveAspectRatio="none">'
    for part in (0.25, 0.5, 0.75, 1.0):
        yield f'<path d="M0 {100 - 96 * part}H1000" stroke="#2c2f36" vector-effect="non-scaling-stroke"/>'
    for number, (_, track) in enumerate(found):
        colour = PALETTE[number % len(PALETTE)]
        for run in without_gaps(track):
            path = " ".join(point(at, high) for at, _, high in run)
            if "stacking" in defaults["custom"]:
                path += " " + " ".join(point(at, low) for at, low, _ in reversed(run))
                yield f'<polygon points="{path}" fill="{colour}" fill-opacity=".7"/>'
            else:
                yield (
                    f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"'
                    ' vector-effect="non-scaling-stroke"/>'
                )
    yield f"</svg><footer><span>max {escape(shown(top, defaults['unit']))}</span>"
    for number, (legend, _) in enumerate(found):
        yield f'<span><i style="background:{PALETTE[number % len(PALETTE)]}"></i>{escape(legend)}</span>'
    yield "</footer>"


def without_gaps(track: Track) -> Iterator[Track]:
    """Split a line where a point is missing."""
    run: Track = []
    for one in track:
        if run and one[0] - run[-1][0] > 1.5 * HOUR / STEPS:
            yield run
            run = []
        run.append(one)
    yield run


def timeline(panel: Mapping[str, Any], query: Query, end: float) -> Iterator[str]:
    yield '<div class="rows">'
    for legend, _, points in answers(panel, query):
        yield f'<span>{escape(legend)}</span><svg viewBox="0 0 60 1" preserveAspectRatio="none">'
        for at, value in points:
            text, colour = judged(value, panel["fieldConfig"]["defaults"])
            x = (at - end + HOUR) / HOUR * STEPS
            yield f'<rect x="{x:.2f}" width="1.05" height="1" fill="{colour}"><title>{escape(text)}</title></rect>'
        yield "</svg>"
    yield "</div>"


def table(panel: Mapping[str, Any], query: Query, _end: float) -> Iterator[str]:
    """Draw a table, joined by check as the panel's transformations say."""
    organized = panel["transformations"][1]["options"]
    defaults = panel["fieldConfig"]["defaults"]
    shows = {
        one["matcher"]["options"]: {each["id"]: each["value"] for each in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }
    rows: dict[str, dict[str, str]] = {}
    for number, target in enumerate(panel["targets"]):
        column = f"Value #{chr(65 + number)}" if len(panel["targets"]) > 1 else "Value"
        for one in query(target["expr"], True):
            row = rows.setdefault(one["metric"].get("probed_check", ""), {})
            row.update({key: escape(text) for key, text in one["metric"].items()})
            for _, value in numbers(one):
                heading = organized["renameByName"][column]
                text, colour = judged(value, defaults | shows[heading])
                style = f' style="color:{colour}"' if "custom.cellOptions" in shows[heading] else ""
                row[column] = f"<span{style}>{escape(text)}</span>"
    hidden = {*organized["excludeByName"], "__name__"}
    columns = [
        name
        for name in dict.fromkeys(key for row in rows.values() for key in row)
        if name not in hidden
    ]
    if not rows:
        return
    headings = (organized["renameByName"].get(name, name) for name in columns)
    yield "<table><tr>" + "".join(f"<th>{escape(heading)}</th>" for heading in headings) + "</tr>"
    for row in rows.values():
        yield "<tr>" + "".join(f"<td>{row.get(name, '')}</td>" for name in columns) + "</tr>"
    yield "</table>"


def heatmap(panel: Mapping[str, Any], query: Query, end: float) -> Iterator[str]:
    buckets = sorted(
        (float(labels["le"]), dict(points)) for _, labels, points in answers(panel, query)
    )
    below: dict[float, float] = {}
    cells: list[tuple[float, int, float]] = []
    used: set[int] = set()
    for row, (_, points) in enumerate(buckets):
        for at, value in points.items():
            if (count := value - below.get(at, 0.0)) > 1e-9:
                cells.append((at, row, count))
                used.add(row)
        below = points
    if not cells:
        return
    low, high = min(used), max(used)
    most = max(count for *_, count in cells)
    yield f'<svg viewBox="0 0 {STEPS} {high - low + 1}" preserveAspectRatio="none">'
    for at, row, count in cells:
        x = (at - end + HOUR) / HOUR * STEPS
        yield (
            f'<rect x="{x:.2f}" y="{high - row}" width=".95" height=".95" fill="#5794f2"'
            f' fill-opacity="{0.15 + 0.85 * count / most:.2f}"/>'
        )
    unit = panel["fieldConfig"]["defaults"]["unit"]
    ends = f"{shown(buckets[low][0], unit)} to {shown(buckets[high][0], unit)}"
    yield f"</svg><footer><span>buckets up to {escape(ends)}</span></footer>"


DRAW = {"stat": stat, "timeseries": timeseries, "state-timeline": timeline, "table": table, "heatmap": heatmap}  # fmt: skip


def page(dashboard: Mapping[str, Any], query: Query, end: float, wanted: Mapping[str, str]) -> str:
    """Return the dashboard as HTML. A panel without data says so."""
    values = variables(dashboard, query, wanted)

    def ask(expr: str, instant: bool) -> Series:
        return query(resolved(expr, values), instant)

    title, description = escape(dashboard["title"]), escape(dashboard["description"])
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    parts = [f"{head}<h1>{title}</h1><p>{description}</p><main>"]
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        place = f"grid-column:{grid['x'] + 1}/span {grid['w']};grid-row:{grid['y'] + 1}/span {grid['h']}"
        drawn = "".join(DRAW[panel["type"]](panel, ask, end))
        if not re.search("<(rect|polyline|polygon|td|div style)", drawn):
            drawn = '<div class="none">No data</div>'
        parts.append(
            f'<section style="{place}" title="{escape(panel["description"])}"><h2>{escape(panel["title"])}</h2>{drawn}</section>'
        )
    return "".join([*parts, "</main>"])


if __name__ == "__main__":
    base, file, *said = sys.argv[1:]
    now = time.time()
    chosen = dict(one.split("=", 1) for one in said)
    document = json.loads(Path(file).read_text())
    sys.stdout.write(page(document, prometheus(base, now), now, chosen))
