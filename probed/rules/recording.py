"""Recording rules for the alerts: the state of each check by location, and error ratios.

Label sets are small on purpose: an alert must keep its identity when the daemon restarts under
another `instance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probed.rules.model import Recording

BRIDGE = "3m"
"""How long the last values of a prober count after it has gone, for example for a restart."""
AT = "probed_check, probed_location"
OF_INSTANCE = "job, instance"
WINDOWS, DAYS = ("5m", "30m", "1h", "2h", "6h"), ("1d", "3d")
DEFAULT_OBJECTIVE = 0.99
KNOWN = ("severity", "service", "team", "impact", "runbook", "target", "probed_probe")
"""Labels of `probed_check_info` that rules without a configuration use."""


def located(expr: str) -> str:
    """Return the expression with `probed_location`, which is a label of `target_info` only."""
    return f"({expr})\n  * on ({OF_INSTANCE}) group_left (probed_location) probed:instance:location"


def _seen(metric: str) -> str:
    return f"last_over_time({metric}[{BRIDGE}])"


def _by_location(how: str, metric: str, *more: str) -> str:
    labels = ", ".join((AT, *more))
    return f"{how} by ({labels}) (\n  {located(_seen(metric))}\n)"


def _info(labels: Sequence[str]) -> str:
    return (
        "topk by (probed_check) (1,\n"
        f"  group by (probed_check, {', '.join(labels)}) ({_seen('probed_check_info')})\n)"
    )


LOCATIONS = Recording(
    "probed:instance:location",
    f"""\
group by ({OF_INSTANCE}, probed_location) ({_seen('probed_build_info{probed_location!=""}')})
or on ({OF_INSTANCE})
topk by ({OF_INSTANCE}) (1,
  group by ({OF_INSTANCE}, probed_location) ({_seen("target_info")}
    and on ({OF_INSTANCE}) {_seen("probed_build_info")}))
or on ({OF_INSTANCE})
group by ({OF_INSTANCE}) ({_seen("probed_build_info")})""",
)


def checks(
    labels: Sequence[str] = (),
    settings: Sequence[Mapping[str, str]] = (),
    objectives: Sequence[tuple[str, float]] = (),
) -> list[Recording]:
    """Return the recording rules that alerts on checks use. `settings` are the labels of each
    configured check, with the names `labels`; `objectives` are its name and objective.
    """
    known = _info(KNOWN)
    budget = f"group by (probed_check) (probed:check:info) * {_budget(DEFAULT_OBJECTIVE)}"
    if settings:
        known = f"probed:check:config\nor on (probed_check)\n{_info(tuple(labels))}"
        budget = f"probed:check_budget:config\nor on (probed_check)\n{budget}"
    reasons = 'probed_check_runs_total{error_type!=""}'
    return [
        *(Recording("probed:check:config", "vector(1)", each) for each in settings),
        *(
            Recording("probed:check_budget:config", f"vector({_budget(value)})",
                      {"probed_check": name})
            for name, value in objectives
        ),
        LOCATIONS,
        Recording("probed:check:info", known),
        Recording("probed:check_budget:ratio", budget),
        Recording("probed:check_interval:max",
                  f"max by (probed_check) ({_seen('probed_check_interval_seconds')})"),
        Recording("probed:check_up:location", _by_location("max", "probed_check_up")),
        Recording("probed:check_suppressed:location",
                  _by_location("min", "probed_check_suppressed")),
        Recording("probed:check_flapping:location", _by_location("min", "probed_check_flapping")),
        Recording("probed:check_outcome:location",
                  _by_location("min", "probed_check_outcome", "probed_outcome")),
        Recording("probed:check_locations:count",
                  "count by (probed_check) (probed:check_up:location)"),
        _sum("probed:check_failed:sum", 'probed_outcome="failed"'),
        _sum("probed:check_judged:sum", 'probed_outcome!="unknown"'),
        Recording(
            "probed:check_reasons:increase15m",
            # A counter that appears at 1 has no increase, so a new series counts as a whole.
            f"sum by ({AT}, probed_outcome, error_type) (\n"
            + located(f"(increase({reasons}[15m]) > 0 or ({reasons} unless {reasons} offset 15m))")
            + "\n)",
        ),
        Recording(
            "probed:check_duration:mean15m",
            f"sum by ({AT}) (\n  {located('rate(probed_check_duration_seconds_sum[15m])')}\n)\n/\n"
            f"(sum by ({AT}) (\n  {located('rate(probed_check_duration_seconds_count[15m])')}\n)"
            " > 0)",
        ),
        Recording(
            "probed:export_lost:sum",
            f"sum by ({OF_INSTANCE}, otel_signal) "
            '(probed_export_items_total{outcome=~"dropped|rejected"})',
        ),
    ]  # fmt: skip


def _sum(name: str, which: str) -> Recording:
    runs = f"sum by ({OF_INSTANCE}, probed_check) (probed_check_runs_total{{{which}}})"
    return Recording(name, runs)


def errors(windows: Sequence[str]) -> list[Recording]:
    """Return the share of failed runs among the judged ones, by window. The recorded sums start at
    0, so their rates miss nothing.
    """
    return [
        Recording(
            f"probed:check_errors:ratio_rate{window}",
            f"sum by (probed_check) (rate(probed:check_failed:sum[{window}]))\n"
            "/\n"
            f"(sum by (probed_check) (rate(probed:check_judged:sum[{window}])) > 0)",
        )
        for window in windows
    ]


def _budget(objective: float) -> float:
    """Return the error budget, without the rounding error of binary fractions."""
    return round(1 - objective, 12)
