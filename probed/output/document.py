"""Results as JSON documents. Fields are added, never renamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from probed.model import Finding, Measurement, Outcome, Phase, Result

SCHEMA = "probed.check/1"


def check_document(
    results: Sequence[Result], *, started_at: float, duration_s: float
) -> dict[str, Any]:
    """What `probed check -o json` prints: one object."""
    return {
        "schema": SCHEMA,
        "outcome": worst_of(results).value,
        "started_at": timestamp(started_at),
        "duration_s": round(duration_s, 6),
        "counts": counts(results),
        "results": [result_document(result) for result in results],
    }


def worst_of(results: Iterable[Result]) -> Outcome:
    """The worst outcome; `unknown` of nothing at all."""
    outcomes = [result.outcome for result in results]
    return max(outcomes, key=lambda outcome: outcome.rank, default=Outcome.UNKNOWN)


def counts(results: Iterable[Result]) -> dict[str, int]:
    found = {outcome.value: 0 for outcome in (
        Outcome.OK, Outcome.DEGRADED, Outcome.FAILED, Outcome.UNKNOWN)}  # fmt: skip
    for result in results:
        found[result.outcome.value] += 1
    return found


def result_document(result: Result) -> dict[str, Any]:
    """One result. `earlier_attempts` are the failed runs that the last attempt was to confirm."""
    document = {
        "check": result.check,
        "probe": result.probe,
        "target": result.target,
        **_attempt(result),
        "attempts": result.attempts,
        "labels": dict(result.labels),
        "severity": result.severity.value,
        "measures": [_measure(measurement) for measurement in result.measures],
        "facts": dict(result.facts),
    }
    earlier = []
    previous = result.previous
    while previous is not None:
        earlier.append(_attempt(previous))
        previous = previous.previous
    document["earlier_attempts"] = earlier[::-1]
    return document


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _attempt(result: Result) -> dict[str, Any]:
    return {
        "outcome": result.outcome.value,
        "started_at": timestamp(result.started_at),
        "duration_s": round(result.duration_s, 6),
        "trace_id": result.trace_id,
        "phases": [_phase(phase) for phase in result.phases],
        "findings": [_finding(finding) for finding in result.findings],
    }


def _phase(phase: Phase) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": phase.name,
        "start_s": round(phase.start_s, 6),
        "duration_s": round(phase.duration_s, 6),
    }
    if phase.error is not None:
        document["error"] = str(phase.error)
    if phase.skipped:
        document["skipped"] = True
    return document


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "reason": str(finding.reason),
        "message": finding.message,
        "evidence": dict(finding.evidence),
    }


def _measure(measurement: Measurement) -> dict[str, Any]:
    return {
        "name": measurement.measure.name,
        "unit": measurement.measure.unit,
        "value": measurement.value,
        "attributes": dict(measurement.attributes),
    }
