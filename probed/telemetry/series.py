"""Building blocks of series: labels, histograms, rows and families.

A family is one metric; a row holds the series of one check (or of the daemon) in it; a cell is one
attribute set and its value. Labels are rendered once, on creation. Values are plain numbers in
slots: 10,000 checks have some 200,000 series.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from probed.model import Measure, MetricType
from probed.telemetry.catalogue import CHECK, PROBE, label_name, prometheus_name

Pairs: TypeAlias = tuple[tuple[str, str], ...]
Exemplar: TypeAlias = tuple[str, str, float, float]
"""Trace id, span id, value, and when, in seconds since the epoch."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_SUFFIXES = {
    MetricType.GAUGE: ("",),
    MetricType.COUNTER: ("", "_total", "_created"),
    MetricType.HISTOGRAM: ("", "_bucket", "_count", "_sum", "_created"),
}
_RESERVED = frozenset({label_name(CHECK), label_name(PROBE), "le"})


class Labels:
    """One attribute set, and its text as labels, each preceded by a comma.

    >>> Labels((("error.type", "tls.expired"),)).text
    ',error_type="tls.expired"'
    """

    __slots__ = ("pairs", "text")

    def __init__(
        self, pairs: Iterable[tuple[str, str]], reserved: Iterable[str] = _RESERVED
    ) -> None:
        # A lone surrogate can be written in YAML, but neither as UTF-8 nor as protobuf.
        self.pairs: Pairs = tuple(
            (name, value.encode("utf-8", "replace").decode()) for name, value in pairs
        )
        used = set(reserved)
        text = ""
        for name, value in self.pairs:
            label = distinct(label_name(name), used)
            text += f',{label}="{value.translate(_ESCAPES)}"'
        self.text = text

    def __repr__(self) -> str:
        return f"Labels({self.text[1:]})"


def distinct(label: str, used: set[str]) -> str:
    """Return the label, with a number appended if another attribute has the same label."""
    found, number = label, 1
    while found in used:
        number += 1
        found = f"{label}_{number}"
    used.add(found)
    return found


NO_LABELS = Labels(())
shared_labels = lru_cache(maxsize=8192)(Labels)
"""Cache of labels that many checks share, by their pairs."""


class Histogram:
    """Counts by bucket, the last one above the highest bound, and the last exemplar of each."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0
        self.exemplars: list[Exemplar | None] | None = None

    def observe(self, bounds: Sequence[float], value: float) -> int:
        """Count a value and return the index of its bucket."""
        index = bisect_left(bounds, value)
        self.counts[index] += 1
        self.total += value
        return index

    def exemplify(self, index: int, exemplar: Exemplar) -> None:
        if self.exemplars is None:
            self.exemplars = [None] * len(self.counts)
        self.exemplars[index] = exemplar


Value: TypeAlias = "float | Histogram"
Cell: TypeAlias = "tuple[Labels, Value]"


class Row(Protocol):
    """Interface of all rows: their common labels, without a leading comma; the start of their
    counters, in seconds since the epoch; and the labels that OTLP last sent, by metric.
    """

    labels: str
    pairs: Pairs
    created: float
    sent: dict[str, tuple[Labels, ...]] | None


class MetricFamily:
    """One metric: its declaration, its Prometheus name, and its series.

    `rows` returns a copy that does not change while checks are added and removed. With `fleeting`
    the attribute sets of a row may disappear. `names` are reserved for this metric.
    """

    __slots__ = ("bounds", "cells", "fleeting", "measure", "name", "names", "rows")

    def __init__(
        self,
        measure: Measure,
        rows: Callable[[], Sequence[Row]],
        cells: Callable[[Any], Sequence[Cell]],
        *,
        fleeting: bool = False,
    ) -> None:
        self.measure = measure
        self.name = prometheus_name(measure)
        base = self.name.removesuffix("_total")
        self.names = frozenset(base + suffix for suffix in _SUFFIXES[measure.kind])
        self.bounds = tuple(float(bound) for bound in measure.buckets)
        self.rows = rows
        self.cells = cells
        self.fleeting = fleeting


class CheckRow:
    """Series of one check that are independent of the measures of its kind."""

    __slots__ = ("bad", "created", "duration", "failures", "flapping", "generation", "info", "interval", "labels",
                 "last_run", "last_success", "measures", "name", "ok", "outcome", "pairs", "phase_times",
                 "phases", "probe", "sent", "success", "suppressed", "unconfirmed", "up", "warned")  # fmt: skip

    def __init__(self, name: str, probe: str, created: float, buckets: int) -> None:
        common = Labels(((CHECK, name), (PROBE, probe)), reserved=())
        self.labels = common.text[1:]
        self.pairs = common.pairs
        self.name = name
        self.probe = probe
        self.created = created
        self.sent: dict[str, tuple[Labels, ...]] | None = None
        self.info = NO_LABELS
        self.interval = 0.0
        self.up: int | None = None
        self.success: int | None = None
        self.outcome: str | None = None
        self.failures = 0
        self.flapping = 0
        self.suppressed: int | None = None
        self.last_run: float | None = None
        self.last_success: float | None = None
        self.ok = 0
        self.bad: dict[tuple[str, str], int] = {}
        self.unconfirmed: dict[str, int] = {}
        self.duration = Histogram(buckets)
        self.phases: dict[str, float] = {}
        self.phase_times: dict[str, Histogram] = {}
        self.generation = 0
        self.measures: dict[str, MeasureRow] = {}
        self.warned: tuple[str, ...] = ()


class Point:
    """One attribute set of a measure. A gauge is exported while its generation is that of its check."""

    __slots__ = ("generation", "labels", "value")

    def __init__(self, labels: Labels, value: Value) -> None:
        self.labels = labels
        self.value = value
        self.generation = 0


class MeasureRow:
    """Series of one check for one measure. `alone` is the point without attributes."""

    __slots__ = (
        "alone",
        "check",
        "created",
        "labels",
        "measure",
        "pairs",
        "points",
        "refused",
        "sent",
    )

    def __init__(self, check: CheckRow, measure: Measure, *, refused: bool = False) -> None:
        self.check = check
        self.measure = measure
        self.labels = check.labels
        self.pairs = check.pairs
        self.created = check.created
        self.refused = refused
        self.sent: dict[str, tuple[Labels, ...]] | None = None
        self.alone: Point | None = None
        self.points: dict[Pairs, Point] = {}


class DaemonRow:
    """Series of one daemon metric, by their pairs."""

    __slots__ = ("created", "labels", "pairs", "sent", "values")

    def __init__(self, created: float) -> None:
        self.labels = ""
        self.pairs: Pairs = ()
        self.created = created
        self.sent: dict[str, tuple[Labels, ...]] | None = None
        self.values: dict[Pairs, Value] = {}
