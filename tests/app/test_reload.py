"""A reload takes over all or nothing, and what has not changed goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from probed.app import App
from probed.config import Config, load
from probed.events import Event, Recorded
from probed.model import Verdict
from probed.registry import Registry
from probed.testing import FakeClock, serve

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clean_environment")]

HEAD = """\
service: {{listen: 127.0.0.1:0{service}}}
telemetry: {{listen: 127.0.0.1:0}}
defaults: {{interval: 100ms, fail_after: 1, recover_after: 1, confirm: 0}}
checks:
"""


@dataclass
class Daemon:
    """An app on a file, and what came of its runs."""

    path: Path
    app: App
    results: dict[str, int]

    async def write(self, *checks: str, service: str = "") -> None:
        text = written(*checks, service=service)
        await to_thread.run_sync(self.path.write_text, text)

    async def ran(self, name: str, more: int = 1) -> None:
        """Wait until the check was run so many times more."""
        wanted = self.results.get(name, 0) + more
        while self.results.get(name, 0) < wanted:
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.01)

    def scrape(self) -> str:
        return b"".join(self.app.pipeline.scrape("")[1]).decode()


def written(*checks: str, service: str = "") -> str:
    return HEAD.format(service=service) + "".join(f"  - {check}\n" for check in checks)


def tcp(name: str, port: int, more: str = "") -> str:
    return f"{{name: {name}, probe: tcp, address: '127.0.0.1:{port}'{more}}}"


Begin = Callable[..., Any]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Make an app on a file of these checks."""

    def make(*checks: str, service: str = "", clock: FakeClock | None = None) -> Daemon:
        path = tmp_path / "probed.yaml"
        path.write_text(written(*checks, service=service))
        results: dict[str, int] = {}

        def read() -> Config:
            return load(path, Registry(), {})

        def count(event: Event) -> None:
            if isinstance(event, Recorded):
                results[event.check.name] = results.get(event.check.name, 0) + 1

        app = App(
            read(), load=read, environ={"PROBED_CONTROL": ""}, clock=clock, subscribers=[count]
        )
        return Daemon(path, app, results)

    async def begun(*checks: str, service: str = "", clock: FakeClock | None = None) -> Daemon:
        return await to_thread.run_sync(lambda: make(*checks, service=service, clock=clock))

    return begun


async def test_what_is_the_same_goes_on_and_the_rest_is_taken_over(begin: Begin) -> None:
    async with serve("silent") as peer:
        daemon = await begin(tcp("same", peer.port), tcp("gone", peer.port), tcp("moved", 1))
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(daemon.app.run)
                for name in ("same", "gone", "moved"):
                    await daemon.ran(name, 2)
                same = daemon.app.monitor.history.checks["same"]
                runs, since = len(same.past), same.state.since
                assert daemon.app.monitor.history.checks["moved"].state.verdict is Verdict.DOWN
                await daemon.write(
                    tcp("same", peer.port), tcp("moved", peer.port), tcp("new", peer.port)
                )
                reloaded = await daemon.app.reloader.reload()
                assert reloaded.ok
                assert reloaded.lines == (
                    f"+ new  tcp 127.0.0.1:{peer.port}",
                    "- gone",
                    f"~ moved: address 127.0.0.1:1 -> 127.0.0.1:{peer.port}",
                )
                assert daemon.app.monitor.history.checks["same"] is same
                assert (same.state.since, len(same.past) >= runs) == (since, True)
                # Another target: what was known of the old one says nothing of it.
                assert daemon.app.monitor.history.checks["moved"].state.verdict is Verdict.PENDING
                gone = daemon.results["gone"]
                for name in ("new", "moved", "same"):
                    await daemon.ran(name, 2)
                assert daemon.results["gone"] == gone
                text = daemon.scrape()
                daemon.app.stop()
    assert 'probed_check="gone"' not in text
    assert 'probed_check_up{probed_check="moved",probed_probe="tcp"} 1' in text
    assert 'probed_config_reloads_total{outcome="ok"} 1' in text


