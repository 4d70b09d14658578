"""Results as JSON documents, and back. One form for `-o json`, the API, the control socket and the store.

Fields are added, never renamed. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from probed.model import (
    Fact,
    Finding,
    Measure,
    Measurement,
    MetricType,
    Outcome,
    Phase,
    Result,
    Severity,
)


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def result_document(result: Result) -> dict[str, Any]:
    """Return one result. `earlier_attempts` are the failed runs that the last attempt confirmed."""
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
    measure = measurement.measure
    return {
        "name": measure.name,
        "unit": measure.unit,
        "type": measure.kind.value,
        "value": measurement.value,
        "attributes": dict(measurement.attributes),
    }


def result_of(document: Mapping[str, Any]) -> Result:
    """Return the Result of a document; a field that is missing has its default.

    The span id and the attributes of phases are not part of a document. Raises ValueError where the
    document is not that of a result.
    """
    try:
        result = None
        for attempt in (*document.get("earlier_attempts", ()), document):
            result = _result(document, attempt, result)
        assert result is not None
        return result._replace(
            measures=tuple(_measurement_of(each) for each in document.get("measures", ())),
            facts=MappingProxyType({
                str(name): _fact_of(value) for name, value in document.get("facts", {}).items()
            }),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not the document of a result: {type(error).__name__}") from None


def _result(
    document: Mapping[str, Any], attempt: Mapping[str, Any], previous: Result | None
) -> Result:
    return Result(
        check=str(document["check"]),
        probe=str(document["probe"]),
        target=str(document["target"]),
        outcome=Outcome(attempt["outcome"]),
        started_at=datetime.fromisoformat(attempt["started_at"]).timestamp(),
        duration_s=float(attempt["duration_s"]),
        trace_id=str(attempt["trace_id"]),
        span_id="",
        findings=tuple(_finding_of(each) for each in attempt.get("findings", ())),
        phases=tuple(_phase_of(each) for each in attempt.get("phases", ())),
        labels={str(key): str(text) for key, text in document.get("labels", {}).items()},
        severity=Severity(document.get("severity", Severity.P2)),
        previous=previous,
    )


def _finding_of(document: Mapping[str, Any]) -> Finding:
    evidence = {
        str(name): value if isinstance(value, Mapping) else _frozen(value)
        for name, value in document.get("evidence", {}).items()
    }
    return Finding(
        Outcome(document["level"]), str(document["reason"]), str(document["message"]), evidence
    )


def _phase_of(document: Mapping[str, Any]) -> Phase:
    error = document.get("error")
    return Phase(
        str(document["name"]),
        float(document["start_s"]),
        float(document["duration_s"]),
        None if error is None else str(error),
        skipped=bool(document.get("skipped")),
    )


def _measurement_of(document: Mapping[str, Any]) -> Measurement:
    attributes: Mapping[str, Any] = document.get("attributes", {})
    measure = Measure(
        str(document["name"]),
        unit=str(document.get("unit", "")),
        kind=MetricType(document.get("type", MetricType.GAUGE.value)),
        attributes=tuple(attributes),
    )
    pairs = tuple((str(key), str(text)) for key, text in attributes.items())
    return Measurement(measure, float(document["value"]), pairs)


def _fact_of(value: Any) -> Fact:
    return tuple(map(str, value)) if isinstance(value, list) else value


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def worst_of(results: Sequence[Result]) -> Outcome:
    """Return the worst outcome; `unknown` of no results at all."""
    return max((r.outcome for r in results), key=lambda o: o.rank, default=Outcome.UNKNOWN)
