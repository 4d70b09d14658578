"""Parts of PromQL expressions. Metrics are named as in Prometheus.

`$location` is a label of `target_info`, not of each series, hence the join in `located`.
"""

from __future__ import annotations

CHECK = 'probed_check=~"$check"'
OUTCOMES = ("ok", "degraded", "failed", "unknown")


def located(expr: str) -> str:
    """Return the expression for the selected locations only."""
    return f'{expr} * on (job, instance) group_left () target_info{{probed_location=~"$location"}}'


def checks(metric: str, *matchers: str) -> str:
    """Return a metric of the selected checks."""
    return located(f"{metric}{{{', '.join((CHECK, *matchers))}}}")


def check_rate(metric: str, *matchers: str) -> str:
    """Return the rate, per second, of a counter of the selected checks."""
    return located(f"rate({metric}{{{', '.join((CHECK, *matchers))}}}[$__rate_interval])")


def daemon(metric: str) -> str:
    """Return a metric of the daemons in the selected locations."""
    return located(metric)


def daemon_rate(metric: str) -> str:
    """Return the rate, per second, of a counter of the daemons in the selected locations."""
    return located(f"rate({metric}[$__rate_interval])")


def quantile(q: float, buckets: str, *labels: str) -> str:
    """Return a quantile of the rate of a histogram's buckets, by labels."""
    return f"histogram_quantile({q}, sum by ({', '.join(('le', *labels))}) ({buckets}))"


def increase(metric: str, *matchers: str, window: str = "$__range") -> str:
    """Return the increase of a counter of the selected checks, by default in the time range."""
    return f"increase({metric}{{{', '.join((CHECK, *matchers))}}}[{window}])"


def failure_ratio(window: str = "$__range") -> str:
    """Return the share of failed runs among the judged ones, by check."""
    failed = increase("probed_check_runs_total", 'probed_outcome="failed"', window=window)
    judged = increase("probed_check_runs_total", 'probed_outcome!="unknown"', window=window)
    return f"sum by (probed_check) ({failed}) / (sum by (probed_check) ({judged}) > 0)"


def outcomes(metric: str, by: str, label: str = "probed_outcome") -> str:
    """Return the outcome as its index in `OUTCOMES`, by the labels `by`.

    With `probed_outcome`, the metric has a series for each outcome and that of the current one is
    1. With another label, only the series of the current outcome exists.
    """
    series = [checks(metric, f'{label}="{name}"') for name in OUTCOMES]
    if label == "probed_outcome":
        series = [f"({one} == 1)" for one in series]
    codes = [f"0 * {one} + {code}" for code, one in enumerate(series)]
    return f"max by ({by}) ({' or '.join(codes)})"
