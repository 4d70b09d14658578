"""The one board of series: the latest values of all checks, owned by the event loop.

`add` makes all series of a check at once, `take` counts a Result, `judge` notes the verdict,
`remove` forgets. Views (`openmetrics`, `otlp`) read the families. Nothing here awaits or locks.

Rules that users rely on:

- Counters exist at 0 from the start: of `probed.check.runs` one series for each outcome, without
  `error.type`. A run that is not ok counts in the series of its reason, so the others stay at 0 and
  sums never count twice. Sum `error.type` away before taking a rate: the sum was there at 0.
- The duration is that of the last attempt; attempts before it are `probed.check.unconfirmed`.
- A gauge that the latest run which could judge did not report disappears; the certificate's end
  of validity stays, as a run that fails before TLS says nothing of it. A run that could not judge
  (`unknown`) takes nothing away. Phases are always those of the last run, repeated ones summed.
- A measure has at most `Measure.series` attribute sets a check. The rest is dropped and counted.
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
"""Phases of one check that are shown."""

_UP = {Verdict.UP: 1, Verdict.DEGRADED: 1, Verdict.DOWN: 0}
_SUCCESS = {"ok": 1, "degraded": 1, "failed": 0}
_OUTCOMES = {outcome.value: Labels(((c.OUTCOME, outcome.value),)) for outcome in Outcome}
_UNTYPED = tuple((_OUTCOMES[name], 0) for name in _OUTCOMES if name != "ok")


class Board:
    """All series. `resource` is shown as `target_info`; `phase_histogram` also keeps histograms of
    the phases, 15 series for each phase of each check.
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
        """What is gone and was sent by OTLP, which still has to say so."""
        self._clock = clock
        self._phase_histogram = phase_histogram
        self._checks: dict[str, CheckRow] = {}
        self._families = [
            MetricFamily(measure, self._rows, cells, fleeting=measure in _FLEETING)
            for measure, cells in _CELLS.items()
            if phase_histogram or measure is not c.PHASE_TIME
        ]
        fixed = (*self.daemon_metrics.families, *self._families)
        taken = frozenset({"target_info"}).union(*(family.names for family in fixed))
        self._measured = Measured(self.daemon_metrics, taken)

    def _rows(self) -> Sequence[CheckRow]:
        return tuple(self._checks.values())

    def __len__(self) -> int:
        return len(self._checks)

    def families(self) -> Sequence[MetricFamily]:
        """All metrics as they are now."""
        return (*self.daemon_metrics.families, *self._families, *self._measured.families())

    def heir(self, family: MetricFamily, row: Row) -> Row | None:
        """The row that stands where one that is gone stood, with the same common labels."""
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
        """Make all series of a check. One that is there already, of the same kind, keeps its
        counters and gets the new description.
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
        """Forget a check: its series disappear, and from OTLP with "no recorded value"."""
        row = self._checks.pop(name, None)
        if row is None:
            return
        families = {family.measure.name: family for family in self._measured.families()}
        if row.sent is not None:
            self.departed += [(family, row) for family in self._families]
        for slot in self._measured.forget(row):
            if slot.sent is not None:
                self.departed.append((families[slot.measure.name], slot))

    def take(self, result: Result) -> None:
        """Count a Result. One of a check that is no longer here changes nothing."""
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
            self._measured.take(row, result, ended)

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
    """The `error.type` of a run that is not ok."""
    worst = result.worst
    return "_OTHER" if worst is None else str(worst.reason)


def first_attempt(result: Result) -> Result:
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
    """All that is descriptive of a check, once."""
    pairs = [("target", check.probe.target), ("severity", check.severity.value)]
    if check.runbook is not None:
        pairs.append(("runbook", check.runbook))
    pairs += [(key, value) for key, value in sorted(check.labels.items())]
    return Labels(pairs)


# The cells of each family, from a check's row.


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
