"""The composition root: a result reaches every sink, and the end is clean however it comes."""

from __future__ import annotations

from functools import partial

import anyio
import anyio.to_thread
import pytest

from probed.app import App
from probed.config import Config, loads
from probed.events import Event, Recorded
from probed.model import Outcome, Result, Verdict
from probed.registry import Registry
from probed.state import CheckState
from probed.testing import no_leaks, serve

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clean_environment")]


async def config(port: int, more: str = "") -> Config:
    return await parsed(
        "service: {listen: 127.0.0.1:0}\n"
        f"telemetry: {{listen: 127.0.0.1:0{more}}}\n"
        "defaults: {interval: 200ms, fail_after: 1, recover_after: 1, confirm: 0}\n"
        f"checks: [{{name: web, probe: tcp, address: '127.0.0.1:{port}'}}]\n"
    )


async def parsed(text: str) -> Config:
    """Loading a configuration reads files, which the loop must not wait for."""
    return await anyio.to_thread.run_sync(lambda: loads(text, Registry(), environ={}))


async def made(port: int, more: str = "", watch: Watch | None = None) -> App:
    """The app as `probed run` makes it: before the loop has anything to do."""
    subscribers = [] if watch is None else [watch.record]
    found = await config(port, more)
    return await anyio.to_thread.run_sync(partial(App, found, subscribers=subscribers))


class Watch:
    """What the app gave to whoever looks last."""

    def __init__(self) -> None:
        self.seen: list[tuple[Result, CheckState]] = []
        self.arrived = anyio.Event()

    def record(self, event: Event) -> None:
        if isinstance(event, Recorded):
            self.seen.append((event.result, event.state))
            self.arrived.set()


async def test_a_result_reaches_board_state_and_history() -> None:
    watch = Watch()
    async with serve("silent") as peer, no_leaks():
        app = await made(peer.port, watch=watch)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                await tasks.start(app.run)
                assert app.status.alive() is None
                assert app.status.ready() is None
                await watch.arrived.wait()
                text = b"".join(app.pipeline.scrape("")[1]).decode()
                app.stop()
        assert app.status.ready() == "not probing"
    result, state = watch.seen[0]
    assert (result.outcome, state.verdict) == (Outcome.OK, Verdict.UP)
    assert app.monitor.history.checks["web"].last is not None
    assert 'probed_check_up{probed_check="web",probed_probe="tcp"} 1' in text
    assert app.status.document()["verdicts"]["up"] == 1


async def test_a_failure_and_its_end_are_transitions() -> None:
    watch = Watch()
    async with serve("refused") as peer:
        app = await made(peer.port, watch=watch)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                await tasks.start(app.run)
                await watch.arrived.wait()
                (transition,) = await app.transitions("web")
                app.stop()
    assert (transition.old, transition.new) == (Verdict.PENDING, Verdict.DOWN)
    last = app.monitor.history.checks["web"].last_not_ok
    assert last is not None
    assert last.trace_id == transition.trace_id


@pytest.mark.parametrize("otlp", [False, True])
async def test_cancelling_ends_everything_at_once(otlp: bool) -> None:
    async with serve("silent") as peer, no_leaks():
        more = f", otlp: {{endpoint: 'http://127.0.0.1:{peer.port}'}}" if otlp else ""
        watch = Watch()
        app = await made(peer.port, more, watch)
        with anyio.fail_after(4):
            async with anyio.create_task_group() as tasks:
                await tasks.start(app.run)
                await watch.arrived.wait()
                tasks.cancel_scope.cancel()


async def test_an_address_in_use_leaves_nothing_open() -> None:
    async with serve("silent") as peer, no_leaks():
        taken = await parsed(
            f"service: {{listen: 127.0.0.1:{peer.port}}}\n"
            "telemetry: {listen: 127.0.0.1:0}\n"
            "checks: [{name: web, probe: tcp, address: '127.0.0.1:1'}]\n"
        )
        with pytest.raises(OSError, match="cannot listen on"):
            await App(taken).run()


async def test_a_scheduler_that_stands_still_is_not_alive() -> None:
    from probed.testing import FakeClock

    clock = FakeClock()
    async with serve("silent") as peer:
        app = App(await config(peer.port), clock=clock)
    app.change(app.config)
    assert app.status.alive() is None
    await clock.advance(60)
    assert app.status.alive() == "the scheduler is 60 s late"
