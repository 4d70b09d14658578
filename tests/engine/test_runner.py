"""One run ends within its deadline, with one outcome and the right reason, and leaves nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from probed import HostPort, Measure, MetricType, Outcome, Probe, Reason, Run
from probed.config import Check
from probed.engine.runner import Ids, Runner, execute
from probed.model import Result
from probed.net import Network
from probed.reasons import ProbeError
from probed.testing import FakeClock
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio


class Scripted(Probe):
    """Does what the test says."""

    kind = "scripted"
    address: HostPort = HostPort("a.test", 1)
    script: Callable[[Run], object]
    measures = (
        Measure("test.gauge", unit="s", attributes=("part",)),
        Measure("test.counter", kind=MetricType.COUNTER),
    )

    async def probe(self, run: Run) -> None:
        outcome = self.script(run)
        if hasattr(outcome, "__await__"):
            await outcome


async def once(script: Callable[[Run], object], **more: object) -> Result:
    more.setdefault("timeout", 1.0)
    return await execute(Scripted(script=script), network=Network(), **more)  # type: ignore[arg-type]


async def test_returning_is_ok() -> None:
    result = await once(lambda run: None)
    assert (result.outcome, result.findings, result.worst) == (Outcome.OK, (), None)


async def test_fail_ends_the_run_with_its_finding() -> None:
    def script(run: Run) -> None:
        run.fail(Reason.HTTP_STATUS, "It was 500.", evidence={"status": 500})
        raise AssertionError("never reached")

    result = await once(script)
    assert result.outcome is Outcome.FAILED
    assert [(f.reason, f.message, f.evidence) for f in result.findings] == [
        (Reason.HTTP_STATUS, "It was 500.", {"status": 500})
    ]


async def test_degraded_and_unknown_go_on_and_the_worst_counts() -> None:
    def script(run: Run) -> None:
        run.degraded(Reason.HTTP_SLOW)
        run.unknown(Reason.HTTP_RATE_LIMITED)

    result = await once(script)
    assert result.outcome is Outcome.UNKNOWN
    assert result.worst is not None
    assert result.worst.reason == Reason.HTTP_RATE_LIMITED
    assert len(result.findings) == 2


async def test_an_exception_is_classified_and_the_open_phase_has_failed() -> None:
    def script(run: Run) -> None:
        with run.phase("banner"):
            raise ConnectionResetError(104, "text of the system")

    result = await once(script)
    assert result.worst is not None
    assert result.worst.reason == Reason.CONNECT_RESET
    assert result.worst.evidence["phase"] == "banner"
    assert [(p.name, p.error) for p in result.phases] == [("banner", "connect.reset")]


async def test_fail_in_a_task_of_the_probes_own_is_found_once() -> None:
    async def script(run: Run) -> None:
        async def part() -> None:
            run.fail(Reason.HTTP_STATUS)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(part)

    result = await once(script)
    assert [finding.reason for finding in result.findings] == [Reason.HTTP_STATUS]


async def test_what_nobody_foresaw_is_internal_unknown_and_shows_no_text_of_the_error() -> None:
    def script(run: Run) -> None:
        raise ZeroDivisionError("canary in the text")

    result = await once(script)
    assert result.outcome is Outcome.UNKNOWN
    assert result.worst is not None
    assert result.worst.reason == Reason.INTERNAL
    assert "ZeroDivisionError at test_runner.py:" in result.worst.message
    assert "canary" not in repr(result)


async def test_of_an_unforeseen_error_in_a_task_the_error_itself_is_named() -> None:
    async def script(run: Run) -> None:
        async def part() -> None:
            raise ZeroDivisionError

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(part)

    result = await once(script)
    assert result.worst is not None
    assert "ZeroDivisionError at test_runner.py:" in result.worst.message


async def test_the_deadline_ends_the_run_and_names_the_phase() -> None:
    async def script(run: Run) -> None:
        with run.phase("wait"):
            await anyio.sleep_forever()

    result = await once(script, timeout=0.05)
    assert result.outcome is Outcome.FAILED
    assert result.worst is not None
    assert result.worst.reason == Reason.TIMEOUT_WAIT
    assert "(0.05 s)" in result.worst.message
    assert 0.05 <= result.duration_s < 0.35
    assert result.phases[0].error == "timeout.wait"


async def test_the_phase_of_a_part_that_the_deadline_cuts_off_is_named_too() -> None:
    async def script(run: Run) -> None:
        part = run.part("node/a")
        with part.phase("tls"):
            await anyio.sleep_forever()

    result = await once(script, timeout=0.05)
    assert result.worst is not None
    assert result.worst.reason == Reason.TIMEOUT_TLS
    assert result.worst.evidence["phase"] == "node/a/tls"
    assert [(p.name, p.error) for p in result.phases] == [("node/a/tls", "timeout.tls")]


async def test_what_had_gone_wrong_already_is_the_reason_when_the_deadline_passes() -> None:
    async def script(run: Run) -> None:
        run.fault = ProbeError(Reason.TLS_EXPIRED)
        await anyio.sleep_forever()

    result = await once(script, timeout=0.05)
    assert result.worst is not None
    assert result.worst.reason == Reason.TLS_EXPIRED


async def test_cancelling_from_outside_is_not_an_outcome() -> None:
    with anyio.move_on_after(0.05) as scope:
        await once(lambda run: anyio.sleep_forever(), timeout=60.0)
    assert scope.cancelled_caught


async def test_measures_are_those_declared() -> None:
    def script(run: Run) -> None:
        run.measure("test.gauge", 1.5, {"part": "a\x1b"})
        run.measure("test.counter", 2)

    result = await once(script)
    assert [(m.measure.name, m.value, m.attributes) for m in result.measures] == [
        ("test.gauge", 1.5, (("part", "a\\x1b"),)),
        ("test.counter", 2.0, ()),
    ]


@pytest.mark.parametrize(
    ("name", "value", "attributes"),
    [
        ("test.undeclared", 1.0, None),
        ("test.gauge", 1.0, None),
        ("test.gauge", float("nan"), {"part": "a"}),
        ("test.counter", -1.0, None),
        ("test.counter", 1.0, {"part": "a"}),
    ],
)
async def test_a_measure_that_was_not_declared_so_is_an_error_of_the_probe(
    name: str, value: float, attributes: dict[str, str] | None
) -> None:
    result = await once(lambda run: run.measure(name, value, attributes))
    assert result.worst is not None
    assert result.worst.reason == Reason.INTERNAL


async def test_evidence_is_bounded_cleaned_and_stripped_of_secrets_on_its_way_in() -> None:
    def script(run: Run) -> None:
        evidence = {f"k{i}": i for i in range(100)}
        run.degraded(
            Reason.HTTP_SLOW,
            "text with hunter2canary\x1b[0m",
            evidence={
                "bytes": b"\xffhunter2canary\n",
                "list": ["a", ["b", ["too", "deep"]]],
                "map": {"x": {"y": 1}},
                "long": "z" * 10_000,
                **evidence,
            },
        )

    result = await once(script, redactor=Redactor(["hunter2canary"]))
    finding = result.findings[0]
    assert "hunter2canary" not in repr(finding)
    assert "\x1b" not in finding.message
    assert len(finding.evidence) <= 40
    assert len(str(finding.evidence["long"])) <= 512


def check(script: Callable[[Run], object], confirm: int = 1) -> Check:
    return Check("web", Scripted(script=script), timeout=1.0, confirm=confirm, labels={"team": "a"})


def runner() -> Runner:
    return Runner(Network(), clock=FakeClock(), ids=Ids(random.Random(1)))


async def test_a_failure_is_confirmed_at_once_and_both_attempts_stay_visible() -> None:
    runs: list[Run] = []

    def script(run: Run) -> None:
        runs.append(run)
        run.fail(Reason.HTTP_STATUS, f"attempt {len(runs)}")

    result = await runner().run(check(script))
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 2)
    assert result.previous is not None
    assert result.previous.findings[0].message == "attempt 1"
    assert result.findings[0].message == "attempt 2"
    assert result.trace_id != result.previous.trace_id
    assert result.labels == {"team": "a"}


async def test_a_run_that_would_ask_nothing_new_is_not_confirmed() -> None:
    class Once(Scripted):
        def worth_repeating(self, memory: object, now: float) -> bool:
            return not memory and now < 0

    once_only = Once(script=lambda run: run.fail(Reason.HTTP_STATUS))
    result = await runner().run(Check("web", once_only, timeout=1.0, confirm=1))
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 1)


async def test_a_confirmation_that_is_ok_makes_the_run_ok_and_keeps_the_first_attempt() -> None:
    runs: list[Run] = []

    def script(run: Run) -> None:
        runs.append(run)
        run.expect(len(runs) > 1, Reason.HTTP_STATUS)

    result = await runner().run(check(script))
    assert (result.outcome, result.attempts) == (Outcome.OK, 2)
    assert result.previous is not None
    assert result.previous.outcome is Outcome.FAILED


async def test_all_attempts_share_one_deadline_and_one_that_used_it_up_is_not_confirmed() -> None:
    async def hangs(run: Run) -> None:
        await anyio.sleep_forever()

    runner = Runner(Network())
    with anyio.fail_after(0.5):
        result = await runner.run(replace(check(hangs), timeout=0.2))
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 1)

    runs: list[Run] = []

    async def fails_then_hangs(run: Run) -> None:
        runs.append(run)
        run.expect(len(runs) > 1, Reason.HTTP_STATUS)
        await anyio.sleep_forever()

    with anyio.fail_after(0.5):
        result = await runner.run(replace(check(fails_then_hangs), timeout=0.2))
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 2)


@pytest.mark.parametrize("method", ["degraded", "unknown"])
async def test_only_a_failure_is_confirmed(method: str) -> None:
    result = await runner().run(check(lambda run: getattr(run, method)(Reason.HTTP_SLOW)))
    assert result.attempts == 1


async def test_without_confirmation_there_is_one_attempt() -> None:
    result = await runner().run(check(lambda run: run.fail(Reason.HTTP_STATUS), confirm=0))
    assert result.attempts == 1


async def test_a_trace_is_kept_where_asked_for_where_not_ok_and_of_every_confirmation() -> None:
    ok = await runner().run(check(lambda run: None), sampled=lambda _: False)
    assert not ok.sampled
    bad = await runner().run(
        check(lambda run: run.fail(Reason.HTTP_STATUS)), sampled=lambda _: False
    )
    assert bad.sampled
    assert bad.previous is not None
    assert bad.previous.sampled
    runs: list[Run] = []

    def once_bad(run: Run) -> None:
        runs.append(run)
        run.expect(len(runs) > 1, Reason.HTTP_STATUS)

    confirmed = await runner().run(check(once_bad), sampled=lambda _: False)
    assert confirmed.sampled
    assert [run.traceparent[-2:] for run in runs] == ["00", "01"]


async def test_memory_outlives_the_run() -> None:
    memory: dict[str, object] = {}

    def script(run: Run) -> None:
        run.memory["count"] = int(run.memory.get("count", 0)) + 1

    for _ in range(3):
        await runner().run(check(script), memory=memory)
    assert memory == {"count": 3}


def test_ids_are_hex_of_the_right_length_and_repeatable() -> None:
    ids = Ids(random.Random(7))
    again = Ids(random.Random(7))
    trace, span = ids.trace(), ids.span()
    assert (len(trace), len(span)) == (32, 16)
    assert (trace, span) == (again.trace(), again.span())


async def test_a_part_of_a_run_that_fails_is_returned_and_the_rest_goes_on() -> None:
    async def script(run: Run) -> None:
        part = run.part("upstream/a")

        async def refused() -> None:
            with part.phase("connect"):
                raise ConnectionRefusedError(111, "")

        async def hangs() -> None:
            with other.phase("wait"):
                await anyio.sleep_forever()

        other = run.part("upstream/b")
        first = await part.guard(refused)
        second = await other.guard(hangs)
        run.degraded(Reason.HTTP_SLOW, f"{first.reason} {second.reason}")  # type: ignore[union-attr]

    result = await once(script, timeout=0.4)
    assert result.outcome is Outcome.DEGRADED
    assert result.findings[0].message == "connect.refused timeout.wait"
    assert [(p.name, p.error) for p in result.phases] == [
        ("upstream/a/connect", "connect.refused"),
        ("upstream/b/wait", "timeout.wait"),
    ]


class Stopped(FakeClock):
    """A clock of a process that stands still at times."""

    def stop(self, seconds: float) -> None:
        self._monotonic += seconds


async def judged(script: Callable[[Run, Stopped], object]) -> Result:
    """The result of a run during which a task watches the loop."""
    clock = Stopped()
    runner = Runner(Network(), clock=clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.lag.watch)
        await clock.asleep()
        probe = Scripted(script=lambda run: script(run, clock))
        result = await runner.run_attempt(probe, timeout=10)
        tasks.cancel_scope.cancel()
    return result


async def test_how_long_it_took_is_not_the_peers_fault_while_the_loop_stood_still() -> None:
    def script(run: Run, clock: Stopped) -> None:
        clock.stop(3)
        run.degraded(Reason.HTTP_SLOW)
        run.fail(Reason.TIMEOUT_WAIT)

    result = await judged(script)
    assert result.outcome is Outcome.UNKNOWN
    assert result.why == (
        "self.overloaded: probed's event loop was blocked for 2.9 s, so this timing is unreliable."
    )
    assert [(f.reason, f.level) for f in result.findings[1:]] == [
        (Reason.HTTP_SLOW, Outcome.UNKNOWN),
        (Reason.TIMEOUT_WAIT, Outcome.UNKNOWN),
    ]


async def test_what_has_nothing_to_do_with_time_stands() -> None:
    def script(run: Run, clock: Stopped) -> None:
        clock.stop(3)
        run.degraded(Reason.HTTP_SLOW)
        run.fail(Reason.TLS_EXPIRED)

    result = await judged(script)
    assert result.outcome is Outcome.FAILED
    assert result.worst is not None
    assert result.worst.reason == Reason.TLS_EXPIRED


async def test_a_peer_that_gave_up_while_we_stood_still_is_not_blamed() -> None:
    def script(run: Run, clock: Stopped) -> None:
        clock.stop(3)
        run.fail(Reason.CONNECT_RESET)

    assert (await judged(script)).outcome is Outcome.UNKNOWN


async def test_a_short_stop_in_a_long_run_excuses_nothing() -> None:
    async def script(run: Run, clock: Stopped) -> None:
        await clock.advance(5)
        clock.stop(0.4)
        run.fail(Reason.TIMEOUT_WAIT)

    assert (await judged(script)).outcome is Outcome.FAILED