async def test_settings_of_judgement_change_without_a_new_beginning(begin: Begin) -> None:
    async with serve("silent") as peer:
        daemon = await begin(tcp("web", peer.port))
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(daemon.app.run)
                await daemon.ran("web")
                since = daemon.app.monitor.history.checks["web"].state.since
                await daemon.write(tcp("web", peer.port, ", fail_after: 3, severity: P1"))
                assert (await daemon.app.reloader.reload()).ok
                entry = daemon.app.monitor.history.checks["web"]
                assert (entry.check.fail_after, entry.check.severity.value) == (3, "P1")
                assert (entry.state.verdict, entry.state.since) == (Verdict.UP, since)
                assert 'severity="P1"' in daemon.scrape()
                assert 'severity="P2"' not in daemon.scrape()
                daemon.app.stop()


@pytest.mark.parametrize(
    ("checks", "service", "said"),
    [
        (["{name: web, probe: tpc}"], "", "unknown probe kind; did you mean `tcp`?"),
        ([], "", "there is no check"),
        (["{name: web, probe: tcp, address: 'h:1'}"], ", control: /tmp/x", "service.control cannot change"),
    ],
)  # fmt: skip
async def test_a_bad_file_changes_nothing_and_is_seen(
    begin: Begin, checks: list[str], service: str, said: str
) -> None:
    async with serve("silent") as peer:
        daemon = await begin(tcp("web", peer.port))
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(daemon.app.run)
                await daemon.ran("web")
                before = daemon.app.config
                await daemon.write(*checks, service=service)
                reloaded = await daemon.app.reloader.reload()
                assert not reloaded.ok
                assert said in "\n".join(reloaded.lines)
                assert daemon.app.config is before
                status = daemon.app.status.document()["config"]
                assert (status["last_reload_ok"], said in status["error"]) == (False, True)
                text = daemon.scrape()
                assert "probed_config_last_reload_success 0" in text
                assert 'probed_config_reloads_total{outcome="failed"} 1' in text
                await daemon.ran("web", 2)
                await daemon.write(tcp("web", peer.port))
                assert await daemon.app.reloader.reload() == type(reloaded)(ok=True, lines=())
                assert "probed_config_last_reload_success 1" in daemon.scrape()
                assert daemon.app.status.document()["config"]["error"] is None
                daemon.app.stop()


async def test_disabling_is_removing(begin: Begin) -> None:
    async with serve("silent") as peer:
        daemon = await begin(tcp("a", peer.port), tcp("b", peer.port))
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(daemon.app.run)
                await daemon.ran("b")
                await daemon.write(tcp("a", peer.port), tcp("b", peer.port, ", enabled: false"))
                assert (await daemon.app.reloader.reload()).ok
                assert 'probed_check="b"' not in daemon.scrape()
                await daemon.write(tcp("a", peer.port), tcp("b", peer.port))
                assert (await daemon.app.reloader.reload()).ok
                await daemon.ran("b")
                assert 'probed_check_up{probed_check="b",probed_probe="tcp"} 1' in daemon.scrape()
                daemon.app.stop()


async def test_who_asks_at_the_same_time_shares_one_reload(begin: Begin) -> None:
    daemon = await begin(tcp("web", 1))
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await daemon.app.reloader.reload())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert [answer.ok for answer in answers] == [True] * 20
    assert 'probed_config_reloads_total{outcome="ok"} 1' in daemon.scrape()


async def test_the_files_are_watched_and_a_change_is_taken_when_it_has_settled(
    begin: Begin,
) -> None:
    clock = FakeClock()
    daemon = await begin(tcp("a", 1), service=", watch: true", clock=clock)

    async def looked() -> None:
        """Let it look at the files once more, to the end."""
        await clock.asleep()
        await clock.advance(2)
        await clock.asleep()

    def known() -> list[str]:
        return list(daemon.app.monitor.history.checks)

    daemon.app.change(daemon.app.config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.app.reloader.watch)
        await looked()
        await daemon.write(tcp("a", 1), tcp("b", 1), service=", watch: true")
        await looked()
        assert known() == ["a"], "it may still be written to"
        await looked()
        assert known() == ["a", "b"]
        await daemon.write("{name: broken", service=", watch: true")
        await looked()
        await looked()
        await looked()
        assert daemon.app.status.document()["config"]["last_reload_ok"] is False
        assert 'probed_config_reloads_total{outcome="failed"} 1' in daemon.scrape(), "once"
        await daemon.write(tcp("c", 1), service=", watch: false")
        await looked()
        await looked()
        assert known() == ["c"]
        await daemon.write(tcp("d", 1))
        await looked()
        await looked()
        assert known() == ["c"], "it was told to watch no more"
        tasks.cancel_scope.cancel()


