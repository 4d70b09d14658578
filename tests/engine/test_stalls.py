"""Who blocked the event loop is known by name."""

from __future__ import annotations

import logging
import time

import anyio
import pytest

from probed.clock import LoopLag, SystemClock
from probed.engine.stalls import CHECK, Stalls

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

LONG = 0.5
"""Seconds for which the loop is blocked: long enough for a look at it on a busy machine."""


def block() -> None:
    ends = time.monotonic() + LONG
    while time.monotonic() < ends:
        pass


async def block_below() -> None:
    """Block in a task of the check's own, and go on."""
    async with anyio.create_task_group() as tasks:

        async def child() -> None:
            block()
            await anyio.sleep(0.3)

        tasks.start_soon(child)


async def stalled(name: str, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    """The culprit of a block in a task of that name, and whom the metric counts."""
    counted: list[str] = []
    clock = SystemClock()
    lag = LoopLag(clock)
    stalls = Stalls(clock, lag.overdue, counted.append)
    seen = anyio.Event()

    def blame(seconds: float) -> str:
        if found := stalls.blame(seconds):
            seen.set()
        return found

    lag.blame = blame
    begun = clock.monotonic()
    caplog.set_level(logging.WARNING, "probed.engine")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stalls.run)
        tasks.start_soon(lag.watch)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(block_below, name=name)
        await seen.wait()
        await lag.on_time()
        tasks.cancel_scope.cancel()
    return lag.culprit(begun), counted


async def test_a_check_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    culprit, counted = await stalled(CHECK + "web", caplog)
    assert culprit.startswith("check web (test_stalls.py:")
    assert culprit.endswith(" in block)")
    assert "web" in counted
    (line, *_) = [record.message for record in caplog.records]
    assert line.startswith("the event loop was blocked for ")
    assert "by check web (test_stalls.py:" in line


async def test_what_is_no_check_is_named_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    culprit, counted = await stalled("page", caplog)
    assert culprit.startswith("probed itself (test_stalls.py:")
    assert set(counted) == {""}


def test_one_culprit_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    from probed.engine.stalls import Stall
    from probed.testing import FakeClock

    clock = FakeClock()
    stalls = Stalls(clock, lambda: 0.0, lambda _: None)
    for _ in range(5):
        stalls._tell(Stall("web", "x.py:1 in f"), 0.3)
    stalls._tell(Stall("api", "x.py:1 in f"), 0.3)
    clock._monotonic += 61
    stalls._tell(Stall("web", "x.py:1 in f"), 0.3)
    assert len(caplog.records) == 3
