"""The cadence is fixed, nothing overlaps, nothing is dropped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed import HostPort, Probe, Run
from probed.config import Check
from probed.engine.executor import Limits, Places
from probed.engine.schedule import Scheduler, next_due, offset
from probed.model import Outcome, Result
from probed.testing import FakeClock

pytestmark = pytest.mark.anyio


class Nothing(Probe):
    """Asks nobody."""

    kind = "nothing"
    address: HostPort = HostPort("a.test", 1)

    async def probe(self, run: Run) -> None:
        """Do nothing."""


@dataclass
class Bench:
    """A scheduler on a clock that stands still, and what it told."""

    clock: FakeClock
    limits: Limits = field(default_factory=Limits)
    lateness: list[float] = field(default_factory=list)
    ticks: Counter[str] = field(default_factory=Counter)
    loads: list[tuple[int, int]] = field(default_factory=list)
    starts: list[tuple[str, float]] = field(default_factory=list)
    length: float = 0.0

    def __post_init__(self) -> None:
        self.places = Places(self.limits, self.occupied)
        self.scheduler = Scheduler(self.clock, self.execute, self)

    def late(self, seconds: float) -> None:
        self.lateness.append(seconds)

    def missed(self, reason: str, count: int = 1) -> None:
        self.ticks[reason] += count

    def occupied(self, running: int, waiting: int) -> None:
        self.loads.append((running, waiting))

    async def execute(self, check: Check, begun: Callable[[], None]) -> Result:
        await self.places.acquire(check.probe.host)
        try:
            begun()
            at = self.clock.monotonic()
            self.starts.append((check.name, at))
            await self.clock.sleep(self.length)
            return Result(check.name, "nothing", "t", Outcome.OK, at, self.length, "0" * 32, "")
        finally:
            self.places.release(check.probe.host)

    @asynccontextmanager
    async def running(self, *checks: Check) -> AsyncIterator[None]:
        self.scheduler.add(checks)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scheduler.run)
            await self.clock.settle()
            yield
            tasks.cancel_scope.cancel()


def check(name: str = "web", interval: float = 10.0, host: str = "a.test") -> Check:
    return Check(name, Nothing(address=HostPort(host, 1)), interval=interval, timeout=interval)


@pytest.fixture
def bench() -> Bench:
    return Bench(FakeClock())


async def test_a_check_runs_once_an_interval_at_its_own_offset(bench: Bench) -> None:
    async with bench.running(check()):
        await bench.clock.advance(100)
    times = [at for _, at in bench.starts]
    assert len(times) == 10
    assert times[0] == pytest.approx(offset("web", 10.0), abs=0.002)
    assert all(b - a == pytest.approx(10.0, abs=0.002) for a, b in pairwise(times))
    assert not bench.ticks


async def test_the_cadence_does_not_drift_with_the_length_of_runs(bench: Bench) -> None:
    bench.length = 3.0
    async with bench.running(check()):
        await bench.clock.advance(1000)
    assert bench.starts[-1][1] - bench.starts[0][1] == pytest.approx(990.0, abs=0.01)


async def test_a_check_never_overlaps_itself_and_the_tick_counts_as_missed(bench: Bench) -> None:
    bench.length = 25.0
    async with bench.running(check()):
        await bench.clock.advance(60)
    assert len(bench.starts) == 2
    assert bench.ticks == {"overlap": 4}


async def test_after_a_stop_there_is_no_burst_and_what_was_lost_is_counted(bench: Bench) -> None:
    async with bench.running(check()):
        await bench.clock.advance(20)
        before = len(bench.starts)
        bench.clock._monotonic += 60  # time passes and nobody wakes: the machine sleeps
        await bench.clock.advance(0)
        assert len(bench.starts) == before
        await bench.clock.advance(10)
    assert len(bench.starts) - before == 1
    assert bench.ticks == {"late": 6}


async def test_after_a_stop_a_thousand_checks_come_back_at_their_own_places(bench: Bench) -> None:
    async with bench.running(*(check(f"c{i}", 30.0, f"{i}.test") for i in range(1000))):
        await bench.clock.advance(30)
        bench.clock._monotonic += 60
        before = len(bench.starts)
        for _ in range(10):
            begun = len(bench.starts)
            await bench.clock.advance(1)
            assert len(bench.starts) - begun < 80
    assert len(bench.starts) > before


async def test_a_check_of_a_long_interval_runs_soon_and_then_on_its_grid(bench: Bench) -> None:
    async with bench.running(check(interval=3600.0)):
        await bench.clock.advance(60)
        assert len(bench.starts) == 1
        await bench.clock.advance(2 * 3600)
    assert [at for _, at in bench.starts][1:] == [
        pytest.approx(offset("web", 3600.0) + n * 3600.0, abs=0.002) for n in range(2)
    ]


async def test_a_check_of_a_long_interval_that_was_passed_over_is_run_soon(bench: Bench) -> None:
    async with bench.running(check(interval=3600.0)):
        await bench.clock.advance(offset("web", 3600.0) - 1)
        bench.clock._monotonic += 60
        before = len(bench.starts)
        await bench.clock.advance(60)
    assert bench.ticks == {"late": 1}
    assert len(bench.starts) == before + 1


async def test_one_that_ran_lately_waits_for_its_turn(bench: Bench) -> None:
    bench.scheduler.add([check(interval=3600.0)], rested=lambda _: False)
    async with bench.running():
        await bench.clock.advance(offset("web", 3600.0) - 1)
        assert not bench.starts


async def test_a_check_that_is_replaced_keeps_its_place_and_its_run_is_cancelled(
    bench: Bench,
) -> None:
    bench.length = 5.0
    async with bench.running(check()):
        await bench.clock.advance(offset("web", 10.0) + 1)
        bench.scheduler.add([check(host="b.test")])
        await bench.clock.settle()
        assert bench.loads[-1] == (0, 0)
        await bench.clock.advance(20)
    times = [at for name, at in bench.starts if name == "web"]
    assert [b - a for a, b in pairwise(times)] == [pytest.approx(10.0, abs=0.002)] * 2


async def test_a_check_that_is_removed_runs_no_more(bench: Bench) -> None:
    bench.length = 100.0
    async with bench.running(check()):
        await bench.clock.advance(11)
        bench.scheduler.remove("web")
        await bench.clock.settle()
        assert bench.loads[-1] == (0, 0)
        await bench.clock.advance(100)
        assert bench.scheduler.overdue() == 0
    assert len(bench.starts) == 1


async def test_a_check_that_waits_and_is_removed_leaves_the_queue() -> None:
    bench = Bench(FakeClock(), Limits(total=1), length=50.0)
    async with bench.running(check("a"), check("b")):
        await bench.clock.advance(10)
        assert bench.loads[-1] == (1, 1)
        bench.scheduler.remove("b" if bench.starts[0][0] == "a" else "a")
        await bench.clock.advance(60)
    assert {name for name, _ in bench.starts} == {bench.starts[0][0]}


async def test_many_changes_leave_nothing_behind(bench: Bench) -> None:
    async with bench.running(check(interval=86400.0)):
        for _ in range(1000):
            bench.scheduler.add([check(interval=86400.0)])
        assert len(bench.scheduler._heap) < 200


async def test_a_check_that_is_added_while_all_sleep_is_run(bench: Bench) -> None:
    async with bench.running():
        await bench.clock.advance(5)
        bench.scheduler.add([check()])
        await bench.clock.advance(10)
    assert len(bench.starts) == 1


async def test_drained_nothing_is_run_and_what_was_not_is_counted(bench: Bench) -> None:
    bench.length = 5.0
    async with bench.running(check()):
        await bench.clock.advance(offset("web", 10.0) + 1)
        bench.scheduler.drain()
        await bench.clock.settle()
        assert bench.loads[-1] == (0, 0)
        await bench.clock.advance(30)
        assert len(bench.starts) == 1
        assert bench.ticks == {"drained": 3}
        bench.scheduler.resume()
        await bench.clock.advance(10)
    assert len(bench.starts) == 2


async def test_now_runs_beside_the_cadence_and_returns_when_it_has_ended(bench: Bench) -> None:
    bench.length = 1.0
    async with bench.running(check(interval=1000.0)), anyio.create_task_group() as tasks:
        ended: list[Result | None] = []

        async def now() -> None:
            ended.append(await bench.scheduler.now("web"))

        tasks.start_soon(now)
        await bench.clock.advance(0.5)
        assert [name for name, _ in bench.starts] == ["web"]
        assert not ended
        await bench.clock.advance(1)
    (result,) = ended
    assert result is not None
    assert (result.check, result.started_at) == bench.starts[0]


async def test_now_waits_for_the_run_that_goes_on(bench: Bench) -> None:
    bench.length = 4.0
    async with bench.running(check()), anyio.create_task_group() as tasks:
        await bench.clock.advance(offset("web", 10.0) + 1)
        tasks.start_soon(bench.scheduler.now, "web")
        await bench.clock.advance(2)
        assert len(bench.starts) == 1
        await bench.clock.advance(8)
        assert len(bench.starts) >= 2
        tasks.cancel_scope.cancel()


async def test_now_says_that_there_is_no_such_check(bench: Bench) -> None:
    async with bench.running():
        assert await bench.scheduler.now("web") is None


async def test_a_stop_shows_as_lateness(bench: Bench) -> None:
    async with bench.running(check()):
        await bench.clock.advance(offset("web", 10.0) - 1)
        bench.clock._monotonic += 1.5
        await bench.clock.advance(0.01)
    assert bench.lateness == [pytest.approx(0.5, abs=0.1)]


async def test_no_more_runs_than_the_limit_and_those_that_wait_come_next() -> None:
    bench = Bench(FakeClock(), Limits(total=2, per_host=10), length=4.0)
    async with bench.running(*(check(f"c{i}", 10.0, f"{i}.test") for i in range(8))):
        await bench.clock.advance(200)
    assert max(running for running, _ in bench.loads) == 2
    assert max(waiting for _, waiting in bench.loads) > 0
    assert {name for name, _ in bench.starts} == {f"c{i}" for i in range(8)}
    assert bench.ticks["limit"] > 0


async def test_no_more_runs_of_one_host_than_its_limit_while_others_go_on() -> None:
    bench = Bench(FakeClock(), Limits(total=10, per_host=1), length=9.0)
    crowd = [check(f"c{i}", 10.0, "crowded.test") for i in range(5)]
    async with bench.running(*crowd, check("alone", 10.0, "free.test")):
        await bench.clock.advance(100)
    alone = [at for name, at in bench.starts if name == "alone"]
    assert len(alone) == 10
    assert max(running for running, _ in bench.loads) == 2
    assert {name for name, _ in bench.starts} >= {f"c{i}" for i in range(5)}


async def test_a_disabled_check_is_never_run(bench: Bench) -> None:
    from dataclasses import replace

    async with bench.running(replace(check(), enabled=False)):
        await bench.clock.advance(100)
    assert not bench.starts


async def test_cancelling_ends_the_runs_too(bench: Bench) -> None:
    bench.length = 1000.0
    async with bench.running(check()):
        await bench.clock.advance(20)
    assert bench.clock.sleepers == 0


async def test_a_scheduler_that_is_on_time_is_not_overdue(bench: Bench) -> None:
    async with bench.running(check()):
        await bench.clock.advance(35)
        assert bench.scheduler.overdue() == 0
        bench.clock._monotonic += 50
        assert bench.scheduler.overdue() > 40


@given(st.text(min_size=1), st.floats(0.1, 86400))
def test_the_offset_lies_in_the_interval_and_stays(name: str, interval: float) -> None:
    assert 0 <= offset(name, interval) < interval
    assert offset(name, interval) == offset(name, interval)


@given(st.floats(0, 1e9), st.floats(0.1, 86400), st.floats(0, 1))
def test_the_next_due_time_is_later_and_no_more_than_an_interval_away(
    after: float, interval: float, part: float
) -> None:
    due = next_due(after, interval, part * interval)
    assert after < due <= after + interval * (1 + 1e-6) + 1e-6


def test_offsets_spread_over_the_interval() -> None:
    buckets = Counter(int(offset(f"check-{i}", 10.0)) for i in range(10_000))
    assert len(buckets) == 10
    assert max(buckets.values()) < 1200
