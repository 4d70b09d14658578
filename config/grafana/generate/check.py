"""One check: its phases, durations, reasons and runs."""

from __future__ import annotations

from .layout import dashboard
from .panels import (
    AMBER,
    GREEN,
    OUTCOME_COLOURS,
    RED,
    heatmap,
    lines,
    query,
    reasons,
    stacked,
    stat,
    timeline,
)
from .queries import check_rate, checks, increase, outcomes, quantile

PANELS = [
    timeline(
        "Verdict",
        "Verdict after thresholds and confirmation.",
        f"min by (probed_check) ({checks('probed_check_up')})",
        "{{probed_check}}",
        height=4,
    ),
    timeline(
        "Outcome",
        "Outcome of the last run. The verdict turns down after `fail_after` failed runs in a row.",
        outcomes("probed_check_outcome", "probed_check"),
        "{{probed_check}}",
        height=4,
        mappings=OUTCOME_COLOURS,
    ),
    stacked(
        "Phases",
        "Duration of each phase of the last run: shows which part is slow.",
        query(
            f"max by (probed_phase) ({checks('probed_check_phase_duration_seconds')})",
            "{{probed_phase}}",
        ),
        unit="s",
    ),
    heatmap(
        "Run duration",
        "Each dot is a run with a sampled trace. Click on it to open the trace.",
        "probed_check_duration_seconds",
    ),
    lines(
        "Duration quantiles",
        "Median, 90th and 99th percentile of the run duration.",
        *(
            query(quantile(q, check_rate("probed_check_duration_seconds_bucket")), f"p{q * 100:g}")
            for q in (0.5, 0.9, 0.99)
        ),
        unit="s",
    ),
    reasons(),
    stacked(
        "Runs",
        "Runs per minute, by outcome.",
        query(
            f"sum by (probed_outcome) ({check_rate('probed_check_runs_total')}) * 60",
            "{{probed_outcome}}",
        ),
        unit="rpm",
    ),
    lines(
        "Consecutive failures",
        "The verdict turns down after `fail_after` of them.",
        query(
            f"max by (probed_check) ({checks('probed_check_consecutive_failures')})",
            "{{probed_check}}",
        ),
        steps=[(None, GREEN), (1, AMBER), (2, RED)],
    ),
    stat(
        "Last run",
        "Time since the last run started.",
        query(f"time() - max(({checks('probed_check_last_run_timestamp_seconds')}))"),
        unit="s",
        width=6,
    ),
    stat(
        "Last success",
        "Time since the last successful run started.",
        query(f"time() - max(({checks('probed_check_last_success_timestamp_seconds')}))"),
        unit="s",
        width=6,
    ),
    stat(
        "Interval",
        "Time between two runs.",
        query(f"max({checks('probed_check_interval_seconds')})"),
        unit="s",
        width=6,
    ),
    stat(
        "Unconfirmed failures",
        "Failed runs whose confirmation succeeded, in the selected time range.",
        query(f"sum({increase('probed_check_unconfirmed_total')}) or vector(0)"),
        width=6,
    ),
]

DASHBOARD = dashboard(
    "check",
    "probed: check",
    "One check: its phases, durations, reasons and runs.",
    PANELS,
    several=False,
)
