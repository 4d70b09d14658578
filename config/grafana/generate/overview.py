"""Overview: what is not up, since when, and why."""

from __future__ import annotations

from .layout import dashboard
from .panels import (
    AMBER,
    AVAILABILITY,
    COLOURED_TEXT,
    EXPIRY,
    GREEN,
    NONE_ALLOWED,
    NONE_EXPECTED,
    RED,
    VERDICT_COLOURS,
    check_table,
    lines,
    query,
    reasons,
    stat,
    thresholds,
    verdicts,
)
from .queries import checks, failure_ratio, increase

_UP = f"min by (probed_check) ({checks('probed_check_up')})"
_DOWN = f"({_UP} == 0)"
_DESCRIPTION = (
    "topk by (probed_check) "
    "(1, group by (probed_check, target, severity, probed_probe) (probed_check_info))"
)
_IS_DOWN = f"{_DOWN} * on (probed_check) group_left (target, severity, probed_probe) {_DESCRIPTION}"
_LAST_SUCCESS = f"max by (probed_check) ({checks('probed_check_last_success_timestamp_seconds')})"
_FAILED = increase("probed_check_runs_total", 'probed_outcome="failed"')
_JUDGED = increase("probed_check_runs_total", 'probed_outcome!="unknown"')
_TOP_REASON = f"topk by (probed_check) (1, sum by (probed_check, error_type) ({_FAILED}) > 0)"
_BUDGET = (
    "(probed:check_budget:ratio"
    " or on (probed_check) (0 * group by (probed_check) (probed_check_info) + 0.01))"
)
_CERTIFICATE = f"min by (probed_check) ({checks('probed_tls_certificate_not_after_seconds')})"


def _checks_with(outcome: str) -> str:
    """Return the number of checks whose last run had this outcome."""
    last = checks("probed_check_outcome", f'probed_outcome="{outcome}"')
    return f"count(max by (probed_check) ({last}) == 1) or vector(0)"


PANELS = [
    stat(
        "Down",
        "Checks whose verdict is down.",
        query(f"count({_UP} == 0) or vector(0)"),
        steps=NONE_ALLOWED,
    ),
    stat(
        "Degraded",
        "Checks whose last run was degraded.",
        query(_checks_with("degraded")),
        steps=NONE_EXPECTED,
    ),
    stat(
        "Unknown",
        "Checks that could not be judged: probed's own network failed, or a permission is missing.",
        query(_checks_with("unknown")),
        steps=NONE_EXPECTED,
    ),
    stat(
        "Checks",
        "Configured checks.",
        query(f"count(count by (probed_check) ({checks('probed_check_info')}))"),
    ),
    stat(
        "Successful runs",
        "Share of the judged runs in the selected time range that did not fail.",
        query(f"1 - sum({_FAILED}) / sum({_JUDGED})"),
        unit="percentunit",
        steps=AVAILABILITY,
    ),
    stat("Probers", "probed daemons that report metrics.", query("count(probed_build_info)")),
    verdicts(12),
    check_table(
        "Checks that are down",
        "Time since the last successful run, and the most frequent reason.",
        {
            "verdict": (_IS_DOWN, {"mappings": VERDICT_COLOURS, **COLOURED_TEXT}),
            "last success, ago": (
                f"time() - ({_LAST_SUCCESS} > 0) and on (probed_check) {_DOWN}",
                {"unit": "s"},
            ),
            "failed runs": (f"{_TOP_REASON} and on (probed_check) {_DOWN}", {"decimals": 0}),
        },
    ),
    reasons(),
    lines(
        "Availability",
        "Share of the judged runs that did not fail, over one hour.",
        query(f"1 - {failure_ratio('1h')}", "{{probed_check}}"),
        unit="percentunit",
        steps=AVAILABILITY,
    ),
    check_table(
        "Error budget",
        "Error budget that is left in the selected time range. The budget is 1 - `objective` where the rules "
        "generated from the configuration are loaded, else 1 %.",
        {
            "left": (
                f"clamp_min(1 - ({failure_ratio()}) / on (probed_check) {_BUDGET}, 0)",
                {
                    "unit": "percentunit",
                    "thresholds": thresholds([(None, RED), (0.001, AMBER), (0.5, GREEN)]),
                    **COLOURED_TEXT,
                },
            )
        },
        width=12,
    ),
    check_table(
        "Certificates",
        "Time until the first certificate of each check expires.",
        {
            "expires in": (
                f"{_CERTIFICATE} - time()",
                {"unit": "s", "thresholds": thresholds(EXPIRY), **COLOURED_TEXT},
            )
        },
        width=12,
    ),
]

DASHBOARD = dashboard(
    "overview",
    "probed: overview",
    "Checks that are not up, since when, and why.",
    PANELS,
)
