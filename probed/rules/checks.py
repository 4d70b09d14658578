"""What people are told about checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from probed.rules.model import Alert
from probed.rules.recording import AT, located

OF_CHECK = "{{ $labels.severity }}"
LOWER = '{{ if eq $labels.severity "P0" }}P1{{ else if eq $labels.severity "P1" }}P2{{ else }}P3{{ end }}'
"""One step less urgent than the check being down."""
_WHERE = "{{ with $labels.probed_location }} from {{ . }}{{ end }}"
_WHAT = "{{ $labels.probed_check }} ({{ $labels.target }})"
_SINCE = (
    '{{ with printf "max(probed_check_last_success_timestamp_seconds{probed_check=%q})"'
    " $labels.probed_check | query }}"
    "Last good run: {{ . | first | value | humanizeTimestamp }}."
    "{{ else }}No good run is known.{{ end }}"
)
_DROPPED = {"target": "", "runbook": "", "impact": ""}
"""What annotations say already."""


class Burn(NamedTuple):
    """So many times as fast as the budget allows for, over both windows. Source: the SRE workbook,
    "Alerting on SLOs", table 5-8, for 30 days. `interval` is the longest, in seconds, with which the
    short window holds four runs.
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
"""Alerts that are about long times."""
_DAY = 86400
CERTIFICATES = ((7 * _DAY, 21 * _DAY, "P3"), (2 * _DAY, 7 * _DAY, "P2"), (None, 2 * _DAY, "P1"))


def why(outcome: str) -> str:
    return (
        '{{ with printf "topk(1, sum by (error_type) (probed:check_reasons:increase15m'
        f'{{probed_check=%q,probed_outcome=\\"{outcome}\\"}}))" $labels.probed_check | query }}}}'
        'Why, most often: error.type {{ . | first | label "error_type" }}.{{ end }}'
    )  # fmt: skip


