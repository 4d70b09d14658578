"""FakeClock: virtual time."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from probed.clock import Clock
from probed.testing.clock import START, FakeClock

pytestmark = pytest.mark.anyio


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Sleepers wake by due time, and at the same time in the order in which they went to sleep."""
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        for name, seconds in (("late", 3.0), ("early", 1.0), ("twin", 3.0), ("never", 9.0)):
            tasks.start_soon(sleeper, name, seconds)
        await clock.advance(5.0)
        assert woken == [("early", 1.0), ("late", 3.0), ("twin", 3.0)]
        assert clock.sleepers == 1
        assert clock.next_due == 9.0
        await clock.advance(4.0)
    assert woken[-1] == ("never", 9.0)
    assert clock.next_due is None


@pytest.mark.parametrize(("period", "start"), [(1.0, 0.0), (0.1, 0.0), (0.1, 1000.3), (0.7, 5.0)])
async def test_a_loop_that_sleeps_fires_the_right_number_of_times(
    period: float, start: float
) -> None:
    """One long advance equals many short ones, despite floating point."""
    clock = FakeClock(monotonic=start)
    fired = 0

    async def loop() -> None:
        nonlocal fired
        while True:
            await clock.sleep(period)
            fired += 1

    task = asyncio.create_task(loop())
    await clock.advance(period * 10)
    assert fired == 10
    for _ in range(5):
        await clock.advance(period)
    assert fired == 15
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_clocks_advance_and_only_the_wall_clock_jumps() -> None:
    """A jump wakes no task."""
    fake = FakeClock()
    clock: Clock = fake
    task = asyncio.create_task(clock.sleep(10.0))
    await fake.advance(4.0)
    assert (clock.time(), clock.monotonic()) == (START + 4.0, 4.0)
    fake.jump(-3600.0)
    await fake.settle()
    assert (clock.time(), clock.monotonic()) == (START + 4.0 - 3600.0, 4.0)
    assert not task.done()
    await fake.advance(6.0)
    assert task.done()


async def test_a_cancelled_sleeper_leaves_nothing_behind() -> None:
    """Other sleepers are not affected."""
    clock = FakeClock()
    woken: list[int] = []

    async def sleeper() -> None:
        await clock.sleep(2.0)
        woken.append(1)

    other = asyncio.create_task(sleeper())
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock.sleep, 1.0)
            await clock.asleep(2)
            scope.cancel()
    assert clock.sleepers == 1
    await clock.advance(2.0)
    assert woken == [1]
    await other


async def test_a_sleep_that_is_not_positive_returns_at_once() -> None:
    """It still lets other tasks run."""
    clock = FakeClock()
    ran: list[str] = []
    task = asyncio.create_task(_note(ran))
    await clock.sleep(0)
    await clock.sleep(-1)
    assert ran == ["ran"]
    assert clock.monotonic() == 0.0
    await task


async def _note(ran: list[str]) -> None:
    ran.append("ran")


async def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        await FakeClock().advance(-1.0)


async def test_asleep_waits_for_sleepers_and_gives_up() -> None:
    clock = FakeClock()
    with pytest.raises(TimeoutError):
        await clock.asleep(patience=0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1.0)
        await clock.asleep()
        await clock.advance(1.0)
