"""Series of the measures that probe kinds declare, by check."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from probed.model import Measure, Measurement, MetricType, Result
from probed.probe import CERTIFICATE_NOT_AFTER
from probed.telemetry.daemon_metrics import DaemonMetrics
from probed.telemetry.series import (
    NO_LABELS,
    Cell,
    CheckRow,
    Histogram,
    Labels,
    MeasureRow,
    MetricFamily,
    Pairs,
    Point,
)  # fmt: skip

log = logging.getLogger("probed.telemetry")

STICKY = frozenset({CERTIFICATE_NOT_AFTER.name})
"""Gauges that remain when a run does not report them."""


class Measured:
    """Series of all measures. A name has one unit, type and set of buckets. A declaration that differs,
    or that would get the Prometheus name of another metric, is refused.
    """

    def __init__(self, daemon_metrics: DaemonMetrics, reserved: frozenset[str]) -> None:
        self._daemon_metrics = daemon_metrics
        self._reserved = reserved
        self._families: dict[str, MetricFamily] = {}
        self._rows: dict[str, dict[str, MeasureRow]] = {}

    def families(self) -> Sequence[MetricFamily]:
        return tuple(self._families.values())

    def begin(self, row: CheckRow, measure: Measure) -> None:
        """Start a counter without attributes at 0: a counter that appears at 1 has no rate."""
        if measure.kind is MetricType.COUNTER and not measure.attributes:
            slot = self._slot(row, measure)
            if not slot.refused and slot.alone is None:
                slot.alone = Point(NO_LABELS, 0.0)

    def forget(self, row: CheckRow) -> Sequence[MeasureRow]:
        """Remove the rows of a check and return them."""
        gone = [slot for slot in row.measures.values() if not slot.refused]
        for slot in gone:
            rows = self._rows[slot.measure.name]
            rows.pop(row.name, None)
            if not rows:
                del self._rows[slot.measure.name], self._families[slot.measure.name]
        return gone

    def record(self, row: CheckRow, result: Result, ended: float) -> None:
        """Record the measurements of a Result; `ended` is seconds since the epoch."""
        generation = row.generation
        slots = row.measures
        for measurement in _all(result):
            value = measurement.value
            measure = measurement.measure
            slot = slots.get(measure.name)
            if slot is None:
                slot = self._slot(row, measure)
            pairs = measurement.attributes
            point = slot.points.get(pairs) if pairs else slot.alone
            if point is None:
                point = _new_point(slot, pairs)
            # Only a finite value minus itself is 0.
            if point is None or value - value != 0.0:
                self._drop(row, measure)
                continue
            kind = measure.kind
            if kind is MetricType.GAUGE:
                point.value = value
                point.generation = generation
            elif kind is MetricType.COUNTER:
                point.value += value  # type: ignore[operator]
            else:
                histogram = point.value
                assert isinstance(histogram, Histogram)
                bucket = histogram.observe(measure.buckets, value)
                if result.sampled:
                    histogram.exemplify(bucket, (result.trace_id, result.span_id, value, ended))

    def _slot(self, row: CheckRow, measure: Measure) -> MeasureRow:
        """Return the row of a measure; a refused one if the declaration conflicts with another."""
        found = row.measures.get(measure.name)
        if found is not None:
            return found
        family = self._families.get(measure.name)
        if family is None:
            family = self._family(measure)
        same = family is not None and _shape(family.measure) == _shape(measure)
        found = row.measures[measure.name] = MeasureRow(row, measure, refused=not same)
        if same:
            self._rows[measure.name][row.name] = found
        return found

    def _family(self, measure: Measure) -> MetricFamily | None:
        """Return a new family; None if its Prometheus name is reserved."""
        rows: dict[str, MeasureRow] = {}
        family = MetricFamily(
            measure, lambda: tuple(rows.values()), _cells, fleeting=measure.kind is MetricType.GAUGE
        )
        reserved = self._reserved.union(*(other.names for other in self._families.values()))
        if family.names & reserved:
            return None
        self._families[measure.name] = family
        self._rows[measure.name] = rows
        if measure.attributes:
            self._daemon_metrics.dropped(measure.name, 0)
        return family

    def _drop(self, row: CheckRow, measure: Measure) -> None:
        self._daemon_metrics.dropped(measure.name)
        if measure.name not in row.warned:
            row.warned = (*row.warned, measure.name)
            log.warning(
                "check %s: dropped values of %s: more than %d attribute sets, not finite, or "
                "declared differently by another kind", row.name, measure.name, measure.series,
            )  # fmt: skip


def _new_point(slot: MeasureRow, pairs: Pairs) -> Point | None:
    """Return a new attribute set of a measure; None if the limit is reached."""
    measure = slot.measure
    if slot.refused:
        return None
    if len(slot.points) >= measure.series:
        if measure.kind is not MetricType.GAUGE:
            return None
        seen = slot.check.generation
        slot.points = {key: point for key, point in slot.points.items() if point.generation == seen}
        if len(slot.points) >= measure.series:
            return None
    histogram = measure.kind is MetricType.HISTOGRAM
    value = Histogram(len(measure.buckets)) if histogram else 0.0
    if not pairs:
        slot.alone = Point(NO_LABELS, value)
        return slot.alone
    point = slot.points[pairs] = Point(Labels(pairs), value)
    return point


def _cells(slot: MeasureRow) -> Sequence[Cell]:
    points = tuple(slot.points.values()) if slot.alone is None else (slot.alone,)
    measure = slot.measure
    if measure.kind is not MetricType.GAUGE or measure.name in STICKY:
        return [(point.labels, point.value) for point in points]
    seen = slot.check.generation
    return [(point.labels, point.value) for point in points if point.generation == seen]


def _shape(measure: Measure) -> tuple[str, MetricType, tuple[float, ...]]:
    return measure.unit, measure.kind, measure.buckets


def _all(result: Result) -> Sequence[Measurement]:
    """Return the measurements, with the counters of earlier attempts: no later run counts those."""
    previous = result.previous
    if previous is None:
        return result.measures
    counted = (m for m in _all(previous) if m.measure.kind is MetricType.COUNTER)
    return (*counted, *result.measures)
