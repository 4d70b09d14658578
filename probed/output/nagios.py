"""One line for Nagios and compatible monitors, with performance data (monitoring-plugins.org, guidelines 2.6)."""

from __future__ import annotations

from probed.model import Outcome, Result
from probed.output.report import Report, summary_of

_STATES = {
    Outcome.OK: "OK",
    Outcome.DEGRADED: "WARNING",
    Outcome.FAILED: "CRITICAL",
    Outcome.UNKNOWN: "UNKNOWN",
}
# What ends the text, a line or a label may not stand in any of them.
_SAFE = str.maketrans({"|": "/", "'": "`", "=": ":", "\n": " ", "\r": " "})


def render_nagios(report: Report) -> str:
    """`PROBED CRITICAL - 1 failed: web dns.nxdomain: … | 'web'=0.012s`, then a line for each check."""
    bad = report.bad
    head = f"PROBED {_STATES[report.outcome]} - {summary_of(report.results)}"
    if bad:
        head += f": {bad[0].check} {_safe(bad[0].why)}"
    data = " ".join(f"'{_safe(r.check)}'={r.duration_s:.6f}s;;;0" for r in report.results)
    lines = [f"{head} | {data}"]
    lines += [_line(result) for result in report.results]
    return "\n".join(lines)


def _line(result: Result) -> str:
    text = f"{_STATES[result.outcome]}: {result.check} {result.target} {result.why}"
    return _safe(text.rstrip())


def _safe(text: str) -> str:
    return text.translate(_SAFE)
