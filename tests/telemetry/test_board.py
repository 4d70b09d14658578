from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from probed.config.model import Check
from probed.model import Measure, Measurement, MetricType, Outcome, Phase, Result, Severity, Verdict
from probed.probe import Probe
from probed.state import CheckState
from probed.telemetry.board import Board

MakeCheck = Callable[..., Check]
MakeResult = Callable[..., Result]
Read = Callable[[], Any]
Measures = dict[str, Measure]

RUNS = "probed_check_runs_total"


def test_all_series_that_can_exist_do_so_before_the_first_run(samples: Read) -> None:
    seen = samples()
    assert seen.of(RUNS, "probed_outcome") == {"ok": 0, "degraded": 0, "unknown": 0, "failed": 0}
    assert seen("probed_check_unconfirmed_total") == 0
    assert seen("probed_check_duration_seconds_count") == 0
    assert seen("probed_check_interval_seconds") == 30
    assert seen("mail_seen_total") == 0
    assert seen("probed_check_consecutive_failures") == 0
    for absent in ("up", "success", "outcome", "last_run_timestamp_seconds"):
        assert seen("probed_check_" + absent) is None


def test_a_check_is_described_once(check: MakeCheck, board: Board, samples: Read) -> None:
    board.add(
        check(
            severity=Severity.P1,
            runbook='https://example.com/a?b="c"',
            labels={"team": "mail", "a-b": "1", "a_b": "2"},
        )
    )
    (info,) = (s for s in samples().all if s.name == "probed_check_info")
    assert info.value == 1
    assert info.labels == {
        "probed_check": "mx", "probed_probe": "mail", "target": "mx.example.com:25",
        "severity": "P1", "runbook": 'https://example.com/a?b="c"',
        "team": "mail", "a_b": "1", "a_b_2": "2",
    }  # fmt: skip


def test_a_run_that_is_not_ok_counts_by_its_reason_and_nowhere_else(
    board: Board, result: MakeResult, samples: Read
) -> None:
    board.record(result(Outcome.FAILED))
    board.record(result(Outcome.FAILED))
    board.record(result(Outcome.DEGRADED, reason="http.slow"))
    board.record(result())
    seen = samples()
    runs = {
        (s.labels["probed_outcome"], s.labels.get("error_type")): s.value
        for s in seen.all
        if s.name == RUNS
    }
    assert runs == {
        ("ok", None): 1, ("degraded", None): 0, ("unknown", None): 0, ("failed", None): 0,
        ("failed", "connect.refused"): 2, ("degraded", "http.slow"): 1,
    }  # fmt: skip
    assert sum(runs.values()) == 4


@pytest.mark.parametrize(
    ("outcome", "success"),
    [(Outcome.OK, 1), (Outcome.DEGRADED, 1), (Outcome.FAILED, 0), (Outcome.UNKNOWN, None)],
)
def test_success_and_outcome_are_those_of_the_last_run(
    board: Board, result: MakeResult, samples: Read, outcome: Outcome, success: float | None
) -> None:
    board.record(result())
    board.record(result(outcome))
    seen = samples()
    assert seen("probed_check_success") == success
    hot = seen.of("probed_check_outcome", "probed_outcome")
    assert hot == {o.value: float(o is outcome) for o in Outcome}
    assert seen("probed_check_last_run_timestamp_seconds") == 1_767_225_600.0


@pytest.mark.parametrize(
    ("verdict", "up"),
    [(Verdict.UP, 1), (Verdict.DEGRADED, 1), (Verdict.DOWN, 0), (Verdict.UNKNOWN, None),
     (Verdict.PENDING, None)],
)  # fmt: skip
def test_up_is_the_verdict(board: Board, samples: Read, verdict: Verdict, up: float | None) -> None:
    board.judge("mx", CheckState(Verdict.UP))
    board.judge("mx", CheckState(verdict, failed_streak=3, last_success=1000.5))
    seen = samples()
    assert seen("probed_check_up") == up
    assert seen("probed_check_consecutive_failures") == 3
    assert seen("probed_check_last_success_timestamp_seconds") == 1000.5


