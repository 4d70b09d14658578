"""Board of series: the latest values of all checks, owned by the event loop.

`add` creates all series of a check, `record` counts a Result, `judge` sets the verdict, `remove`
deletes the series. The views (`openmetrics`, `otlp`) read the families. Nothing here awaits or locks.

Rules that users rely on:

- Counters exist at 0 from the start. `probed.check.runs` has one such series for each outcome,
  without `error.type`. A run that is not ok counts in the series of its reason, so the others stay
  at 0 and sums never count twice. Sum over `error.type` before taking a rate: the sum starts at 0.
- The duration is that of the last attempt; earlier attempts count in `probed.check.unconfirmed`.
- A gauge disappears when the latest judged run did not report it. The expiry of a certificate stays,
  because a run that fails before TLS says nothing about it. An `unknown` run removes no gauge.
  Phases are always those of the last run; repeated phases are summed.
- A measure has at most `Measure.series` attribute sets per check. Others are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from probed.clock import Clock
from probed.model import Measure, Outcome, Result, Verdict
from probed.telemetry import catalogue as c
from probed.telemetry.daemon_metrics import DaemonMetrics
from probed.telemetry.measured import Measured
from probed.telemetry.series import (
    NO_LABELS,
    Cell,
    CheckRow,
    Histogram,
    Labels,
    MeasureRow,
    MetricFamily,
    Row,
    shared_labels,
)  # fmt: skip

if TYPE_CHECKING:
    from probed.config.model import Check
    from probed.state import CheckState

PHASE_SERIES = 64
"""Maximum number of phases of one check that have series."""

_UP = {Verdict.UP: 1, Verdict.DEGRADED: 1, Verdict.DOWN: 0}
_SUCCESS = {"ok": 1, "degraded": 1, "failed": 0}
_OUTCOMES = {outcome.value: Labels(((c.OUTCOME, outcome.value),)) for outcome in Outcome}
_UNTYPED = tuple((_OUTCOMES[name], 0) for name in _OUTCOMES if name != "ok")


class Board:
    """All series. `resource` becomes `target_info`; `phase_histogram` adds histograms of the phases,
    15 series for each phase of each check.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        version: str = "",
        resource: Mapping[str, str] | None = None,
        phase_histogram: bool = False,
    ) -> None:
        daemon_metrics = DaemonMetrics(clock, version)
        self.daemon_metrics = daemon_metrics
        self.late, self.missed, self.occupied = (
            daemon_metrics.late,
            daemon_metrics.missed,
            daemon_metrics.occupied,
        )
        self.lagged, self.exported, self.reloaded = (
            daemon_metrics.lagged,
            daemon_metrics.exported,
            daemon_metrics.reloaded,
        )
        self.resource = dict(resource or {})
        self.departed: list[tuple[MetricFamily, Row]] = []
        """Removed series that were sent by OTLP and must still be sent with "no recorded value"."""
        self._clock = clock
        self._phase_histogram = phase_histogram
        self._checks: dict[str, CheckRow] = {}
        self._families = [
            MetricFamily(measure, self._rows, cells, fleeting=measure in _FLEETING)
            for measure, cells in _CELLS.items()
            if phase_histogram or measure is not c.PHASE_TIME
        ]
        fixed = (*self.daemon_metrics.families, *self._families)
        reserved = frozenset({"target_info"}).union(*(family.names for family in fixed))
        self._measured = Measured(self.daemon_metrics, reserved)

    def _rows(self) -> Sequence[CheckRow]:
        return tuple(self._checks.values())

    def __len__(self) -> int:
        return len(self._checks)

    def families(self) -> Sequence[MetricFamily]:
        """Return all metrics as they are now."""
        return (*self.daemon_metrics.families, *self._families, *self._measured.families())

    def successor(self, family: MetricFamily, row: Row) -> Row | None:
        """Return the row that replaced a removed one, with the same common labels."""
        slot = row if isinstance(row, MeasureRow) else None
        check = slot.check if slot is not None else row
        assert isinstance(check, CheckRow)
        current = self._checks.get(check.name)
        if current is None or current.labels != row.labels:
            return None
        if slot is None:
            return current
        found = current.measures.get(family.measure.name)
        return None if found is None or found.refused else found

    def add(self, check: Check) -> None:
        """Create all series of a check. An existing check of the same kind keeps its counters and gets
        the new description.
        """
        kind = check.probe.kind
        row = self._checks.get(check.name)
        if row is not None and row.probe != kind:
            self.remove(check.name)
            row = None
        if row is None:
            row = CheckRow(check.name, kind, self._clock.time(), len(c.DURATIONS))
            self._checks[check.name] = row
        row.info = _describe(check)
        row.interval = float(check.interval)
        row.suppressed = (row.suppressed or 0) if check.depends_on else None
        for measure in check.probe.declared.values():
            self._measured.begin(row, measure)

    def remove(self, name: str) -> None:
        """Remove a check: its series disappear, and OTLP sends "no recorded value" for them."""
        row = self._checks.pop(name, None)
        if row is None:
            return
        families = {family.measure.name: family for family in self._measured.families()}
        if row.sent is not None:
            self.departed += [(family, row) for family in self._families]
        for slot in self._measured.forget(row):
            if slot.sent is not None:
                self.departed.append((families[slot.measure.name], slot))

    def record(self, result: Result) -> None:
        """Count a Result. A Result of a removed check is ignored."""
        row = self._checks.get(result.check)
        if row is None or row.probe != result.probe:
            return
        seconds = result.duration_s
        row.last_run = result.started_at
        ended = result.started_at + seconds
        row.outcome = outcome = result.outcome._value_
        row.success = _SUCCESS.get(outcome)
        bucket = row.duration.observe(c.DURATIONS, seconds)
        if result.sampled:
            row.duration.exemplify(bucket, (result.trace_id, result.span_id, seconds, ended))
        if outcome == "ok":
            row.ok += 1
        else:
            _count(row.bad, (outcome, reason_of(result)))
        if result.previous is not None and outcome != "failed":
            first = first_attempt(result)
            if first.outcome is Outcome.FAILED:
                _count(row.unconfirmed, reason_of(first))
        phases = result.phases
        row.phases = durations = {p.name: p.duration_s for p in phases if not p.skipped}
        if len(durations) != len(phases) or len(durations) > PHASE_SERIES:
            row.phases = _summed(result)
        if self._phase_histogram:
            _observe_phases(row)
        if outcome != "unknown":
            row.generation += 1
        if result.measures or result.previous is not None:
            self._measured.record(row, result, ended)

    def judge(self, name: str, state: CheckState) -> None:
        """Set the verdict of a check, and what else its state says."""
        row = self._checks.get(name)
        if row is not None:
            row.up = _UP.get(state.verdict)
            row.failures = state.failed_streak
            row.last_success = state.last_success
            row.flapping = int(state.flapping)

    def suppress(self, name: str, *, active: bool) -> None:
        """Set whether alerts of a check are suppressed. A check without dependencies has no such series."""
        row = self._checks.get(name)
        if row is not None and row.suppressed is not None:
            row.suppressed = int(active)


