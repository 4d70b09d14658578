"""Alerts on checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from probed.rules.model import Alert
from probed.rules.recording import AT, located

SEVERITY_OF_CHECK = "{{ $labels.severity }}"
LOWER = '{{ if eq $labels.severity "P0" }}P1{{ else if eq $labels.severity "P1" }}P2{{ else }}P3{{ end }}'
"""One step less urgent than the check being down."""
_WHERE = "{{ with $labels.probed_location }} from {{ . }}{{ end }}"
_WHAT = "{{ $labels.probed_check }} ({{ $labels.target }})"
_LAST_SUCCESS = (
    '{{ with printf "max(probed_check_last_success_timestamp_seconds{probed_check=%q})"'
    " $labels.probed_check | query }}"
    "Last successful run: {{ . | first | value | humanizeTimestamp }}."
    "{{ else }}No successful run is recorded.{{ end }}"
)
_EVIDENCE = (
    "For evidence, run `probed check {{ $labels.probed_check }} -v` or open the check's trace."
)
_DROPPED = {"target": "", "runbook": "", "impact": ""}
"""Labels that repeat what annotations say."""


class Burn(NamedTuple):
    """A burn rate that must be exceeded over both windows. Source: the SRE workbook, "Alerting on
    SLOs", table 5-8, for 30 days. `interval` is the longest, in seconds, with which the short
    window holds four runs.
    """

    factor: float
    long: str
    short: str
    half: str
    wait: str
    interval: int
    budget: str
    severity: str


BURNS = (
    Burn(14.4, "1h", "5m", "30m", "2m", 75, "2 %", LOWER),
    Burn(6, "6h", "30m", "3h", "15m", 450, "5 %", LOWER),
    Burn(3, "1d", "2h", "12h", "1h", 1800, "10 %", "P3"),
    Burn(1, "3d", "6h", "36h", "1h", 5400, "10 %", "P3"),
)
OVER_DAYS = frozenset({"ProbedCheckSlow", "ProbedCertificateExpiring", "ProbedErrorBudgetBurn"})
"""Alerts that look back for hours or days."""
_DAY = 86400
CERTIFICATES = ((7 * _DAY, 21 * _DAY, "P3"), (2 * _DAY, 7 * _DAY, "P2"), (None, 2 * _DAY, "P1"))


def reason(outcome: str) -> str:
    """Return a template: the most frequent reason of the runs with this outcome."""
    return (
        '{{ with printf "topk(1, sum by (error_type) (probed:check_reasons:increase15m'
        f'{{probed_check=%q,probed_outcome=\\"{outcome}\\"}}))" $labels.probed_check | query }}}}'
        'Most frequent reason: {{ . | first | label "error_type" }}.{{ end }}'
    )  # fmt: skip


def alerts(labels: Sequence[str], *, quorum: int, wait: str) -> list[Alert]:
    """Return the alerts on checks.

    `labels` are the labels of `probed_check_info` that alerts carry. `wait` is a duration: a check
    with `depends_on` alerts only after it has been down for so long, so that its dependencies had a
    run; and it stays suppressed for so long after they recover, so that it had its own.
    """
    rules = _Rules(labels, quorum, wait)
    return [
        # Before the alerts that it suppresses: both reach Alertmanager in this order.
        _suppressed(rules),
        *_down(rules),
        *_quality(rules),
        *_not_judged(rules),
        _slow(rules),
        *(_certificate(rules, *bounds) for bounds in CERTIFICATES),
        *(_budget(rules, burn) for burn in BURNS),
    ]


class _Rules:
    """Expressions that several alerts share."""

    def __init__(self, labels: Sequence[str], quorum: int, wait: str) -> None:
        self._info = f"\n* on (probed_check) group_left ({', '.join(labels)}) probed:check:info"
        self.quorum = quorum
        self.down = "(probed:check_up:location == 0)"
        self.lately_suppressed = f"(max_over_time(probed:check_suppressed:location[{wait}]) == 1)"
        self.suppressed = f"on ({AT}) {self.lately_suppressed}"
        # Down, and with dependencies, down for long enough.
        self.ripe = (
            f"({self.down}\n  unless on ({AT}) (probed:check_suppressed:location"
            f" and on ({AT}) (max_over_time(probed:check_up:location[{wait}]) == 1)))"
        )
        self.locations_down = f"count by (probed_check) ({self.ripe} unless {self.suppressed})"
        self.enough_locations = f"on (probed_check) (probed:check_locations:count >= {self.quorum})"

    def alert(
        self, name: str, expr: str, severity: str, summary: str, *description: str, wait: str = "",
        keep_firing: str = "", **labels: str,
    ) -> Alert:  # fmt: skip
        """Return an alert with the labels of the check; the description ends with its evidence."""
        return Alert(
            name, f"({expr}){self._info}", severity, summary,
            " ".join((*description, _EVIDENCE)), wait=wait, keep_firing=keep_firing,
            more=_DROPPED | labels, runbook=True,
        )  # fmt: skip


def _suppressed(rules: _Rules) -> Alert:
    return rules.alert(
        "ProbedCheckSuppressed",
        f"{rules.lately_suppressed} and on ({AT}) {rules.down}",
        "none",
        f"{_WHAT} is down{_WHERE}, and a check that it depends on is failing",
        "Suppresses the alert of this check. Resolves as soon as the check is up, so that its"
        " recovery is delivered.",
    )


def _down(rules: _Rules) -> list[Alert]:
    failing = (reason("failed"), _LAST_SUCCESS)
    return [
        rules.alert(
            "ProbedCheckDown",
            f"{rules.ripe}\n  unless {rules.enough_locations}",
            SEVERITY_OF_CHECK,
            f"{_WHAT} is down{_WHERE}",
            *failing,
        ),
        rules.alert(
            "ProbedCheckDownQuorum",
            f"{rules.locations_down} >= {rules.quorum}",
            SEVERITY_OF_CHECK,
            f"{_WHAT} is down from {{{{ $value }}}} locations",
            *failing,
        ),
        rules.alert(
            "ProbedCheckDownSomewhere",
            f"{rules.down}\n  and {rules.enough_locations}"
            f"\n  unless on (probed_check) ({rules.locations_down} >= {rules.quorum})",
            "P3",
            f"{_WHAT} is down{_WHERE} only",
            f"Fewer than {rules.quorum} locations see it down. Check the network path from there, and"
            " whether a part of the target is down.",
            *failing,
            wait="5m",
        ),
    ]


def _quality(rules: _Rules) -> list[Alert]:
    return [
        rules.alert(
            "ProbedCheckDegraded",
            f'(max by ({AT}) (probed:check_outcome:location{{probed_outcome=~"degraded|failed"}})'
            f" == 1)\n  and on ({AT}) (probed:check_up:location == 1)"
            f"\n  unless on ({AT}) (probed:check_flapping:location == 1)"
            f"\n  unless {rules.suppressed}",
            LOWER,
            f"{_WHAT} is degraded{_WHERE}",
            "It has been degraded for ten minutes.",
            reason("degraded"),
            _LAST_SUCCESS,
            wait="10m",
            keep_firing="5m",
        ),
        rules.alert(
            "ProbedCheckFlapping",
            f"(probed:check_flapping:location == 1)\n  unless {rules.suppressed}",
            LOWER,
            f"{_WHAT} is flapping{_WHERE}",
            reason("failed"),
            _LAST_SUCCESS,
            wait="5m",
            keep_firing="5m",
        ),
    ]


def _not_judged(rules: _Rules) -> list[Alert]:
    interval = _latest("interval")
    drained = _latest("interval", " and on (job, instance) (probed_scheduler_drained == 1)")
    return [
        rules.alert(
            "ProbedCheckUnknown",
            'probed:check_outcome:location{probed_outcome="unknown"} == 1',
            LOWER,
            f"{_WHAT} cannot be judged{_WHERE}",
            "Its state is unknown because of the prober or the configuration, not because of the"
            " target.",
            reason("unknown"),
            wait="15m",
            probed_outcome="",
        ),
        rules.alert(
            "ProbedCheckStale",
            f"time() - {_latest('last_run_timestamp')} > 3 * {interval} + 30\n"
            f"  unless on ({AT}) {drained}",
            "P2",
            f"{_WHAT} is no longer run{_WHERE}",
            "Its last run started {{ $value | humanizeDuration }} ago, so its state is unknown.",
            wait="1m",
        ),
    ]


def _slow(rules: _Rules) -> Alert:
    return rules.alert(
        "ProbedCheckSlow",
        "(probed:check_duration:mean15m > 0.05)\n"
        "  > 3 * quantile_over_time(0.5, probed:check_duration:mean15m[1d] offset 1h)\n"
        f"  and on ({AT}) probed:check_duration:mean15m offset 6h\n"
        "  and on (probed_check) (probed:check_interval:max <= 225)\n"
        f'  unless on ({AT}) (probed:check_reasons:increase15m{{probed_outcome="failed"}} > 0)\n'
        f"  unless {rules.suppressed}",
        LOWER,
        f"{_WHAT} takes more than three times as long as usual{_WHERE}",
        "The mean of the last 15 minutes is {{ $value | humanizeDuration }}, more than three times"
        " the median of the last day. probed_check_phase_duration_seconds shows which phase is slow.",
        wait="10m",
        keep_firing="10m",
    )


def _certificate(rules: _Rules, low: int | None, high: int, severity: str) -> Alert:
    left = (
        "(min by (probed_check)"
        " (last_over_time(probed_tls_certificate_not_after_seconds[3m])) - time())"
    )
    bound = "" if low is None else f" >= {low}"
    return rules.alert(
        "ProbedCertificateExpiring",
        f"{left} < {high}{bound}",
        severity,
        f"The certificate of {_WHAT} "
        "{{ if gt $value 0.0 }}expires in {{ $value | humanizeDuration }}"
        "{{ else }}has expired{{ end }}",
        "This is the certificate of the chain that expires first. Renew it, then check that the"
        " server presents the new one.",
        wait="15m",
    )


def _budget(rules: _Rules, burn: Burn) -> Alert:
    threshold = f"on (probed_check) ({burn.factor} * probed:check_budget:ratio)"
    expr = (
        f"probed:check_errors:ratio_rate{burn.long} > {threshold}\n"
        f"  and on (probed_check) (probed:check_errors:ratio_rate{burn.short} > {threshold})\n"
        f"  and on (probed_check) (probed:check_interval:max <= {burn.interval})\n"
        f"  and on (probed_check) (probed:check_judged:sum offset {burn.half})"
    )
    if burn.severity == LOWER:
        # The outage itself has alerted, and it ends when the check is up.
        expr += (
            "\n  unless on (probed_check)"
            f" (min_over_time(probed:check_up:location[{burn.short}]) == 0)"
        )
    return rules.alert(
        "ProbedErrorBudgetBurn",
        expr,
        burn.severity,
        f"{_WHAT} spends its error budget at {burn.factor:g} times the sustainable rate",
        f"{{{{ $value | humanizePercentage }}}} of the runs in the last {burn.long} failed, and runs"
        f" still fail. At this rate, {burn.budget} of the 30-day budget is spent in {burn.long}.",
        reason("failed"),
        wait=burn.wait,
        window=burn.long,
    )


def _latest(name: str, which: str = "") -> str:
    """Return a gauge of checks as each location has it now, without bridging a restart."""
    return f"max by ({AT}) ({located(f'probed_check_{name}_seconds{which}')})"
