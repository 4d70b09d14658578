"""Queues of the spool: durability, fallback to memory, and counters."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from probed.config.telemetry import Spool as Limits
from probed.telemetry.board import Board
from probed.telemetry.spool import LANES, MEMORY, RETRY, Queue, Spool
from probed.telemetry.spool_records import Encoded, pack
from probed.telemetry.spool_segments import Segments
from probed.testing import FakeClock

pytestmark = pytest.mark.anyio

ITEMS = "probed_export_items_total"
HOUR = 3600.0
Make = Callable[..., Spool]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(board: Board, clock: FakeClock) -> Make:
    def make(state_dir: Path | None, **limits: Any) -> Spool:
        return Spool(state_dir, Limits.model_construct(**limits), board.daemon_metrics, clock)

    return make


def request(spool: Spool, body: bytes, items: int = 1) -> Encoded:
    return Encoded("traces", body, items, spool.now())


async def drain(queue: Queue) -> list[bytes]:
    bodies = []
    while (found := await queue.head()) is not None:
        assert await queue.head() is found
        bodies.append(found.body)
        await queue.sent()
    return bodies


async def put(spool: Spool, *bodies: bytes, lane: str = "fail", lasting: bool = True) -> None:
    requests = [request(spool, body) for body in bodies]
    await spool.queues[lane].put(requests, lasting=lasting)


def on_disk(state_dir: Path, lane: str = "fail") -> list[bytes]:
    """Return the requests that a new process would find after a kill."""
    copy = state_dir / "copy"
    shutil.copytree(state_dir / "spool" / lane, copy)
    segments, found = Segments(copy, 1 << 30), []
    while (head := segments.head(0.0)) is not None:
        found.append(head.body)
        segments.sent()
    shutil.rmtree(copy)
    return found


async def test_what_was_put_is_on_disk_when_put_returns(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path)
    for number in range(3):
        await put(spool, b"%d" % number)
        found = await anyio.to_thread.run_sync(on_disk, tmp_path)
        assert found == [b"%d" % n for n in range(number + 1)]
    await spool.close()


async def test_what_is_left_is_the_first_of_the_next_life(make: Make, tmp_path: Path) -> None:
    first = make(tmp_path)
    await put(first, b"1", b"2", b"3")
    assert (await first.queues["fail"].head()).body == b"1"  # type: ignore[union-attr]
    await first.queues["fail"].sent()
    await first.close()
    second = make(tmp_path)
    await put(second, b"4")
    assert await drain(second.queues["fail"]) == [b"2", b"3", b"4"]
    await second.close()
    assert [*(tmp_path / "spool" / "fail").iterdir()] == []


async def test_lanes_do_not_take_each_others_room(make: Make, tmp_path: Path, samples: Any) -> None:
    spool = make(tmp_path, fail=1 << 20, ok=1 << 20)
    await put(spool, b"trouble")
    for _ in range(30):
        await put(spool, b"x" * 100_000, lane="ok")
    assert await drain(spool.queues["fail"]) == [b"trouble"]
    kept = len(await drain(spool.queues["ok"]))
    assert 5 <= kept <= 10
    assert samples()(ITEMS, otel_signal="traces", error_type="queue_full") == 30 - kept
    await spool.close()


async def test_without_a_state_directory_the_newest_wait_in_memory(
    make: Make, samples: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spool = make(None)
    for number in range(10):
        await put(spool, b"%d" % number + b"x" * 999_999)
    kept = [body[:1] for body in await drain(spool.queues["fail"])]
    # Six times a megabyte and its head, of 6 MiB.
    assert kept == [b"%d" % number for number in range(4, 10)]
    seen = samples()
    assert seen.of("probed_export_spool_limit_bytes", "lane") == {
        lane: float(room) for lane, room in MEMORY.items()
    }
    assert seen(ITEMS, otel_signal="traces", error_type="queue_full") == 4
    assert [record.getMessage() for record in caplog.records] == [
        "no state directory: unsent telemetry is stored in memory only"
    ]
    await spool.close()


async def test_a_request_under_way_that_memory_has_no_room_for_counts_once(
    make: Make, samples: Any
) -> None:
    spool = make(None)
    queue = spool.queues["ok"]
    for sent in (True, False):
        await put(spool, b"a" * 1_500_000, lane="ok")
        assert await queue.head() is not None
        await put(spool, b"b" * 1_500_000, lane="ok")
        if sent:
            await queue.sent()
        assert [body[:1] for body in await drain(queue)] == [b"b"]
        dropped = samples()(ITEMS, otel_signal="traces", error_type="queue_full")
        assert dropped == (None if sent else 1)


async def test_a_directory_that_cannot_be_used_is_said_once_and_tried_again(
    make: Make, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    blocked = tmp_path / "state"
    blocked.write_text("a file")
    spool = make(blocked)
    for number in range(3):
        await put(spool, b"%d" % number)
        await clock.advance(RETRY / 2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Not a directory" in caplog.text
    blocked.unlink()
    await clock.advance(RETRY)
    await put(spool, b"3")
    assert "spool: using" in caplog.text
    found = await anyio.to_thread.run_sync(on_disk, blocked)
    assert found == [b"0", b"1", b"2", b"3"]
    await spool.close()


async def test_of_two_daemons_the_second_waits_in_memory_until_the_first_has_ended(
    make: Make, clock: FakeClock, tmp_path: Path, samples: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make(tmp_path), make(tmp_path)
    await put(first, b"first")
    await put(second, b"second")
    assert "is in use by another probed" in caplog.text
    assert samples()("probed_export_spool_limit_bytes", lane="fail") == MEMORY["fail"]
    assert await anyio.to_thread.run_sync(on_disk, tmp_path) == [b"first"]
    await first.close()
    await clock.advance(RETRY)
    await put(second, b"third")
    assert samples()("probed_export_spool_limit_bytes", lane="fail") == 128 << 20
    assert await drain(second.queues["fail"]) == [b"first", b"second", b"third"]
    await second.close()


async def test_a_request_under_way_that_goes_to_disk_meanwhile_is_sent_once(
    make: Make, tmp_path: Path
) -> None:
    spool = make(tmp_path)
    await spool.open()
    queue = spool.queues["metrics"]
    await put(spool, b"1", lane="metrics", lasting=False)
    assert (await queue.head()).body == b"1"  # type: ignore[union-attr]
    await put(spool, b"2", lane="metrics")
    assert await anyio.to_thread.run_sync(on_disk, tmp_path, "metrics") == [b"1", b"2"]
    await queue.sent()
    assert await drain(queue) == [b"2"]
    await spool.close()


async def test_a_request_under_way_is_not_taken_for_one_of_a_previous_life(
    make: Make, clock: FakeClock, tmp_path: Path
) -> None:
    """A request is sent from memory while the directory becomes usable: nothing is skipped."""
    first, second = make(tmp_path), make(tmp_path)
    await put(first, b"old")
    await put(second, b"new")
    queue = second.queues["fail"]
    assert (await queue.head()).body == b"new"  # type: ignore[union-attr]
    await first.close()
    await clock.advance(RETRY)
    await put(second, b"newer")
    await queue.sent()
    assert set(await drain(queue)) == {b"old", b"new", b"newer"}
    await second.close()


async def test_what_does_not_last_is_in_memory_until_it_is_spilled(
    make: Make, tmp_path: Path
) -> None:
    spool = make(tmp_path)
    await spool.open()
    await put(spool, b"1", lane="metrics", lasting=False)
    assert await anyio.to_thread.run_sync(on_disk, tmp_path, "metrics") == []
    await spool.queues["metrics"].spill()
    assert await anyio.to_thread.run_sync(on_disk, tmp_path, "metrics") == [b"1"]
    await put(spool, b"2", lane="metrics", lasting=False)
    await spool.close()
    assert await anyio.to_thread.run_sync(on_disk, tmp_path, "metrics") == [b"1", b"2"]


async def test_what_is_too_old_is_dropped_and_counted(
    make: Make, clock: FakeClock, tmp_path: Path, samples: Any
) -> None:
    for state_dir in (tmp_path, None):
        spool = make(state_dir)
        for lane in ("fail", "metrics"):
            await put(spool, b"old", lane=lane)
        await clock.advance(1.5 * HOUR)
        for lane in ("fail", "metrics"):
            await put(spool, b"new", lane=lane)
        assert samples()("probed_export_spool_oldest_age_seconds", lane="fail") == 1.5 * HOUR
        await clock.advance(HOUR)
        assert await drain(spool.queues["metrics"]) == [b"new"]
        await clock.advance(21.5 * HOUR)
        assert (await spool.queues["fail"].head()).body == b"old"  # type: ignore[union-attr]
        await clock.advance(0.5)
        assert (await spool.queues["fail"].head()).body == b"new"  # type: ignore[union-attr]
        await spool.close()
        if state_dir is None:
            break
        again = make(state_dir)
        await clock.advance(2 * HOUR)
        await again.open()
        assert await drain(again.queues["fail"]) == []
        await again.close()
    assert samples()(ITEMS, otel_signal="traces", error_type="too_old") == 3
    assert samples()(ITEMS, otel_signal="metrics", error_type="too_old") == 2


async def test_a_wall_clock_that_is_set_right_makes_nothing_too_old(
    make: Make, clock: FakeClock, tmp_path: Path
) -> None:
    spool = make(tmp_path)
    await put(spool, b"x")
    clock.jump(400 * 24 * HOUR)
    assert await drain(spool.queues["fail"]) == [b"x"]
    await spool.close()


async def test_size_room_and_age_are_shown(
    make: Make, clock: FakeClock, tmp_path: Path, samples: Any
) -> None:
    spool = make(tmp_path, ok=2 << 20)
    await spool.open()
    seen = samples()
    assert seen.of("probed_export_spool_size_bytes", "lane") == dict.fromkeys(LANES, 0.0)
    assert seen.of("probed_export_spool_limit_bytes", "lane") == {
        "fail": float(128 << 20), "ok": float(2 << 20), "metrics": float(32 << 20),
    }  # fmt: skip
    waiting = request(spool, b"x" * 1000)
    await spool.queues["ok"].put([waiting])
    await clock.advance(7.0)
    await put(spool, b"y", lane="ok")
    seen = samples()
    size = seen("probed_export_spool_size_bytes", lane="ok")
    assert size == len(pack(waiting)) + len(pack(request(spool, b"y")))
    assert seen("probed_export_spool_oldest_age_seconds", lane="ok") == 7.0
    await drain(spool.queues["ok"])
    seen = samples()
    assert seen("probed_export_spool_size_bytes", lane="ok") == 0
    assert seen("probed_export_spool_oldest_age_seconds", lane="ok") == 0
    await spool.close()


async def test_limits_can_change(make: Make, tmp_path: Path, samples: Any) -> None:
    spool = make(tmp_path)
    for number in range(40):
        await put(spool, b"%d" % number + b"x" * 50_000)
    # One segment so far, which is the one that is written.
    await spool.resize(Limits(fail=1 << 20))
    assert samples()("probed_export_spool_limit_bytes", lane="fail") == 1 << 20
    assert samples()(ITEMS, otel_signal="traces", error_type="queue_full") == 40
    await put(spool, b"x")
    assert await drain(spool.queues["fail"]) == [b"x"]
    await spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")
@pytest.mark.parametrize("scenario", ["full", "read-only"])
async def test_a_disk_that_cannot_be_written_is_got_over(
    scenario: str, tmp_path: Path, project: Path
) -> None:
    script = 'mount -t tmpfs -o size=512k none "$4" && exec "$1" "$2" "$3" "$4"'
    program = Path(__file__).with_name("full_disk.py")
    done = await anyio.run_process(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, str(program), scenario,
         str(tmp_path)],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