def reason_of(result: Result) -> str:
    """Return the `error.type` of a run that is not ok."""
    worst = result.worst
    return "_OTHER" if worst is None else str(worst.reason)


def first_attempt(result: Result) -> Result:
    """Return the first attempt of a run."""
    while result.previous is not None:
        result = result.previous
    return result


def _count(counts: dict[Any, int], key: Any) -> None:
    counts[key] = counts.get(key, 0) + 1


def _summed(result: Result) -> dict[str, float]:
    durations: dict[str, float] = {}
    for phase in result.phases:
        if phase.skipped:
            continue
        if phase.name in durations or len(durations) < PHASE_SERIES:
            durations[phase.name] = durations.get(phase.name, 0.0) + phase.duration_s
    return durations


def _observe_phases(row: CheckRow) -> None:
    for name, seconds in row.phases.items():
        histogram = row.phase_times.get(name)
        if histogram is None:
            if len(row.phase_times) >= PHASE_SERIES:
                continue
            histogram = row.phase_times[name] = Histogram(len(c.DURATIONS))
        histogram.observe(c.DURATIONS, seconds)


def _describe(check: Check) -> Labels:
    """Return the descriptive labels of a check."""
    pairs = [("target", check.target), ("severity", check.severity.value)]
    if check.runbook is not None:
        pairs.append(("runbook", check.runbook))
    pairs += [(key, value) for key, value in sorted(check.labels.items())]
    return Labels(pairs)


# Cells of each family, read from the row of a check.


def _optional(value: float | None) -> Sequence[Cell]:
    return () if value is None else ((NO_LABELS, value),)


def _outcomes(row: CheckRow) -> Sequence[Cell]:
    if row.outcome is None:
        return ()
    return [(labels, int(name == row.outcome)) for name, labels in _OUTCOMES.items()]


def _runs(row: CheckRow) -> Sequence[Cell]:
    cells: list[Cell] = [(_OUTCOMES["ok"], row.ok), *_UNTYPED]
    for (outcome, reason), count in row.bad.items():
        cells.append((shared_labels(((c.OUTCOME, outcome), (c.ERROR_TYPE, reason))), count))
    return cells


def _unconfirmed(row: CheckRow) -> Sequence[Cell]:
    cells: list[Cell] = [(NO_LABELS, 0)]
    for reason, count in row.unconfirmed.items():
        cells.append((shared_labels(((c.ERROR_TYPE, reason),)), count))
    return cells


def _phases(row: CheckRow) -> Sequence[Cell]:
    return [(_phase(name), seconds) for name, seconds in row.phases.items()]


def _phase_times(row: CheckRow) -> Sequence[Cell]:
    return [(_phase(name), histogram) for name, histogram in row.phase_times.items()]


def _phase(name: str) -> Labels:
    return shared_labels(((c.PHASE, name),))


_CELLS: dict[Measure, Any] = {
    c.INFO: lambda row: ((row.info, 1),),
    c.UP: lambda row: _optional(row.up),
    c.SUCCESS: lambda row: _optional(row.success),
    c.OUTCOMES: _outcomes,
    c.RUNS: _runs,
    c.UNCONFIRMED: _unconfirmed,
    c.DURATION: lambda row: ((NO_LABELS, row.duration),),
    c.PHASE_DURATION: _phases,
    c.PHASE_TIME: _phase_times,
    c.FAILURES: lambda row: ((NO_LABELS, row.failures),),
    c.LAST_RUN: lambda row: _optional(row.last_run),
    c.LAST_SUCCESS: lambda row: _optional(row.last_success),
    c.FLAPPING: lambda row: ((NO_LABELS, row.flapping),),
    c.SUPPRESSED: lambda row: _optional(row.suppressed),
    c.HELD: lambda row: _optional(row.suppressed),
    c.INTERVAL: lambda row: ((NO_LABELS, row.interval),),
}
_FLEETING = {c.INFO, c.UP, c.SUCCESS, c.OUTCOMES, c.PHASE_DURATION, c.LAST_SUCCESS, c.SUPPRESSED,
             c.HELD}  # fmt: skip
