"""email_queue: what is counted, what is judged, and what of a program's word is believed."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import FakeClock, no_leaks
from probed.testing.soundness import assert_memory, assert_sound
from probes.email_queue import EmailQueueProbe, program
from probes.email_queue.tally import BUCKETS, Tally, class_of
from probes.email_queue.times import epoch_of

pytestmark = pytest.mark.anyio

Run = Any


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def values(result: Result) -> dict[str, float]:
    return {
        "/".join([m.measure.name.removeprefix("probed.email_queue."), *(v for _, v in m.attributes)]): m.value
        for m in result.measures
    }  # fmt: skip


def message(age: float, queue: str = "deferred", *reasons: str) -> str:
    return json.dumps(
        {
            "queue_name": queue,
            "queue_id": "4F2C1",
            "arrival_time": int(time.time() - age),
            "sender": "somebody@example.com",
            "recipients": [
                {"address": "other@example.com", "delay_reason": reason} for reason in reasons
            ],
        }
    )


@pytest.fixture
def says(tmp_path: Path) -> Any:
    """A program that says this, and how it ends."""

    def make(lines: Sequence[str] | bytes, code: int = 0, complaint: str = "") -> list[str]:
        file = tmp_path / "said"
        file.write_bytes(
            lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
        )
        text = (
            "import sys, shutil; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer);"
            "sys.stdout.flush(); print(sys.argv[2], end='', file=sys.stderr); sys.exit(int(sys.argv[3]))"
        )
        return [sys.executable, "-I", "-S", "-c", text, str(file), complaint, str(code)]

    return make


async def look(
    timeout: float = 15.0, memory: Any = None, clock: Any = None, **settings: Any
) -> Result:
    probe = EmailQueueProbe(**settings)
    memory = {} if memory is None else memory
    async with no_leaks():
        result = await execute(
            probe, network=Network(), timeout=timeout, memory=memory, clock=clock
        )
    assert_sound(probe, result)
    assert_memory(memory)
    return result


# --- postqueue


async def test_messages_are_counted_by_queue_and_age(says: Any) -> None:
    lines = [message(60), message(400), message(700), message(100_000), message(1, "active"), ""]
    result = await look(postqueue={"run": says(lines)}, age={"degraded": None, "failed": None})
    assert found(result) == []
    seen = values(result)
    assert seen["depth/deferred"] == 4
    assert seen["depth/active"] == 1
    by_age = {name: seen[f"messages/{name}/deferred"] for name in BUCKETS}
    assert {name: n for name, n in by_age.items() if n} == {"5m": 1, "10m": 1, "20m": 1, "older": 1}
    assert seen["oldest.age/deferred"] == pytest.approx(100_000, abs=5)


async def test_mail_that_waits_too_long(says: Any) -> None:
    lines = [message(1000, "deferred", "connect to mx1.example.org[192.0.2.1]:25: timed out")]
    result = await look(postqueue={"run": says(lines)})
    assert found(result) == [("degraded", "queue.old")]
    assert re.fullmatch(r"Mail waits for 16m4\ds, longer than 15m\.", result.findings[0].message)
    assert result.findings[0].evidence["delay_reasons"] == {
        "connect to mxN.example.org[N]:N: timed out": 1
    }
    result = await look(postqueue={"run": says([message(4000)])})
    assert found(result) == [("failed", "queue.old")]


async def test_so_many_must_wait_too_long(says: Any) -> None:
    lines = [message(4000), message(4000), message(1)]
    for messages, findings in ((2, [("failed", "queue.old")]), (3, [])):
        result = await look(postqueue={"run": says(lines)}, age={"messages": messages})
        assert found(result) == findings


async def test_what_is_held_on_purpose_is_not_looked_at(says: Any) -> None:
    lines = [message(1e6, "hold", "kept"), message(1)]
    result = await look(postqueue={"run": says(lines)}, ignore=["hold"])
    assert found(result) == []
    assert "depth/hold" not in values(result)


async def test_an_empty_queue_is_well(says: Any) -> None:
    result = await look(postqueue={"run": says([])})
    assert found(result) == []


@pytest.mark.parametrize(
    ("code", "complaint", "expected"),
    [
        (69, "postqueue: fatal: Queue report unavailable - mail system is down",
         ("failed", "queue.mail_system_down")),
        (77, "postqueue: fatal: User probed(999) is not allowed to view the mail queue",
         ("unknown", "self.permission")),
        (1, "what", ("unknown", "queue.unreadable")),
    ],
)  # fmt: skip
async def test_a_program_that_fails(
    says: Any, code: int, complaint: str, expected: tuple[str, str]
) -> None:
    result = await look(postqueue={"run": says([], code, complaint)})
    assert found(result) == [expected]
    assert result.findings[0].evidence["said"] == complaint


async def test_a_program_that_is_not_there_or_may_not_be_run(tmp_path: Path) -> None:
    for source in ("postqueue", "command"):
        result = await look(**{source: {"run": [str(tmp_path / "nothing")]}})
        assert found(result) == [("unknown", "queue.unreadable")]
        (tmp_path / "plain").write_text("x")
        result = await look(**{source: {"run": [str(tmp_path / "plain")]}})
        assert found(result) == [("unknown", "self.permission")]


async def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    stuck = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(1000)"]
    for source in ("postqueue", "command"):
        result = await look(timeout=0.5, **{source: {"run": stuck}})
        assert found(result) == [("failed", "timeout.query")]


async def test_what_is_seen_is_bounded_and_judged(
    says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "LINES", 50)
    result = await look(postqueue={"run": says([message(4000)] * 20_000)})
    assert found(result) == [("failed", "queue.old"), ("degraded", "queue.truncated")]
    assert result.facts["probed.email_queue.truncated"] is True
    assert values(result)["depth/deferred"] < 20_000


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff" * 100, b"not json\n", b"[]\n", b"1\n", b"{}\n", b'{"queue_name": 1}\n',
        b'{"queue_name": [], "arrival_time": 1}\n', b'{"queue_name": "a", "arrival_time": 1, "recipients": 1}\n',
        b"[" * 100_000 + b"\n",
    ],
)  # fmt: skip
async def test_lines_that_are_none_are_counted_and_told(says: Any, said: bytes) -> None:
    result = await look(postqueue={"run": says(said)})
    assert found(result) == [("unknown", "queue.not_understood")]


async def test_lines_that_never_end_take_no_memory(says: Any) -> None:
    lines = b"x" * (3 << 20) + b"\n" + message(1).encode() + b"\n"
    result = await look(postqueue={"run": says(lines)})
    assert found(result) == []
    assert values(result)["depth/deferred"] == 1


async def test_names_of_queues_are_few_and_harmless(says: Any) -> None:
    lines = [message(1, f"q{n}\x1b[31m") for n in range(100)]
    result = await look(postqueue={"run": says(lines)})
    depths = {name: value for name, value in values(result).items() if name.startswith("depth/")}
    assert len(depths) == 20
    assert depths["depth/other"] == 81


@pytest.mark.timing
async def test_thousands_of_messages_do_not_stop_the_event_loop(says: Any) -> None:
    import anyio

    longest = 0.0
    lines = [message(1, "deferred", f"host mx{n}.example.com said: 450 {n}") for n in range(3000)]

    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            nonlocal longest
            last = time.perf_counter()
            while True:
                await anyio.sleep(0.001)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        tasks.start_soon(watch)
        result = await look(postqueue={"run": says(lines)})
        tasks.cancel_scope.cancel()
    assert values(result)["depth/deferred"] == 3000
    assert longest < 0.25  # 30 ms where nobody else wants the processor


# --- reasons


def test_a_reason_is_told_without_what_differs() -> None:
    a = "host mx1.example.com[192.0.2.7] said: 450 4.2.1 <joe@example.com>: greylisted for 300 s"
    b = "host mx2.example.com[2001:db8::7] said: 450 4.2.1 <ann@example.net>: greylisted for 20 s"
    assert class_of(a) == class_of(b)
    assert "joe" not in class_of(a)


def test_classes_are_at_most_twenty() -> None:
    tally = Tally(0.0, str)
    words = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(500)]
    for number, word in enumerate(words):
        tally.reason(word, 1000 - number)
    tally.reason("most of all", 5000)
    top = tally.top()
    assert len(top) == 20
    assert top[0] == ("most of all", 5000)
    assert top[-1][0] == "other"
    assert sum(count for _, count in top) == sum(tally.reasons.values())


@given(st.text(max_size=3000))
def test_any_reason_has_a_class_of_bounded_length(text: str) -> None:
    assert len(class_of(text)) <= 120
    assert not any(c.isascii() and c.isdigit() for c in class_of(text))


@pytest.mark.parametrize("hostile", ["a" * 2048, "f:" * 1024, ":" * 2048, "@" * 2048, "1." * 1024])
def test_a_hostile_reason_takes_no_time(hostile: str) -> None:
    began = time.perf_counter()
    for _ in range(20):
        class_of(hostile)
    assert time.perf_counter() - began < 1.0


# --- a command


@pytest.mark.parametrize(
    ("document", "depths"),
    [
        ({"depth": 3, "oldest_age_s": 2.5}, {"depth/queue": 3}),
        ({"queues": [{"name": "a", "depth": 1}, {"name": "b", "depth": 2}]},
         {"depth/a": 1, "depth/b": 2}),
        ({"queues": []}, {}),
    ],
)  # fmt: skip
async def test_a_command_tells_of_queues(says: Any, document: Any, depths: Any) -> None:
    result = await look(command={"run": says([json.dumps(document)])})
    assert found(result) == []
    assert {k: v for k, v in values(result).items() if k.startswith("depth/")} == depths


async def test_a_command_tells_of_age_and_reasons(says: Any) -> None:
    told = {"queues": [{"name": "a", "depth": 2, "oldest_age_s": 9e3, "delay_reasons": {"x 5": 2}}]}
    result = await look(command={"run": says([json.dumps(told)])})
    assert found(result) == [("failed", "queue.old")]
    assert result.findings[0].evidence["delay_reasons"] == {"x N": 2}


@pytest.mark.parametrize(
    "said",
    [
        "", "nothing", "[]", "3", "null", '{"depth": -1}', '{"depth": true}', '{"depth": 1.5}',
        '{"depth": 1, "oldest_age_s": -1}', '{"depth": 1, "oldest_age_s": NaN}',
        '{"depth": 1, "oldest_age_s": 1e999}', '{"queues": [1]}', '{"queues": 1}',
        '{"depth": 1, "delay_reasons": [1]}', "[" * 10_000,
    ],
)  # fmt: skip
async def test_a_command_that_says_something_else(says: Any, said: str) -> None:
    result = await look(command={"run": says([said])})
    assert found(result) == [("unknown", "queue.not_understood")]


async def test_a_command_that_says_too_much(says: Any) -> None:
    result = await look(command={"run": says(b"x" * (2 << 20))})
    assert found(result) == [("unknown", "queue.not_understood")]


async def test_a_program_is_given_no_secret_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "canary")
    file = tmp_path / "environment"
    text = f"import os, pathlib; pathlib.Path({str(file)!r}).write_text(repr(dict(os.environ)));print('{{\"depth\": 0}}')"
    await look(command={"run": [sys.executable, "-I", "-c", text]})
    assert "canary" not in file.read_text()
    assert "PATH" in file.read_text()


# --- depth and growth


async def test_depth_has_bounds(says: Any) -> None:
    for bounds, expected in (
        ({"degraded": 2, "failed": 5}, [("degraded", "queue.deep")]),
        ({"degraded": 1, "failed": 2}, [("failed", "queue.deep")]),
        ({"degraded": 3}, []),
    ):
        result = await look(command={"run": says(['{"depth": 3}'])}, depth=bounds)
        assert found(result) == expected


async def test_growth_is_taken_over_the_last_runs(says: Any) -> None:
    clock, memory = FakeClock(), dict[str, Any]()
    grown = []
    for depth in (10, 40, 40, 100, 100, 100, 100, 100):
        result = await look(
            command={"run": says([json.dumps({"depth": depth})])},
            memory=memory, clock=clock, growth={"degraded": 20, "failed": 25},
        )  # fmt: skip
        grown.append((values(result).get("growth"), [level for level, _ in found(result)]))
        await clock.advance(60)
    assert grown == [
        (None, []), (30, ["failed"]), (15, []), (30, ["failed"]), (22.5, ["degraded"]),
        (18, []), (12, []), (12, []),
    ]  # fmt: skip


async def test_a_confirmation_a_moment_later_is_no_growth(says: Any) -> None:
    clock, memory = FakeClock(), dict[str, Any]()
    for depth in (10, 20):
        result = await look(
            command={"run": says([json.dumps({"depth": depth})])}, memory=memory, clock=clock
        )
        assert "growth" not in values(result)
        await clock.advance(0.01)


@pytest.mark.parametrize("kept", [1, [1], [["a", 1]], [[float("1e400"), 1]], {"a": 1}, None])
async def test_a_memory_that_is_none_of_ours_is_passed_over(says: Any, kept: Any) -> None:
    memory = {"samples": kept}
    result = await look(command={"run": says(['{"depth": 1}'])}, memory=memory)
    assert found(result) == []


# --- settings and times


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"postqueue": {}, "command": {"run": ["x"]}},
        {"command": {"run": []}},
        {"redis": {"address": "a:1", "keys": []}},
        {"mongodb": {"address": "a:1", "database": "d", "collection": "c", "filter": {"$or": [{"$where": "1"}]}}},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"write one of|run|keys|filter"):
        EmailQueueProbe(**settings)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_767_225_600, 1_767_225_600), (1_767_225_600_000, 1_767_225_600), ("1767225600.5", 1_767_225_600.5),
        ("2026-01-01T00:00:00Z", 1_767_225_600), ("2026-01-01T01:00:00+01:00", 1_767_225_600),
        (None, None), (True, None), (-1, None), ("soon", None), (float("nan"), None), (10**400, None), ([], None),
    ],
)  # fmt: skip
def test_times_as_applications_write_them(value: Any, seconds: float | None) -> None:
    assert epoch_of(value) == seconds
