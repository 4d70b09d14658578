"""How late the loop is, and what of a run's time that was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from probed.clock import LoopLag
from probed.testing import FakeClock

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watched(clock: FakeClock, told: list[float] | None = None) -> AsyncIterator[LoopLag]:
    lag = LoopLag(clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.watch, (told if told is not None else []).append)
        await clock.asleep()
        yield lag
        tasks.cancel_scope.cancel()


def stop(clock: FakeClock, seconds: float) -> None:
    """Time passes and nobody wakes."""
    clock._monotonic += seconds


async def test_a_loop_that_is_on_time_has_taken_nothing() -> None:
    clock, told = FakeClock(), list[float]()
    async with watched(clock, told) as lag:
        await clock.advance(10)
        assert lag.blocked(0.0) == pytest.approx(0, abs=1e-6)
    assert len(told) >= 99
    assert max(told) == pytest.approx(0, abs=1e-6)


async def test_a_stop_counts_for_runs_that_went_on_during_it() -> None:
    clock = FakeClock()
    async with watched(clock) as lag:
        await clock.advance(5)
        stop(clock, 3.0)
        assert lag.blocked(4.0) == pytest.approx(2.9, abs=0.01)  # seen before the watcher wakes
        await clock.advance(1)
        assert lag.blocked(4.0) == pytest.approx(2.9, abs=0.01)
        assert lag.blocked(8.5) == 0


async def test_only_the_part_of_a_stop_within_the_run_counts() -> None:
    clock = FakeClock()
    async with watched(clock) as lag:
        await clock.advance(5)
        stop(clock, 3.0)
        await clock.advance(0)
        assert lag.blocked(7.0) == pytest.approx(1.0, abs=0.11)


async def test_stops_add_up_and_the_oldest_are_forgotten() -> None:
    clock = FakeClock()
    async with watched(clock) as lag:
        for _ in range(5):
            stop(clock, 0.3)
            await clock.advance(1)
        assert lag.blocked(0.0) == pytest.approx(1.0, abs=0.5)
        for _ in range(400):
            stop(clock, 0.3)
            await clock.advance(0.2)
        assert len(lag._late) == 256


async def test_nobody_watching_nothing_is_taken() -> None:
    clock = FakeClock()
    lag = LoopLag(clock)
    stop(clock, 100)
    assert lag.blocked(0.0) == 0