def alerts(labels: Sequence[str], *, quorum: int, wait: str) -> list[Alert]:
    """`labels` are what is told of each check. `wait` is how long a check with `depends_on` has to be
    down, so that what it depends on had its turn, and how long it is held after that is well again,
    so that it had its own.
    """
    about = f"\n* on (probed_check) group_left ({', '.join(labels)}) probed:check:info"
    lately = f"(max_over_time(probed:check_held:location[{wait}]) == 1)"
    held = f"on ({AT}) {lately}"
    down = "(probed:check_up:location == 0)"
    few = f"unless on (probed_check) (probed:check_locations:count >= {quorum})"
    # Down, and if it depends on others, for long enough.
    ripe = (
        f"({down}\n  unless on ({AT}) (probed:check_held:location"
        f" and on ({AT}) (max_over_time(probed:check_up:location[{wait}]) == 1)))"
    )
    count = f"count by (probed_check) ({ripe} unless {held})"
    reading = "Evidence: `probed check {{ $labels.probed_check }} -v`, or the check's trace."

    def alert(
        name: str, expr: str, severity: str, summary: str, *more: str, wait: str = "",
        keep: str = "", **labels: str,
    ) -> Alert:  # fmt: skip
        text = " ".join((*more, reading))
        return Alert(name, f"({expr}){about}", severity, summary, text, wait=wait, keep=keep,
                     more=_DROPPED | labels, runbook=True)  # fmt: skip

    failing = (why("failed"), _SINCE)
    fallen = f"{_WHAT} is down{_WHERE}"
    found = [
        # Before those that it holds back: both reach the Alertmanager in this order.
        alert(
            "ProbedCheckHeld",
            f"{lately} and on ({AT}) {down}",
            "none",
            f"{_WHAT} is down{_WHERE}, and so is what it depends on",
            "Holds back the alert of the check; ends when the check is up, so that its recovery is"
            " told.",
        ),
        alert(
            "ProbedCheckDown",
            f"{ripe}\n  {few}",
            OF_CHECK,
            fallen,
            *failing,
        ),
        alert(
            "ProbedCheckDownQuorum",
            f"{count} >= {quorum}",
            OF_CHECK,
            f"{_WHAT} is down from {{{{ $value }}}} locations",
            *failing,
        ),
        alert(
            "ProbedCheckDownSomewhere",
            f"{down}\n  and on (probed_check) (probed:check_locations:count >= {quorum})"
            f"\n  unless on (probed_check) ({count} >= {quorum})",
            "P3",
            f"{_WHAT} is down{_WHERE} alone",
            f"Fewer than {quorum} locations see it: the way from there, or a part of the peer.",
            *failing, wait="5m",
        ),
        alert(
            "ProbedCheckDegraded",
            f'(max by ({AT}) (probed:check_outcome:location{{probed_outcome=~"degraded|failed"}})'
            f" == 1)\n  and on ({AT}) (probed:check_up:location == 1)"
            f"\n  unless on ({AT}) (probed:check_flapping:location == 1)\n  unless {held}",
            LOWER,
            f"{_WHAT} is degraded{_WHERE}",
            "It answers, but not as it should, for ten minutes.", why("degraded"), _SINCE,
            wait="10m", keep="5m",
        ),
        alert(
            "ProbedCheckFlapping",
            f"(probed:check_flapping:location == 1)\n  unless {held}",
            LOWER,
            f"{_WHAT} keeps changing between good and bad{_WHERE}",
            *failing, wait="5m", keep="5m",
        ),
        alert(
            "ProbedCheckUnknown",
            'probed:check_outcome:location{probed_outcome="unknown"} == 1',
            LOWER,
            f"{_WHAT} cannot be judged{_WHERE}",
            "Nobody knows whether it is up: this is about the prober or its configuration.",
            why("unknown"), wait="15m", probed_outcome="",
        ),
        alert(
            "ProbedCheckStale",
            f"time() - {_latest('last_run_timestamp')} > 3 * {_latest('interval')} + 30\n"
            f"  unless on ({AT}) {_latest('interval', ' and on (job, instance) (probed_scheduler_drained == 1)')}",
            "P2",
            f"{_WHAT} is no longer run{_WHERE}",
            "Its last run began {{ $value | humanizeDuration }} ago; nobody knows whether it is up.",
            wait="1m",
        ),
        alert(
            "ProbedCheckSlow",
            "(probed:check_duration:mean15m > 0.05)\n"
            "  > 3 * quantile_over_time(0.5, probed:check_duration:mean15m[1d] offset 1h)\n"
            f"  and on ({AT}) probed:check_duration:mean15m offset 6h\n"
            "  and on (probed_check) (probed:check_interval:max <= 225)\n"
            f'  unless on ({AT}) (probed:check_reasons:increase15m{{probed_outcome="failed"}} > 0)\n'
            f"  unless {held}",
            LOWER,
            f"{_WHAT} takes more than three times as long as usual{_WHERE}",
            "{{ $value | humanizeDuration }} on average over 15 minutes, against its own median of a"
            " day. probed_check_phase_duration_seconds says which part.",
            wait="10m", keep="10m",
        ),
    ]  # fmt: skip
    left = "(min by (probed_check) (last_over_time(probed_tls_certificate_not_after_seconds[3m])) - time())"
    for low, high, severity in CERTIFICATES:
        bound = "" if low is None else f" >= {low}"
        found.append(
            alert(
                "ProbedCertificateExpiring",
                f"{left} < {high}{bound}",
                severity,
                f"The certificate of {_WHAT} "
                "{{ if gt $value 0.0 }}expires in {{ $value | humanizeDuration }}"
                "{{ else }}has expired{{ end }}",
                "It is the one of its chain that ends first. Renew it, and see that the peer has"
                " loaded it.",
                wait="15m",
            )
        )
    found += [
        alert(
            "ProbedErrorBudgetBurn",
            f"probed:check_errors:ratio_rate{b.long} > on (probed_check)"
            f" ({b.factor} * probed:check_budget:ratio)\n"
            f"  and on (probed_check) (probed:check_errors:ratio_rate{b.short}"
            f" > on (probed_check) ({b.factor} * probed:check_budget:ratio))\n"
            f"  and on (probed_check) (probed:check_interval:max <= {b.interval})\n"
            f"  and on (probed_check) (probed:check_judged:sum offset {b.half})"
            # Of an outage people were told already, and it is over when the check is up.
            + (
                "\n  unless on (probed_check)"
                f" (min_over_time(probed:check_up:location[{b.short}]) == 0)"
                if b.severity == LOWER
                else ""
            ),
            b.severity,
            f"{_WHAT} uses up its error budget {b.factor:g} times as fast as it may",
            f"{{{{ $value | humanizePercentage }}}} of the runs of {b.long} failed, and it goes on;"
            f" {b.budget} of the budget of 30 days goes in that time.",
            why("failed"),
            wait=b.wait, window=b.long,
        )
        for b in BURNS
    ]  # fmt: skip
    return found


def _latest(name: str, which: str = "") -> str:
    """A gauge of checks as each location has it now; nothing bridges a restart."""
    return f"max by ({AT}) ({located(f'probed_check_{name}_seconds{which}')})"
