"""Places: how many runs go on, and that those which hang do not take all of them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from probed import HostPort, Probe, Run
from probed.config import Check, Config
from probed.config.service import Service
from probed.engine.places import MOST, Limits, Places, demand, most, remarks
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio


class Nothing(Probe):
    """Asks nobody."""

    kind = "nothing"
    address: HostPort

    async def probe(self, run: Run) -> None:
        """Do nothing."""


def checks(count: int, hosts: int = 1, **settings: Any) -> tuple[Check, ...]:
    return tuple(
        Check(f"c{n}", Nothing(address=HostPort(f"h{n % hosts}.test", 1)), **settings)
        for n in range(count)
    )


def config(found: tuple[Check, ...], **service: Any) -> Config:
    return Config(found, Redactor(), (Service(**service),))


async def test_places_are_given_in_order_and_never_more_than_there_are() -> None:
    loads: list[tuple[int, int]] = []
    places = Places(
        Limits(total=3, per_host=2), lambda running, waiting: loads.append((running, waiting))
    )
    order: list[str] = []
    leave = {name: anyio.Event() for name in ("a1", "a2", "a3", "a4", "b1", "b2")}

    async def hold(name: str) -> None:
        await places.acquire(name[0])
        order.append(name)
        try:
            await leave[name].wait()
        finally:
            places.release(name[0])

    async with anyio.create_task_group() as tasks:
        for name in leave:
            tasks.start_soon(hold, name)
            await anyio.wait_all_tasks_blocked()
        assert order == ["a1", "a2", "b1"], "b1 does not wait for the places of another host"
        assert (places.running, places.waiting) == (3, 3)
        leave["a2"].set()
        await anyio.wait_all_tasks_blocked()
        assert order[3:] == ["a3"]
        leave["b1"].set()
        await anyio.wait_all_tasks_blocked()
        assert order[4:] == ["b2"], "its host has no free place for a4"
        places.change(Limits(total=4, per_host=3))
        await anyio.wait_all_tasks_blocked()
        assert order[5:] == ["a4"], "a reload raised the limits"
        for event in leave.values():
            event.set()
    assert max(running for running, _ in loads) == 4
    assert loads[-1] == (0, 0)


async def test_runs_that_hang_leave_places_for_those_that_answer() -> None:
    places = Places(Limits(total=8, per_host=8))
    taken: list[str] = []

    async def hold(name: str, *, slow: bool) -> None:
        await places.acquire("a.test", slow=slow)
        taken.append(name)
        try:
            await anyio.sleep_forever()
        finally:
            places.release("a.test", slow=slow)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(lambda n=number: hold(f"slow {n}", slow=True))
        await anyio.wait_all_tasks_blocked()
        assert len(taken) == 6, "a quarter is kept"
        for number in range(3):
            tasks.start_soon(lambda n=number: hold(f"fast {n}", slow=False))
        await anyio.wait_all_tasks_blocked()
        assert taken[6:] == ["fast 0", "fast 1"]
        assert (places.running, places.waiting) == (8, 15)
        places.change(Limits(total=9, per_host=9))
        await anyio.wait_all_tasks_blocked()
        assert taken[8:] == ["fast 2"], "who answers comes first"
        tasks.cancel_scope.cancel()
    assert (places.running, places.waiting) == (0, 0)


async def test_slow_runs_of_one_host_leave_places_for_the_others_of_it() -> None:
    places = Places(Limits(total=100, per_host=4))
    for _ in range(3):
        await places.acquire("a.test", slow=True)
    with anyio.move_on_after(0) as scope:
        await places.acquire("a.test", slow=True)
    assert scope.cancelled_caught
    await places.acquire("a.test")
    for _ in range(3):
        await places.acquire("b.test", slow=True)
    assert places.running == 7


@pytest.mark.parametrize("total", [1, 2, 3])
async def test_few_places_are_no_reason_never_to_run_what_is_slow(total: int) -> None:
    places = Places(Limits(total=total, per_host=total))
    await places.acquire("a.test", slow=True)
    assert places.running == 1


def test_the_places_suit_the_checks() -> None:
    few = Limits.of(config(checks(20)))
    assert (few.total, few.of_host("h0.test")) == (100, 10)
    many = Limits.of(config(checks(3000, 3000)))
    assert many.total == min(1251, most()), "3,000 runs of 10 s in 30 s, and a quarter more"
    assert many.of_host("h0.test") == 10
    one_host = Limits.of(config(checks(300)))
    assert (one_host.total, one_host.of_host("h0.test")) == (126, 126)
    assert one_host.of_host("other.test") == 10
    assert Limits.of(config(checks(100_000))).total <= MOST
    assert Limits.of(config(checks(3000), concurrency=7, concurrency_per_host=2)) == Limits(7, 2)


def test_disabled_checks_need_no_places() -> None:
    assert demand(checks(30, enabled=False))[0] == 0
    assert demand(checks(30))[0] == 10


def test_limits_that_are_too_small_are_remarked_on() -> None:
    assert list(remarks(config(checks(300)))) == []
    assert list(remarks(config(checks(300, 300), concurrency=50))) == [
        (
            "service.concurrency: while all peers hang, 100 runs go on at a time, and 50 may: checks run "
            "late then; write 126, or nothing"
        )
    ]
    assert list(remarks(config(checks(90), concurrency_per_host=10))) == [
        (
            "service.concurrency_per_host: while h0.test hangs, 30 runs of it go on at a time, and 10 may: "
            "its checks run late then; write 38, or nothing"
        )
    ]
    (many,) = remarks(config(checks(30_000, 30_000)))
    assert many.endswith(
        "raise the limit of open files (LimitNOFILE=, `ulimit -n`) to 40000, or shard"
    )
