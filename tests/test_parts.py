"""Parts of a run: each has its own record, and joins the run by the rule that its kind chooses."""

from __future__ import annotations

import pytest

from probed import Fault, Measure, MetricType, Outcome, Reason, Rule, Run, Thresholds
from probed.model import Finding
from probed.net import Network
from probed.record import Certificate
from probed.testing import FakeClock
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio
GAUGE = Measure("test.gauge")
COUNTER = Measure("test.counter", kind=MetricType.COUNTER)
OK, DEGRADED, UNKNOWN, FAILED = Outcome.OK, Outcome.DEGRADED, Outcome.UNKNOWN, Outcome.FAILED


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def run(clock: FakeClock) -> Run:
    return Run(
        {each.name: each for each in (GAUGE, COUNTER)}, clock=clock, network=Network(),
        redactor=Redactor(), trace_id="1" * 32, span_id="2" * 16, timeout=10.0,
    )  # fmt: skip


def certificate(not_after: float) -> Certificate:
    return Certificate("a", "b", (), 0.0, not_after, "1", verified=True)


def parts(run: Run, *levels: Outcome) -> dict[str, Run]:
    """A part for each level, named `p0`, `p1`, ..., with a finding unless it is ok."""
    made = {f"p{at}": run.part(f"p{at}") for at in range(len(levels))}
    for part, level in zip(made.values(), levels, strict=True):
        if level is not OK:
            part.find(level, Reason.HTTP_STATUS, "It is bad.")
    return made


def test_a_part_has_its_own_record_but_for_phases_and_memory(run: Run) -> None:
    part = run.part("node/a")
    inner = part.part("b")
    with inner.phase("connect"):
        inner.fact("server.address", "a.test")
        inner.memory["seen"] = 1
    inner.degraded(Reason.HTTP_SLOW)
    assert [phase.name for phase in run.phases] == ["node/a/b/connect"]
    assert run.memory == {"seen": 1}
    assert (run.findings, run.facts, part.findings, part.facts) == ([], {}, [], {})
    assert run.part().prefix == ""


@pytest.mark.parametrize(
    ("rule", "levels", "found"),
    [
        (Rule.ANY_FAILS, (OK, FAILED), [FAILED]),
        (Rule.ANY_FAILS, (DEGRADED, UNKNOWN), [DEGRADED, UNKNOWN]),
        (Rule.ALL_FAIL, (OK, FAILED), [DEGRADED]),
        (Rule.ALL_FAIL, (DEGRADED, UNKNOWN), [DEGRADED, DEGRADED]),
        (Rule.ALL_FAIL, (FAILED, FAILED), [FAILED, FAILED]),
        (Rule.ALL_FAIL, (UNKNOWN, FAILED), [UNKNOWN, FAILED]),
        (Rule.SOFTENED, (FAILED, FAILED), [DEGRADED, DEGRADED]),
    ],
)
def test_how_bad_a_part_is_for_the_run_follows_from_the_rule(
    run: Run, rule: Rule, levels: tuple[Outcome, ...], found: list[Outcome]
) -> None:
    run.join(parts(run, *levels), rule)
    assert [finding.level for finding in run.findings] == found
    assert all(finding.message.startswith("p") for finding in run.findings)


def test_a_part_without_a_name_is_not_named_and_a_rule_may_spare_findings(run: Run) -> None:
    made = parts(run, FAILED, FAILED)
    run.join({"": made["p0"], "other": made["p1"]}, Rule.SOFTENED, softens=is_unnamed(made["p0"]))
    assert [(f.level, f.message) for f in run.findings] == [
        (DEGRADED, "It is bad."),
        (FAILED, "other: It is bad."),
    ]


def is_unnamed(part: Run) -> object:
    chosen: Finding = part.findings[0]
    return lambda finding: finding is chosen


def test_of_gauges_the_greatest_counts_and_counters_add_up(run: Run) -> None:
    made = parts(run, OK, OK)
    for value, part in zip((3, 2), made.values(), strict=True):
        part.measure("test.gauge", value)
        part.measure("test.counter", value)
    run.join(made)
    values = [(each.measure.name, each.value) for each in run.measured]
    assert sorted(values) == [("test.counter", 2.0), ("test.counter", 3.0), ("test.gauge", 3.0)]


def test_where_one_part_is_enough_the_first_that_works_speaks(run: Run) -> None:
    made = parts(run, FAILED, OK)
    for value, part in zip((3, 2), made.values(), strict=True):
        part.measure("test.gauge", value)
        part.measure("test.counter", value)
        part.certificate = certificate(100.0 - value)
    run.join(made, Rule.ALL_FAIL)
    values = [(each.measure.name, each.value) for each in run.measured]
    assert sorted(values) == [("test.counter", 2.0), ("test.counter", 3.0), ("test.gauge", 2.0)]
    assert run.certificate == certificate(98.0)


def test_the_certificate_that_expires_first_is_the_runs(run: Run) -> None:
    run.certificate = certificate(50.0)
    made = parts(run, OK, OK, OK)
    for at, part in enumerate(made.values()):
        part.certificate = certificate(60.0 - 20 * at) if at < 2 else None
    run.join(made, findings=False)
    assert run.certificate == certificate(40.0)


async def test_time_that_is_left_never_is_negative_and_a_reserve_is_bounded(
    run: Run, clock: FakeClock
) -> None:
    assert run.remaining() == 10.0
    assert run.remaining(0.1) == 9.5
    await clock.advance(9.8)
    assert run.part("a").remaining() == pytest.approx(0.2)
    assert run.remaining(0.1) == 0.0


async def test_what_ends_a_part_is_its_finding_and_ends_no_other(run: Run) -> None:
    async def refused(part: Run) -> None:
        with part.phase("connect"):
            raise ConnectionRefusedError(111, "")

    async def fails(part: Run) -> None:
        part.fail(Reason.HTTP_STATUS, "It was 500.")

    one, other = run.part("one"), run.part("other")
    await one.run_part(refused)
    await other.run_part(fails)
    assert [(f.reason, f.evidence) for f in one.findings] == [
        (Reason.CONNECT_REFUSED, {"phase": "one/connect"})
    ]
    assert [(f.reason, f.message) for f in other.findings] == [(Reason.HTTP_STATUS, "It was 500.")]


async def test_a_guard_returns_what_the_work_returns_or_what_ended_it(run: Run) -> None:
    async def works() -> int:
        return 7

    async def fails() -> int:
        run.fail(Reason.HTTP_STATUS)

    assert await run.guard(works) == 7
    fault = await run.guard(fails)
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.recorded) == (Reason.HTTP_STATUS, True)


@pytest.mark.parametrize(
    ("value", "level", "message"),
    [(1.0, None, ""), (2.5, DEGRADED, "more than 2"), (9.0, FAILED, "more than 4")],
)
def test_a_threshold_that_is_crossed_is_found(
    run: Run, value: float, level: Outcome | None, message: str
) -> None:
    bounds = Thresholds(degraded=2.0, failed=4.0)
    run.judge(value, bounds, Reason.HTTP_SLOW, lambda bound: f"more than {bound:g}")
    assert [(f.level, f.message) for f in run.findings] == ([(level, message)] if level else [])
