from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from probed.config.model import Check
from probed.model import Measure, Outcome, Phase, Result, Verdict
from probed.state import CheckState
from probed.telemetry.board import Board
from probed.telemetry.otlp import SLICE, MetricsView
from probed.telemetry.sdk import sdk_resource

MakeResult = Callable[..., Result]
MakeCheck = Callable[..., Check]


class Reader:
    """The board as a collector receives it."""

    def __init__(self, board: Board, clock: Any) -> None:
        self._view = MetricsView(board, sdk_resource(board.resource))
        self._clock = clock
        self.slices: list[int] = []

    def __call__(self) -> Points:
        self._clock.now += 60
        parts = list(self._view.collect(self._clock.now))
        self.slices = [part.count for part in parts]
        return Points(b"".join(self._view.encode(part) for part in parts))


class Points:
    """Decoded points. `there` are those with a value, `gone` those without."""

    def __init__(self, data: bytes) -> None:
        self.request = ExportMetricsServiceRequest.FromString(data)
        self.there: dict[tuple[str, frozenset[tuple[str, str]]], Any] = {}
        self.gone: set[tuple[str, frozenset[tuple[str, str]]]] = set()
        self.metrics: dict[str, Any] = {}
        for resource in self.request.resource_metrics:
            for metric in resource.scope_metrics[0].metrics:
                self.metrics[metric.name] = metric
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    self._add(metric.name, point)

    def _add(self, name: str, point: Any) -> None:
        key = (name, frozenset((a.key, a.value.string_value) for a in point.attributes))
        if point.flags:
            assert point.flags == 1
            self.gone.add(key)
        else:
            assert key not in self.there
            self.there[key] = point

    def of(self, name: str, **more: str) -> Any:
        wanted = {key.replace("__", "."): value for key, value in more.items()}.items()
        found = [p for (n, a), p in self.there.items() if n == name and set(wanted) <= a]
        assert len(found) == 1, found
        return found[0]

    def gone_names(self) -> set[str]:
        return {name for name, _ in self.gone}


@pytest.fixture
def read(board: Board, clock: Any) -> Reader:
    return Reader(board, clock)


def test_points_carry_name_unit_value_and_times(
    board: Board, clock: Any, read: Reader, result: MakeResult
) -> None:
    started = int(clock.now)
    board.record(result())
    board.record(result(Outcome.FAILED))
    points = read()
    runs = points.of("probed.check.runs", probed__outcome="failed", error__type="connect.refused")
    assert runs.as_int == 1
    assert runs.start_time_unix_nano == started * 10**9
    assert runs.time_unix_nano == int(clock.now) * 10**9
    metric = points.metrics["probed.check.runs"]
    assert (metric.unit, metric.sum.is_monotonic) == ("{run}", True)
    assert metric.sum.aggregation_temporality == 2  # cumulative
    assert points.of("probed.check.interval").as_double == 30.0
    (first, *_) = points.request.resource_metrics
    assert {a.key: a.value.string_value for a in first.resource.attributes}[
        "service.name"
    ] == "probed"
    assert first.scope_metrics[0].scope.name == "probed"


def test_histograms_are_whole_and_exemplars_are_sent_once(
    board: Board, read: Reader, result: MakeResult
) -> None:
    board.record(result())
    point = read().of("probed.check.duration")
    assert (point.count, point.sum) == (1, 0.02)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1 == 13
    assert not point.HasField("min")
    (exemplar,) = point.exemplars
    assert exemplar.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert exemplar.span_id.hex() == "b7ad6b7169203331"
    assert exemplar.as_double == 0.02
    again = read().of("probed.check.duration")
    assert (again.count, len(again.exemplars)) == (1, 0)


def test_totals_go_on_from_one_collection_to_the_next(
    board: Board, read: Reader, result: MakeResult
) -> None:
    for total in (1, 2):
        board.record(result())
        assert read().of("probed.check.runs", probed__outcome="ok").as_int == total


def test_a_removed_check_is_said_to_have_no_value_once(
    board: Board, read: Reader, result: MakeResult, check: MakeCheck, measures: dict[str, Measure]
) -> None:
    board.add(check("second"))
    for name in ("mx", "second"):
        board.record(result(Outcome.OK, (measures["status"], 200), check=name))
        board.judge(name, CheckState(Verdict.UP, last_success=1.0))
    before = read()
    assert not before.gone
    board.remove("second")
    after = read()
    mine = {(n, a) for n, a in before.there if ("probed.check", "second") in a}
    assert after.gone == mine
    assert {
        "probed.check.duration",
        "probed.check.runs",
        "http.response.status_code",
    } <= after.gone_names()
    assert set(after.there) == set(before.there) - mine
    assert not read().gone


def test_a_check_that_was_removed_and_added_again_is_not_gone(
    board: Board, read: Reader, result: MakeResult, check: MakeCheck
) -> None:
    board.record(result())
    read()
    board.remove("mx")
    board.add(check(interval=5.0))
    points = read()
    assert points.gone_names() == {
        "probed.check.success", "probed.check.outcome", "probed.check.phase.duration",
        "probed.check.last_run.timestamp",
    }  # fmt: skip
    assert points.of("probed.check.interval").as_double == 5.0


def test_a_check_that_was_never_sent_is_not_gone(board: Board, read: Reader) -> None:
    board.remove("mx")
    assert not read().gone


def test_what_vanishes_of_a_check_that_stays_is_gone(
    board: Board, read: Reader, result: MakeResult, check: MakeCheck, measures: dict[str, Measure]
) -> None:
    board.record(result(Outcome.OK, (measures["status"], 200)))
    board.judge("mx", CheckState(Verdict.UP, last_success=1.0))
    read()
    board.record(result(Outcome.FAILED, phases=(Phase("resolve", 0, 0.1),)))
    board.record(result(Outcome.UNKNOWN, phases=(Phase("resolve", 0, 0.1),)))
    board.judge("mx", CheckState(Verdict.UNKNOWN, last_success=1.0))
    board.add(check(labels={"team": "mail"}))
    points = read()
    assert points.gone_names() == {
        "probed.check.up", "probed.check.success", "http.response.status_code",
        "probed.check.phase.duration", "probed.check.info",
    }  # fmt: skip
    assert points.of("probed.check.info", team="mail").as_int == 1
    assert not read().gone


def test_no_slice_is_large(
    board: Board, read: Reader, result: MakeResult, check: MakeCheck
) -> None:
    for number in range(100):
        board.add(check(f"check-{number}"))
        board.record(result(check=f"check-{number}"))
    points = read()
    assert sum(read.slices) == len(points.there)
    assert max(read.slices) <= SLICE + 12
    for number in range(100):
        board.remove(f"check-{number}")
    gone = read()
    assert len(gone.gone) > 1000
    assert max(read.slices) <= SLICE + 12