def many(*numbers: int) -> list[str]:
    return [tcp(f"c{number}", 1) for number in numbers]


async def test_a_file_that_removes_most_checks_has_to_be_forced(begin: Begin) -> None:
    """It may be half written, and valid all the same."""
    daemon = await begin(*many(*range(100)))
    daemon.app.change(daemon.app.config)
    reloader, checks = daemon.app.reloader, daemon.app.monitor.history
    await daemon.write(*many(*range(49)))
    refused = await reloader.reload()
    assert not refused.ok
    assert refused.lines == (
        "51 of 100 checks would be removed. If that is intended, run `probed reload --force`",
    )
    assert len(checks.checks) == 100
    await daemon.write(*many(*range(50)))
    assert (await reloader.reload()).ok, "half of them is not most"
    await daemon.write(*many(1))
    assert not (await reloader.reload()).ok
    assert (await reloader.reload(force=True)).ok
    assert list(checks.checks) == ["c1"]
    await daemon.write(*many(2))
    assert (await reloader.reload()).ok, "few checks may change as they like"


async def test_a_reload_that_is_shared_is_forced_if_anybody_forces_it(begin: Begin) -> None:
    daemon = await begin(*many(*range(10)))
    daemon.app.change(daemon.app.config)
    await daemon.write(*many(1))
    answers = []

    async def ask(*, force: bool) -> None:
        answers.append(await daemon.app.reloader.reload(force=force))

    async with anyio.create_task_group() as tasks:
        for force in (False, False, True):
            tasks.start_soon(partial(ask, force=force))
    assert [answer.ok for answer in answers] == [True] * 3
    assert list(daemon.app.monitor.history.checks) == ["c1"]


async def test_a_watched_file_that_is_written_in_pieces_removes_nothing(begin: Begin) -> None:
    clock = FakeClock()
    watched = ", watch: true"
    daemon = await begin(*many(*range(100)), service=watched, clock=clock)
    daemon.app.change(daemon.app.config)
    history = daemon.app.monitor.history

    async def looked(times: int = 1) -> None:
        for _ in range(times):
            await clock.asleep()
            await clock.advance(2)
            await clock.asleep()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.app.reloader.watch)
        await looked()
        await daemon.write(*many(*range(10)), service=watched)
        await looked(4)  # the writer hangs for longer than a look
        assert len(history.checks) == 100
        assert "run `probed reload --force`" in daemon.app.status.document()["config"]["error"]
        await daemon.write(*many(*range(101)), service=watched)
        await looked(3)
        assert len(history.checks) == 101
        assert daemon.app.status.document()["config"]["last_reload_ok"] is True
        tasks.cancel_scope.cancel()


async def test_files_that_change_while_they_are_read_are_not_applied(begin: Begin) -> None:
    daemon = await begin(tcp("a", 1))
    daemon.app.change(daemon.app.config)
    before = await daemon.app.reloader._look()
    await daemon.write(tcp("b", 1))
    reloaded = await daemon.app.reloader.reload(expected=before)
    assert reloaded.lines == (
        "the files changed while they were read; waiting until they are stable",
    )
    assert list(daemon.app.monitor.history.checks) == ["a"]


async def test_a_daemon_without_a_file_says_so() -> None:
    from probed.config import loads

    text = written(tcp("a", 1))
    config = await to_thread.run_sync(lambda: loads(text, Registry(), environ={}))
    app = await to_thread.run_sync(lambda: App(config, environ={}))
    reloaded = await app.reloader.reload()
    assert reloaded.lines == ("this daemon has no file to reload",)
