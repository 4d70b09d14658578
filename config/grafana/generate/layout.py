"""A dashboard: panels in rows, and the variables above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .panels import PROMETHEUS, WIDTH, Panel

Dashboard: TypeAlias = dict[str, Any]


def dashboard(
    name: str,
    title: str,
    description: str,
    panels: Sequence[Panel],
    *,
    kinds: str = ".+",
    checks: bool = True,
    several: bool = True,
) -> Dashboard:
    """Return a dashboard with uid `probed-NAME`; panels fill rows of 24 columns, left to right.

    `kinds` is a regular expression for the probe kinds whose checks can be selected. Without
    `checks` there is no such variable; without `several` one check is selected at a time.
    """
    return {
        "uid": f"probed-{name}",
        "title": title,
        "description": description,
        "tags": ["probed"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": _variables(kinds, checks=checks, several=several)},
        "annotations": {"list": []},
        "panels": _placed(panels),
        "links": [
            {
                "type": "dashboards",
                "tags": ["probed"],
                "title": "probed",
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
    }


def _placed(panels: Sequence[Panel]) -> list[Panel]:
    """Give each panel its id and its place."""
    placed: list[Panel] = []
    x = y = height = 0
    for identity, one in enumerate(panels, 1):
        grid = one["gridPos"]
        if x + grid["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        placed.append({**one, "id": identity, "gridPos": {**grid, "x": x, "y": y}})
        x, height = x + grid["w"], max(height, grid["h"])
    return placed


def _variables(kinds: str, *, checks: bool, several: bool) -> list[dict[str, Any]]:
    probers = 'label_values(target_info{service_name="probed"}, probed_location)'
    found: list[dict[str, Any]] = [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Prometheus",
            "query": "prometheus",
            "current": {},
            "refresh": 1,
        },
        _variable("location", "Location", probers),
    ]
    if checks:
        severities = "label_values(probed_check_info, severity)"
        info = f'probed_check_info{{probed_probe=~"{kinds}", severity=~"$severity"}}'
        names = f"label_values({info}, probed_check)"
        found.append(_variable("severity", "Severity", severities))
        found.append(_variable("check", "Check", names, several=several, listed=True))
    return found


def _variable(
    name: str, label: str, query: str, *, several: bool = True, listed: bool = False
) -> dict[str, Any]:
    """Return a variable. All means each listed value, or without `listed` any value or none."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": PROMETHEUS,
        "refresh": 2,
        "sort": 1,
        "query": {"query": query, "refId": name},
        "definition": query,
        "multi": several,
        "includeAll": several,
        "allValue": ".*" if several and not listed else None,
        "current": {"text": "All", "value": "$__all"} if several else {},
    }