def test_a_check_with_dependencies_says_whether_its_alert_is_suppressed(
    check: MakeCheck, board: Board, samples: Read
) -> None:
    """`probed_check_held` is the same under its old name, for one release."""
    names = ("probed_check_suppressed", "probed_check_held")
    assert [samples()(name) for name in names] == [None, None]
    board.add(check(depends_on=("dns",)))
    assert [samples()(name) for name in names] == [0, 0]
    board.suppress("mx", active=True)
    assert [samples()(name) for name in names] == [1, 1]
    board.add(check(depends_on=("dns", "gateway")))
    assert [samples()(name) for name in names] == [1, 1], "a reload forgot it"
    board.suppress("mx", active=False)
    assert [samples()(name) for name in names] == [0, 0]
    board.add(check())
    assert [samples()(name) for name in names] == [None, None]


def test_durations_fall_into_buckets_that_include_their_bound(
    board: Board, result: MakeResult, samples: Read
) -> None:
    for seconds in (0.005, 0.0051, 30.0, 31.0):
        board.record(result(duration_s=seconds))
    seen = samples()
    buckets = seen.of("probed_check_duration_seconds_bucket", "le")
    assert (buckets["0.005"], buckets["0.01"], buckets["30.0"], buckets["+Inf"]) == (1, 2, 3, 4)
    assert seen("probed_check_duration_seconds_sum") == pytest.approx(61.0101)


def test_each_bucket_keeps_the_last_exemplar_of_a_kept_run(
    board: Board, result: MakeResult, samples: Read
) -> None:
    board.record(result(trace_id="a" * 32))
    board.record(result(trace_id="b" * 32))
    board.record(result(trace_id="c" * 32, sampled=False))
    exemplars = [s.exemplar for s in samples().all if s.exemplar is not None]
    assert [(e.labels, e.value, float(e.timestamp)) for e in exemplars] == [
        (
            {"trace_id": "b" * 32, "span_id": "b7ad6b7169203331"},
            0.02,
            pytest.approx(1_767_225_600.02),
        )
    ]


def test_phases_are_those_of_the_last_run_and_repeated_ones_are_summed(
    board: Board, result: MakeResult, samples: Read
) -> None:
    board.record(result())
    board.record(
        result(phases=(Phase("connect", 0, 0.5), Phase("tls", 0.5, 0.25), Phase("connect", 1, 0.5)))
    )
    seen = samples().of("probed_check_phase_duration_seconds", "probed_phase")
    assert seen == {"connect": 1.0, "tls": 0.25}
    assert "phase_time" not in samples().text


def test_a_phase_that_was_not_come_to_took_no_time(
    board: Board, result: MakeResult, samples: Read
) -> None:
    board.record(result(phases=(Phase("banner", 0, 0.5), Phase("auth", 0.5, 0, skipped=True))))
    seen = samples().of("probed_check_phase_duration_seconds", "probed_phase")
    assert seen == {"banner": 0.5}


def test_a_run_shows_64_phases_at_most(board: Board, result: MakeResult, samples: Read) -> None:
    board.record(result(phases=tuple(Phase(f"p{n}", 0, 0.1) for n in range(200))))
    assert len(samples().of("probed_check_phase_duration_seconds", "probed_phase")) == 64


def test_phases_are_a_histogram_where_that_is_asked_for(
    clock: Any, check: MakeCheck, result: MakeResult
) -> None:
    board = Board(clock, phase_histogram=True)
    board.add(check())
    board.record(result())
    board.record(result())
    family = next(f for f in board.families() if f.measure.name == "probed.check.phase.time")
    ((resolve, first), (connect, _)) = family.cells(family.rows()[0])
    assert (resolve.pairs, connect.pairs) == (
        (("probed.phase", "resolve"),), (("probed.phase", "connect"),),
    )  # fmt: skip
    assert sum(first.counts) == 2


def test_an_unconfirmed_failure_is_counted_by_the_reason_of_the_first_attempt(
    board: Board, result: MakeResult, samples: Read
) -> None:
    first = result(Outcome.FAILED, reason="timeout.connect")
    second = result(Outcome.FAILED, previous=first)
    board.record(result(previous=second))
    board.record(second)
    seen = samples()
    assert seen.of("probed_check_unconfirmed_total", "error_type") == {"": 0, "timeout.connect": 1}
    assert sum(seen.of(RUNS, "probed_outcome").values()) == 2


