"""The vocabulary of panels: one function for each type, and the colours that they share.

Every panel takes a title, a description, and either queries (made by `query`) or one expression.
Keywords of all: `unit` (a Grafana unit), `width` (of 24 columns), `height`, `steps` (thresholds as
pairs of lowest value and colour, the first with None), `mappings` (texts and colours for values).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .queries import OUTCOMES, check_rate, checks

Panel: TypeAlias = dict[str, Any]
Query: TypeAlias = dict[str, Any]
Steps: TypeAlias = Sequence[tuple[float | None, str]]

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
"""Columns of a dashboard."""
RED, AMBER, GREEN, GREY = "red", "orange", "green", "text"
NONE_ALLOWED: Steps = [(None, GREEN), (1, RED)]
NONE_EXPECTED: Steps = [(None, GREEN), (1, AMBER)]
LATE: Steps = [(None, GREEN), (0.1, AMBER), (0.5, RED)]
AVAILABILITY: Steps = [(None, RED), (0.99, AMBER), (0.999, GREEN)]
EXPIRY: Steps = [(None, RED), (604800, AMBER), (1814400, GREEN)]
"""Seconds until a certificate expires: 7 and 21 days."""
COLOURED_TEXT = {"custom.cellOptions": {"type": "color-text"}}
_CHECK_PAGE = (
    "/d/probed-check/probed-check?var-check=${__data.fields.probed_check}&${datasource:queryparam}"
)
_LEGEND = {"displayMode": "list", "placement": "bottom"}
_NAMES = {"probed_check": "check", "probed_probe": "kind", "error_type": "reason"}


def _values(**texts: tuple[str, str]) -> dict[str, Any]:
    """A mapping from values (`_1` is 1) to texts and colours."""
    options = {
        value.lstrip("_"): {"text": text, "color": colour}
        for value, (text, colour) in texts.items()
    }
    return {"type": "value", "options": options}


VERDICT_COLOURS = [
    _values(_1=("up", GREEN), _0=("down", RED)),
    {"type": "special", "options": {"match": "null", "result": {"text": "unknown", "color": GREY}}},
]
YES_OR_NO = [_values(_1=("yes", GREEN), _0=("no", RED))]
OUTCOME_COLOURS = [
    _values(
        **{
            f"_{code}": (name, colour)
            for code, (name, colour) in enumerate(
                zip(OUTCOMES, (GREEN, AMBER, RED, GREY), strict=True)
            )
        }
    )
]


def query(expr: str, legend: str = "", *, table: bool = False, buckets: bool = False) -> Query:
    """Return a query of a panel. `legend` may name labels: `{{probed_check}}`.

    With `table` it is evaluated once, at the end of the time range; with `buckets` it returns the
    buckets of a histogram, with exemplars.
    """
    found: Query = {
        "datasource": PROMETHEUS,
        "expr": expr,
        "legendFormat": legend or "__auto",
        "instant": table,
        "range": not table,
    }
    if table:
        found["format"] = "table"
    if buckets:
        found |= {"format": "heatmap", "exemplar": True}
    return found


def thresholds(steps: Steps) -> dict[str, Any]:
    """Return thresholds as Grafana writes them."""
    pairs = [{"value": value, "color": colour} for value, colour in steps]
    return {"mode": "absolute", "steps": pairs}


def panel(
    kind: str,
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    height: int = 8,
    steps: Steps = (),
    mappings: Sequence[Any] = (),
    **more: Any,
) -> Panel:
    """Return a panel of any type of Grafana's; the functions below choose its options."""
    defaults: dict[str, Any] = {
        "unit": unit,
        "custom": more.pop("custom", {}),
        "mappings": list(mappings),
        "thresholds": thresholds(steps or [(None, GREEN)]),
    }
    if steps or mappings:
        defaults["color"] = {"mode": "thresholds"}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": PROMETHEUS,
        "targets": [{**one, "refId": chr(65 + n)} for n, one in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {},
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
        **more,
    }


