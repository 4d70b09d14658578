"""The words of the project as frozen types. No I/O, and nothing of ours is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

Scalar: TypeAlias = "str | int | float | bool | None"
Fact: TypeAlias = "Scalar | tuple[str, ...]"
"""A fact about a peer; several lines are a tuple."""
Evidence: TypeAlias = "Mapping[str, Scalar | tuple[Scalar, ...] | Mapping[str, Scalar]]"
"""Small, bounded, redacted facts that help a person."""


class Outcome(StrEnum):
    """The outcome of one run. `unknown`: the run could not be judged; it is never down, never a recovery."""

    OK = "ok"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    FAILED = "failed"

    @property
    def rank(self) -> int:
        """Order of badness: failed, unknown, degraded, ok."""
        return _RANK[self]


_RANK = {Outcome.OK: 0, Outcome.DEGRADED: 1, Outcome.UNKNOWN: 2, Outcome.FAILED: 3}


class Verdict(StrEnum):
    """The state of a check over time, after thresholds."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"
    PENDING = "pending"


class Severity(StrEnum):
    """How urgent it is when the check is down: P0 page now and open an incident, to P3 backlog."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class MetricType(Enum):
    """How the values of a measure add up."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Measure(NamedTuple):
    """One number that a probe declares.

    `name` is the OpenTelemetry metric name, `unit` its UCUM unit (`s`, `By`, `{event}`; empty for
    0/1 gauges), `attributes` the names of the attributes that each value carries, `buckets` the
    upper bounds of a histogram, and `series` the most attribute sets one check may create.
    """

    name: str
    unit: str = ""
    kind: MetricType = MetricType.GAUGE
    help: str = ""
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    series: int = 50


class Measurement(NamedTuple):
    """One value of a declared measure, of one run. Of a counter it is the increment."""

    measure: Measure
    value: float
    attributes: tuple[tuple[str, str], ...] = ()


class Phase(NamedTuple):
    """A named, timed step. `start_s` counts from the start of the run; `error` names the reason
    if the run failed while this phase was open. `call` says of a step that is one call of the
    peer what was called, under semantic-convention names. `skipped` says that the run did not come
    to it.
    """

    name: str
    start_s: float
    duration_s: float
    error: str | None = None
    call: Mapping[str, Scalar] = MappingProxyType({})
    skipped: bool = False


class Finding(NamedTuple):
    """One thing that a run noticed. `reason` is from the closed set, `message` is for people."""

    level: Outcome
    reason: str
    message: str
    evidence: Evidence = MappingProxyType({})


class Result(NamedTuple):
    """The frozen record of one run. Everything after the run works from it.

    Times: `started_at` seconds since the epoch, `duration_s` on the monotonic clock. `trace_id` and
    `span_id` are lower-case hex (32 and 16 digits). `facts` are what was learned of the peer, under
    semantic-convention names. `previous` is the failed run that this one confirms. `sampled` says
    whether traces and exemplars of this run are exported.
    """

    check: str
    probe: str
    target: str
    outcome: Outcome
    started_at: float
    duration_s: float
    trace_id: str
    span_id: str
    findings: tuple[Finding, ...] = ()
    phases: tuple[Phase, ...] = ()
    measures: tuple[Measurement, ...] = ()
    facts: Mapping[str, Fact] = MappingProxyType({})
    labels: Mapping[str, str] = MappingProxyType({})
    severity: Severity = Severity.P2
    previous: Result | None = None
    sampled: bool = True

    @property
    def attempts(self) -> int:
        return 1 if self.previous is None else 1 + self.previous.attempts

    @property
    def worst(self) -> Finding | None:
        """The first of the findings that decided the outcome; None when all is ok."""
        if self.outcome is Outcome.OK:
            return None
        return next((f for f in self.findings if f.level is self.outcome), None)

    @property
    def why(self) -> str:
        """Reason and message of what decided the outcome, in one line; empty when all is ok."""
        worst = self.worst
        return "" if worst is None else f"{worst.reason}: {worst.message}"


class Transition(NamedTuple):
    """A change of a check's verdict, as it is stored. `at` is seconds since the epoch; probe, target,
    reason, message and trace id are those of the run that caused it. `suppressed_by` names the failing dependencies
    that suppressed its alert then.
    """

    check: str
    old: Verdict
    new: Verdict
    at: float
    reason: str | None
    message: str | None
    trace_id: str
    probe: str
    target: str
    suppressed_by: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, result: Result, old: Verdict, new: Verdict, suppressed_by: tuple[str, ...] = ()
    ) -> Transition:
        """Return the transition that this result caused."""
        worst = result.worst
        return cls(
            result.check,
            old,
            new,
            result.started_at + result.duration_s,
            None if worst is None else str(worst.reason),
            None if worst is None else worst.message,
            result.trace_id,
            result.probe,
            result.target,
            suppressed_by,
        )