def test_a_gauge_disappears_with_the_run_that_does_not_report_it(
    board: Board, result: MakeResult, samples: Read, measures: Measures
) -> None:
    queue = measures["queue"]
    board.record(result(Outcome.OK, (measures["status"], 200), (queue, 5, {"mail.queue": "in"})))
    board.record(result(Outcome.FAILED, (queue, 6, {"mail.queue": "out"})))
    seen = samples()
    assert seen("http_response_status_code") is None
    assert seen.of("mail_queue_size", "mail_queue") == {"out": 6}


def test_a_run_that_cannot_judge_takes_no_gauge_away(
    board: Board, result: MakeResult, samples: Read, measures: Measures
) -> None:
    board.record(result(Outcome.OK, (measures["status"], 200)))
    board.record(result(Outcome.UNKNOWN))
    assert samples()("http_response_status_code") == 200


def test_the_end_of_a_certificate_stays_when_a_run_fails_before_it_is_seen(
    board: Board, result: MakeResult, samples: Read, measures: Measures
) -> None:
    board.record(result(Outcome.OK, (measures["not_after"], 1.8e9)))
    board.record(result(Outcome.FAILED))
    assert samples()("probed_tls_certificate_not_after_seconds") == 1.8e9


def test_counters_add_and_histograms_observe(
    board: Board, result: MakeResult, samples: Read, measures: Measures
) -> None:
    for size in (50, 500, 5000):
        board.record(result(Outcome.OK, (measures["seen"], 2), (measures["body"], size)))
    seen = samples()
    assert seen("mail_seen_total") == 6
    assert seen.of("http_client_response_body_size_bytes_bucket", "le") == {
        "100.0": 1, "1000.0": 2, "+Inf": 3,
    }  # fmt: skip
    assert "trace_id" in seen.text.split("http_client_response_body_size_bytes_bucket")[1]


