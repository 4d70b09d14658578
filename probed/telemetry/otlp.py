"""OTLP view of the board: the SDK's metrics data model in slices, encoded by the official encoder.

Encoding a slice blocks the event loop for a few milliseconds. Encoded slices can be concatenated: in
protobuf, concatenated messages are one message with all repeated fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as SdkHistogram

from probed.model import MetricType
from probed.telemetry.sdk import nanoseconds, scope
from probed.telemetry.series import Cell, Histogram, Labels, MetricFamily, Row

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from probed.telemetry.board import Board

SLICE = 100
"""Points in a slice. A histogram counts as `HISTOGRAM` points."""
HISTOGRAM = 3

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_ABSENT = cast("float", None)
"""None, for which the encoder omits an optional field: minima over a process's life are useless."""


@dataclass(slots=True)
class Slice:
    """Points of one collection, by family. With `gone`, they are sent with "no recorded value"."""

    at: int
    gone: bool = False
    points: dict[MetricFamily, list[NumberDataPoint | HistogramDataPoint]] = field(
        default_factory=dict
    )
    count: int = 0
    weight: int = 0

    def add(self, family: MetricFamily, point: NumberDataPoint | HistogramDataPoint) -> None:
        self.points.setdefault(family, []).append(point)
        self.count += 1
        self.weight += HISTOGRAM if family.bounds else 1


class MetricsView:
    """OTLP view of a board. It stores in the board's rows which labels were sent last."""

    def __init__(self, board: Board, resource: Resource) -> None:
        self._board = board
        self._resource = resource
        self._scope = scope(resource)
        self._last = 0.0

    def collect(self, now: float) -> Iterator[Slice]:
        """Return all points at `now`, in seconds since the epoch, in slices; removed series first.

        Exemplars are sent once.
        """
        board, since, self._last = self._board, self._last, now
        at = nanoseconds(now)
        gone = Slice(at, gone=True)
        departed, board.departed = board.departed, []
        for family, row in departed:
            for labels in self._missing(family, row):
                gone.add(family, _point(family, row, (labels, _zero(family)), at, now))
                if gone.weight >= SLICE:
                    yield gone
                    gone = Slice(at, gone=True)
        there = Slice(at)
        for family in board.families():
            for row in family.rows():
                cells = family.cells(row)
                for labels in _vanished(family, row, cells):
                    gone.add(family, _point(family, row, (labels, _zero(family)), at, now))
                for cell in cells:
                    there.add(family, _point(family, row, cell, at, since))
                for full in (there, gone):
                    if full.weight >= SLICE:
                        yield full
                there = Slice(at) if there.weight >= SLICE else there
                gone = Slice(at, gone=True) if gone.weight >= SLICE else gone
        yield from (left for left in (there, gone) if left.count)

    def _missing(self, family: MetricFamily, row: Row) -> Sequence[Labels]:
        """Return the labels that were sent of a removed row and have not been added again."""
        sent = (row.sent or {}).get(family.measure.name)
        labels = sent if sent is not None else tuple(label for label, _ in family.cells(row))
        successor = self._board.successor(family, row)
        alive = {label.text for label, _ in family.cells(successor)} if successor else set()
        return [label for label in labels if label.text not in alive]

    def encode(self, part: Slice) -> bytes:
        """Return a slice as an ExportMetricsServiceRequest. Blocks the event loop for some 2 ms."""
        metrics = [_metric(family, points) for family, points in part.points.items()]
        scoped = ScopeMetrics(self._scope, metrics, self._scope.schema_url or "")
        data = MetricsData([ResourceMetrics(self._resource, [scoped], self._resource.schema_url)])
        request = encode_metrics(data)
        if part.gone:
            # The SDK's data model has no flags.
            for metric in request.resource_metrics[0].scope_metrics[0].metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    point.flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
                    if not metric.HasField("histogram"):
                        point.ClearField(point.WhichOneof("value"))
        return bytes(request.SerializeToString())


def _vanished(family: MetricFamily, row: Row, cells: Sequence[Cell]) -> Sequence[Labels]:
    """Return the labels that were sent last time and do not exist now; store those sent now."""
    if row.sent is None:
        row.sent = {}
    if not family.fleeting:
        return ()
    name = family.measure.name
    now = tuple(labels for labels, _ in cells)
    before = row.sent.get(name, ())
    if now == before:
        return ()
    row.sent[name] = now
    texts = {labels.text for labels in now}
    return [labels for labels in before if labels.text not in texts]


def _zero(family: MetricFamily) -> float | Histogram:
    return Histogram(len(family.bounds)) if family.bounds else 0.0


def _point(
    family: MetricFamily, row: Row, cell: Cell, at: int, since: float
) -> NumberDataPoint | HistogramDataPoint:
    labels, value = cell
    attributes = dict(row.pairs + labels.pairs)
    start = nanoseconds(row.created)
    if not isinstance(value, Histogram):
        return NumberDataPoint(attributes, start, at, value, ())
    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=start,
        time_unix_nano=at,
        count=sum(value.counts),
        sum=value.total,
        bucket_counts=value.counts,
        explicit_bounds=family.bounds,
        min=_ABSENT,
        max=_ABSENT,
        exemplars=[
            Exemplar({}, seen, nanoseconds(when), int(span, 16), int(trace, 16))
            for trace, span, seen, when in filter(None, value.exemplars or ())
            if when > since
        ],
    )


def _metric(family: MetricFamily, points: Sequence[NumberDataPoint | HistogramDataPoint]) -> Metric:
    measure = family.measure
    data: Gauge | Sum | SdkHistogram
    if measure.kind is MetricType.GAUGE:
        data = Gauge(cast("Sequence[NumberDataPoint]", points))
    elif measure.kind is MetricType.COUNTER:
        data = Sum(cast("Sequence[NumberDataPoint]", points), _CUMULATIVE, is_monotonic=True)
    else:
        data = SdkHistogram(cast("Sequence[HistogramDataPoint]", points), _CUMULATIVE)
    return Metric(measure.name, measure.help, measure.unit, data)