def lines(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """Return a graph with a line for each series."""
    custom = {"lineWidth": 1, "fillOpacity": 8, "spanNulls": False, "showPoints": "never"}
    options = {"legend": _LEGEND, "tooltip": {"mode": "multi"}}
    return panel("timeseries", title, description, *queries, custom=custom, options=options, **more)


def stacked(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """Return a graph with an area for each series, one on top of the other."""
    custom = {
        "lineWidth": 0, "fillOpacity": 70, "stacking": {"mode": "normal"}, "spanNulls": False,
    }  # fmt: skip
    options = {"legend": _LEGEND, "tooltip": {"mode": "multi"}}
    return panel("timeseries", title, description, *queries, custom=custom, options=options, **more)


def stat(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """Return a panel with the last value as a large number."""
    more = {"width": 4, "height": 4} | more
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "none"}
    return panel("stat", title, description, *queries, options=options, **more)


def timeline(title: str, description: str, expr: str, legend: str, **more: Any) -> Panel:
    """Return a panel with one row of coloured states for each series, by default verdicts."""
    more.setdefault("mappings", VERDICT_COLOURS)
    custom = {"fillOpacity": 80, "lineWidth": 0}
    options = {"mergeValues": True, "showValue": "never", "rowHeight": 0.8, "legend": _LEGEND}
    return panel(
        "state-timeline", title, description, query(expr, legend), width=WIDTH,
        custom=custom, options=options, **more,
    )  # fmt: skip


def check_table(
    title: str, description: str, columns: Mapping[str, tuple[str, dict[str, Any]]], **more: Any
) -> Panel:
    """Return a table with a row for each check, which links to the dashboard of the check.

    `columns` maps headings to an expression and the options of its values (`unit`, `thresholds`,
    `mappings`, `decimals`).
    """
    headings = {f"Value #{chr(65 + n)}": heading for n, heading in enumerate(columns)}
    if len(columns) == 1:
        headings = {"Value": next(iter(columns))}
    hidden = ["Time", "job", "instance", *(f"Time {n}" for n in range(1, len(columns) + 1))]
    organize = {
        "excludeByName": dict.fromkeys(hidden, True),
        "renameByName": {**headings, **_NAMES},
    }
    found = panel(
        "table",
        title,
        description,
        *(query(expr, table=True) for expr, _ in columns.values()),
        transformations=[
            {"id": "joinByField", "options": {"byField": "probed_check", "mode": "outer"}},
            {"id": "organize", "options": organize},
        ],
        **{"width": WIDTH, **more},
    )
    found["fieldConfig"]["defaults"]["links"] = [{"title": "This check", "url": _CHECK_PAGE}]
    found["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byName", "options": heading},
            "properties": [{"id": name, "value": value} for name, value in options.items()],
        }
        for heading, (_, options) in columns.items()
    ]
    return found


def heatmap(title: str, description: str, metric: str) -> Panel:
    """Return a heatmap of a histogram of seconds, with exemplars that lead to traces."""
    expr = f"sum by (le) ({check_rate(f'{metric}_bucket')})"
    options = {
        "calculate": False,
        "yAxis": {"unit": "s"},
        "cellGap": 1,
        "color": {"scheme": "Blues"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "tooltip": {"mode": "single"},
    }
    buckets = query(expr, "{{le}}", buckets=True)
    return panel("heatmap", title, description, buckets, unit="s", options=options)


def verdicts(height: int = 8) -> Panel:
    """Return the verdicts of the selected checks over time."""
    return timeline(
        "Verdicts",
        "Verdict after thresholds and confirmation. A gap means unknown: the check could not be judged.",
        f"min by (probed_check) ({checks('probed_check_up')})",
        "{{probed_check}}",
        height=height,
    )


def reasons() -> Panel:
    """Return the reasons of the runs that were not ok."""
    runs = check_rate("probed_check_runs_total", 'error_type!=""')
    return stacked(
        "Reasons",
        "Runs per minute that were not ok, by reason (error_type).",
        query(f"sum by (error_type) ({runs}) * 60", "{{error_type}}"),
        unit="rpm",
    )
