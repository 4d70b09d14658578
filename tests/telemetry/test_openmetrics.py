from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from probed.config.model import Check
from probed.model import Measure, Outcome, Result, Verdict
from probed.state import CheckState
from probed.telemetry.board import Board
from probed.telemetry.openmetrics import OPENMETRICS, TEXT, negotiate, render

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


def filled(board: Board, result: Callable[..., Result], measures: dict[str, Measure]) -> None:
    board.judge("mx", CheckState(Verdict.UP, last_success=1.0))
    queue = (measures["queue"], 3, {"mail.queue": 'in"\\\n'})
    board.record(result(Outcome.OK, (measures["body"], 7), (measures["status"], 200), queue))
    board.record(result(Outcome.FAILED, (measures["body"], 7), (measures["status"], 500), queue))


def text_of(board: Board, *, openmetrics: bool) -> str:
    return b"".join(render(board, openmetrics=openmetrics)).decode()


def test_openmetrics_is_whole(
    board: Board, result: Callable[..., Result], measures: dict[str, Measure], samples: Any
) -> None:
    filled(board, result, measures)
    text = samples().text  # parsed by prometheus_client, which is strict
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
    assert "# TYPE target info\n" in text
    assert 'target_info{service_name="probed"} 1\n' in text
    assert "# TYPE probed_check info\n" in text
    assert "# TYPE probed_check_runs counter\n# HELP" in text
    assert "# UNIT probed_check_duration_seconds seconds\n" in text
    assert (
        '0.025"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331"} 0.02 '
        in text
    )
    assert "_created" not in text


def test_text_is_whole_and_has_no_exemplars(
    board: Board, result: Callable[..., Result], measures: dict[str, Measure]
) -> None:
    filled(board, result, measures)
    text = text_of(board, openmetrics=False)
    families = {family.name: family for family in parse_text(text)}
    assert "# EOF" not in text
    assert "trace_id" not in text
    assert "# UNIT" not in text
    assert "# TYPE probed_check_runs_total counter\n" in text
    assert families["probed_check_info"].type == "gauge"
    (sample,) = families["mail_queue_size"].samples
    assert sample.labels["mail_queue"] == 'in"\\\n'


@pytest.mark.debian("prometheus")
def test_promtool_finds_nothing_to_say(
    board: Board, result: Callable[..., Result], measures: dict[str, Measure]
) -> None:
    filled(board, result, measures)
    board.late(0.1)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text_of(board, openmetrics=False), capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_help_is_escaped(board: Board, result: Callable[..., Result]) -> None:
    odd = Measure("odd", help='say "a\\b"\nagain')
    board.record(result(Outcome.OK, (odd, 1)))
    assert '# HELP odd say \\"a\\\\b\\"\\nagain\n' in text_of(board, openmetrics=True)
    assert '# HELP odd say "a\\\\b"\\nagain\n' in text_of(board, openmetrics=False)


def test_many_checks_come_in_chunks_that_are_all_there(
    board: Board, check: Callable[..., Check], result: Callable[..., Result]
) -> None:
    for number in range(500):
        board.add(check(f"check-{number}"))
        board.record(result(check=f"check-{number}"))
    chunks = list(render(board, openmetrics=True))
    assert len(chunks) > 50
    assert max(map(len, chunks)) < 400_000
    assert b"".join(chunks).count(b"probed_check_duration_seconds_count{") == 501
    assert b"".join(chunks).count(b"# TYPE probed_check_duration_seconds histogram") == 1
    assert all(chunks)


def test_checks_may_go_while_the_page_is_being_sent(
    board: Board, check: Callable[..., Check]
) -> None:
    for number in range(200):
        board.add(check(f"check-{number}"))
    chunks = iter(render(board, openmetrics=True))
    next(chunks)
    for number in range(200):
        board.remove(f"check-{number}")
    assert list(chunks)[-1] == b"# EOF\n"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=0.3,*/*;q=0.9", TEXT),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.1,*/*;q=0.9", OPENMETRICS),
        ("application/openmetrics-text;q=nonsense", TEXT),
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
    ],
)
def test_openmetrics_is_served_only_when_it_is_asked_for(accept: str | None, expected: str) -> None:
    assert negotiate(accept) == expected
