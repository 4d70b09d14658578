"""One executor: limits, memory and references are the same for whoever runs a check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from probed import HostPort, Outcome, Probe, Reason, Run
from probed.cli import cli
from probed.config import Check
from probed.engine.executor import Executor, copy_memory
from probed.engine.places import Limits
from probed.engine.references import References
from probed.engine.runner import Runner
from probed.net import Network
from probed.testing import FakeClock

pytestmark = pytest.mark.anyio


class Remembering(Probe):
    """Writes to its memory, waits, and writes again."""

    kind = "remembering"
    address: HostPort = HostPort("a.test", 1)
    wait: Callable[[], Any]

    async def probe(self, run: Run) -> None:
        run.memory["begun"] = run.memory.get("begun", 0) + 1
        run.memory.setdefault("seen", {"list": []})["list"].append(1)
        await self.wait()
        run.memory["ended"] = run.memory.get("ended", 0) + 1


def executor(limits: Limits | None = None) -> Executor:
    runner = Runner(Network(), clock=FakeClock())
    return Executor(runner, References(runner, ()), limits)


async def nothing() -> None:
    """Do not wait."""


async def test_what_a_run_remembers_comes_with_its_result_and_the_original_is_left_alone() -> None:
    check = Check("web", Remembering(wait=nothing))
    first = await executor().run(check)
    second = await executor().run(check, first.memory)
    assert first.memory == {"begun": 1, "seen": {"list": [1]}, "ended": 1}
    assert second.memory == {"begun": 2, "seen": {"list": [1, 1]}, "ended": 2}


async def test_a_cancelled_run_leaves_nothing_and_gives_its_place_back() -> None:
    runs = executor(Limits(total=1))
    memory: dict[str, Any] = {"begun": 5, "seen": {"list": [0]}}
    started = anyio.Event()

    async def wait() -> None:
        started.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runs.run, Check("web", Remembering(wait=wait)), memory)
        await started.wait()
        assert runs.places.running == 1
        tasks.cancel_scope.cancel()
    assert memory == {"begun": 5, "seen": {"list": [0]}}
    assert (runs.places.running, runs.places.waiting) == (0, 0)


def test_a_copy_shares_nothing_that_can_change() -> None:
    original = {"a": {"b": [{"c": 1}, 2]}, "d": "text", "e": None}
    made = copy_memory(original)
    assert made == original
    made["a"]["b"][0]["c"] = 7
    made["a"]["b"].append(3)
    assert original == {"a": {"b": [{"c": 1}, 2]}, "d": "text", "e": None}


async def test_who_waits_for_a_place_and_is_cancelled_leaves_the_queue() -> None:
    runs = executor(Limits(total=1))
    await runs.places.acquire("other")
    check = Check("web", Remembering(wait=anyio.sleep_forever))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runs.run, check)
        await anyio.wait_all_tasks_blocked()
        assert runs.places.waiting == 1
        tasks.cancel_scope.cancel()
    assert (runs.places.running, runs.places.waiting) == (1, 0)
    # One that is cancelled at the moment at which it gets its place gives it back.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runs.run, check)
        await anyio.wait_all_tasks_blocked()
        runs.places.release("other")
        tasks.cancel_scope.cancel()
    assert (runs.places.running, runs.places.waiting) == (0, 0)


async def test_a_run_begins_when_it_has_a_place() -> None:
    runs = executor(Limits(total=1))
    begun: list[str] = []
    await runs.places.acquire("other")
    check = Check("web", Remembering(wait=nothing))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: runs.run(check, begun=lambda: begun.append("web")))
        await anyio.wait_all_tasks_blocked()
        assert begun == []
        runs.places.release("other")
    assert begun == ["web"]


class Offline(Probe):
    """Fails as if there were no network."""

    kind = "offline"
    address: HostPort = HostPort("a.test", 1)

    async def probe(self, run: Run) -> None:
        run.fail(Reason.CONNECT_UNREACHABLE)


async def test_references_judge_every_run() -> None:
    runner = Runner(Network(), clock=FakeClock())
    reference = Check("outside", Offline(), reference=True)
    runs = Executor(runner, References(runner, [reference]))
    found = await runs.run(Check("web", Offline()))
    assert found.result.outcome is Outcome.UNKNOWN
    assert found.result.worst is not None
    assert found.result.worst.reason == "self.offline"


def test_a_one_shot_check_is_judged_as_by_the_daemon_while_all_references_fail(
    tmp_path: Path,
) -> None:
    path = tmp_path / "probed.yaml"
    path.write_text(
        "checks:\n"
        "- {name: web, probe: tcp, address: '127.0.0.1:1'}\n"
        "- {name: outside, probe: tcp, address: '127.0.0.2:1', reference: true}\n"
    )
    done = CliRunner().invoke(
        cli, ["check", "web", "-c", str(path), "-o", "json"], standalone_mode=False
    )
    assert done.return_value == 3
    (result,) = json.loads(done.stdout)["results"]
    assert result["outcome"] == "unknown"
    assert [finding["reason"] for finding in result["findings"]] == [
        "self.offline", "connect.refused",
    ]  # fmt: skip