def test_attribute_sets_past_the_limit_are_dropped_and_counted(
    board: Board, result: MakeResult, samples: Read, measures: Measures,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    events = measures["events"]
    many = [(events, 1, {"mail.event": name}) for name in "abcd"]
    with caplog.at_level(logging.WARNING):
        board.record(result(Outcome.OK, *many))
        board.record(result(Outcome.OK, *many))
    seen = samples()
    assert seen.of("mail_events_total", "mail_event") == {"a": 2, "b": 2}
    assert seen("probed_measure_dropped_total", probed_measure="mail.events") == 4
    assert [record.name for record in caplog.records] == ["probed.telemetry"]
    assert "check mx" in caplog.text


def test_gauges_that_come_and_go_do_not_use_up_the_limit(
    board: Board, result: MakeResult, samples: Read, measures: Measures
) -> None:
    for turn in range(10):
        names = (f"{turn}-{n}" for n in range(3))
        board.record(
            result(Outcome.OK, *((measures["queue"], 1, {"mail.queue": n}) for n in names))
        )
    seen = samples()
    assert set(seen.of("mail_queue_size", "mail_queue")) == {"9-0", "9-1", "9-2"}
    assert seen("probed_measure_dropped_total", probed_measure="mail.queue.size") == 0


def test_what_is_not_finite_is_dropped_and_counted(
    board: Board, result: MakeResult, samples: Read, measures: Measures
) -> None:
    for value in (float("nan"), float("inf"), float("-inf")):
        board.record(result(Outcome.OK, (measures["seen"], value)))
    seen = samples()
    assert seen("mail_seen_total") == 0
    assert seen("probed_measure_dropped_total", probed_measure="mail.seen") == 3


def test_a_name_that_another_kind_declares_otherwise_is_refused(
    board: Board, check: MakeCheck, other: type[Probe], result: MakeResult, samples: Read
) -> None:
    board.add(check("gone.example", other))
    (measure,) = other.measures
    board.record(result(check="gone.example", probe="other", measures=(Measurement(measure, 7.0),)))
    seen = samples()
    assert "mail_seen_seconds" not in seen.text
    assert seen("mail_seen_total") == 0
    assert seen("probed_measure_dropped_total", probed_measure="mail.seen") == 1


def test_a_measure_cannot_take_the_place_of_a_metric_of_ours(
    board: Board, result: MakeResult, samples: Read
) -> None:
    impostor = Measure("probed.check_up", kind=MetricType.GAUGE, help="Not the real one.")
    board.judge("mx", CheckState(Verdict.UP))
    board.record(result(measures=(Measurement(impostor, 7.0),)))
    assert samples()("probed_check_up") == 1


def test_a_removed_check_leaves_nothing_behind(
    board: Board, check: MakeCheck, result: MakeResult, samples: Read, measures: Measures
) -> None:
    before = samples().text
    board.add(check("gone.example"))
    for name in ("mx", "gone.example"):
        board.record(result(Outcome.OK, (measures["status"], 200), check=name))
    board.remove("gone.example")
    assert "gone.example" not in samples().text
    board.remove("mx")
    board.remove("mx")
    assert len(board) == 0
    assert "mail" not in samples().text
    board.add(check())
    assert samples().text.count("\n") == before.count("\n")


def test_a_check_that_is_added_again_keeps_its_counters_and_gets_its_new_description(
    board: Board, check: MakeCheck, result: MakeResult, samples: Read
) -> None:
    board.record(result())
    board.add(check(interval=5.0, severity=Severity.P0))
    seen = samples()
    assert seen.of(RUNS, "probed_outcome")["ok"] == 1
    assert seen("probed_check_interval_seconds") == 5
    assert seen("probed_check_info", severity="P0") == 1


def test_a_check_of_another_kind_starts_anew(
    board: Board, check: MakeCheck, other: type[Probe], result: MakeResult, samples: Read
) -> None:
    board.record(result())
    board.add(check(probe=other))
    board.record(result())
    assert samples().of(RUNS, "probed_outcome")["ok"] == 0
    board.record(result(probe="other"))
    assert samples().of(RUNS, "probed_outcome")["ok"] == 1


def test_results_and_verdicts_of_unknown_checks_change_nothing(
    board: Board, result: MakeResult, samples: Read
) -> None:
    before = samples().text.replace("cpu", "\n").split("\n# TYPE process")[0]
    board.record(result()._replace(check="gone"))
    board.judge("gone", CheckState(Verdict.DOWN, failed_streak=1))
    assert samples().text.replace("cpu", "\n").split("\n# TYPE process")[0] == before


def test_the_daemon_counts_for_itself(board: Board, clock: Any, samples: Read) -> None:
    board.late(0.02)
    board.late(-1.0)
    board.lagged(0.3)
    board.missed("overlap")
    board.missed("overlap", 2)
    board.occupied(running=3, waiting=1)
    board.exported("traces", "sent", 5)
    board.exported("traces", "dropped", 2, "queue_full")
    clock.now += 60
    board.reloaded(ok=True)
    board.reloaded(ok=False)
    seen = samples()
    assert seen("probed_scheduler_lateness_seconds_count") == 2
    assert seen("probed_loop_lag_seconds_sum") == 0.3
    assert seen.of("probed_scheduler_missed_total", "reason")["overlap"] == 3
    assert seen("probed_scheduler_running") == 3
    assert seen("probed_scheduler_waiting") == 1
    assert seen("probed_export_items_total", otel_signal="traces", outcome="sent") == 5
    assert seen("probed_export_items_total", otel_signal="traces", error_type="queue_full") == 2
    assert seen("probed_export_items_total", otel_signal="metrics", outcome="rejected") == 0
    assert seen.of("probed_config_reloads_total", "outcome") == {"ok": 1, "failed": 1}
    assert seen("probed_config_last_reload_success") == 0
    assert seen("probed_config_last_reload_timestamp_seconds") == clock.now
    assert seen("probed_build_info", version="1.2.3") == 1
    assert (seen("process_memory_usage_bytes") or 0) > 1e6
    assert (seen("probed_process_open_files") or 0) > 2
    assert (seen("process_cpu_time_seconds_total", cpu_mode="user") or 0) > 0


def test_text_that_cannot_be_utf8_does_not_break_the_page(
    board: Board, check: MakeCheck, samples: Read
) -> None:
    board.add(check('odd \ud800 "name"\n\\', labels={"x": "\udfff"}))
    assert 'probed_check="odd ? \\"name\\"\\n\\\\"' in samples().text
