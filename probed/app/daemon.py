"""The composition root: builds all parts, runs them in one task group, stops them in bounded time."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus

from probed.app.commands import Commands
from probed.app.pages import access_of, page_of
from probed.app.reload import Reloader
from probed.clock import Clock, SystemClock
from probed.config import Check, Config
from probed.control.server import ControlServer
from probed.control.server import bind as bind_control
from probed.engine.history import History
from probed.engine.references import References
from probed.engine.runner import Runner
from probed.engine.schedule import Limits, Scheduler
from probed.engine.shard import Shard
from probed.model import Result, Transition, Verdict
from probed.net import Network
from probed.net.pool import ConnectionPool
from probed.output import result_document, timestamp
from probed.state import CheckState
from probed.store.checks import Store, state_folder
from probed.systemd import Notifier
from probed.telemetry import Pipeline
from probed.version import __version__
from probed.web import Listener, api_app, bind, telemetry_app

log = logging.getLogger("probed")

STUCK_AFTER = 15.0
"""Seconds that the scheduler may be overdue before the daemon counts as not alive."""
DRAIN_SECONDS = 2.5
"""Seconds that handing over the last telemetry may take; with what else there is to do, the end
comes within 3 s.
"""
LISTENER_SECONDS = 0.4
"""Seconds more that answering the last requests may take."""
GARBAGE = 50_000
GARBAGE_PER_CHECK = 50
"""How many objects may have come to be, more than have gone, before cycles are looked for. A run of
ours leaves none (the contract suite sees to it), and a search stops the loop for 20 ms for each 1,000
checks, whose last results it looks through.
"""
SAVE_INTERVAL = 1.0
"""Seconds between two looks at whether a check's state has to be saved ..."""
SAVE_ALL = 60
"""... and after so many of them, all states are."""
SAVE_SECONDS = 1.0
"""Seconds that saving may take at the end."""
REPORT_INTERVAL = 5.0
"""Seconds between two words to the service manager, or half of what it waits for one."""
NAMED = 5
"""Checks that the service manager's status names."""


class App:
    """One daemon. `load` reads its configuration anew when it is asked to reload, `origins` with the
    places where values were written; `shard` is which of
    its checks both hold; `on_result` sees each result after the sinks have.
    """

    def __init__(
        self,
        config: Config,
        *,
        load: Callable[[], Config] | None = None,
        origins: Callable[[], Config] | None = None,
        clock: Clock | None = None,
        network: Network | None = None,
        shard: Shard | None = None,
        environ: Mapping[str, str] | None = None,
        on_result: Callable[[Result, CheckState], None] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.config = config
        self.clock = clock or SystemClock()
        self.runner = Runner.of(config, clock=self.clock, network=network)
        self.runner.pool = self.pool = ConnectionPool(self.clock)
        self.pipeline = Pipeline(
            config, self.clock, self.runner.network, version=__version__, environ=environ
        )
        self.board = self.pipeline.board
        self.shard = shard
        if shard is not None:
            self.board.daemon_metrics.sharded(shard.index, shard.total, shard.replicas)
        self.history = History(config.checks)
        self.references = References(self.runner, config.checks)
        self.store = Store(state_folder(config.service.state_dir, environ))
        self.scheduler = Scheduler(
            self.clock,
            self.execute,
            self.board,
            Limits(config.service.concurrency, config.service.concurrency_per_host),
        )
        self.reloader = Reloader(self, load, origins)
        self.notifier = Notifier(environ)
        self.page = page_of(self)
        self.metrics_url = ""
        self.api_url = ""
        self.control_path: Path | None = None
        self._environ = environ
        self._on_result = on_result
        self._started_at = self.clock.time()
        self.started = anyio.Event()
        self._ready = False
        self._drained_until = 0.0
        self._stopping = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Probe until `stop`. Raises OSError if an address cannot be listened on."""
        # What was made to start lives as long as the process: it need not be looked through again
        # and again, which would stop the loop.
        gc.collect()
        gc.freeze()
        self._spare_the_loop()
        with ExitStack() as opened:
            listeners = self._listen(opened)
            control = await self._listen_control(opened)
            self.history.restore(await self.store.load(self.clock.time()))
            async with anyio.create_task_group() as serving:
                for listener in listeners:
                    await serving.start(listener.run)
                await serving.start(self.pipeline.run)
                async with anyio.create_task_group() as probing:
                    if control is not None:
                        await probing.start(control.run)
                    self.scheduler.add(self.config.checks, rested=self._rested)
                    probing.start_soon(self.scheduler.run)
                    probing.start_soon(self.runner.lag.watch, self.board.lagged)
                    probing.start_soon(self._keep)
                    probing.start_soon(self.pool.sweep)
                    probing.start_soon(self.reloader.watch)
                    self._ready = True
                    self.notifier.ready(self.headline())
                    probing.start_soon(self._report)
                    self.started.set()
                    task_status.started()
                    await self._stopping.wait()
                    self._ready = False
                    self.notifier.stopping()
                    probing.cancel_scope.cancel()
                await self.pool.close()
                self.page.close()
                for listener in listeners:
                    listener.stop()
                with anyio.move_on_after(SAVE_SECONDS):
                    await self._save(everything=True)
                await self.pipeline.drain(DRAIN_SECONDS)
                self.pipeline.stop()
                self.store.close()
                serving.cancel_scope.deadline = anyio.current_time() + LISTENER_SECONDS

    def _spare_the_loop(self) -> None:
        gc.set_threshold(GARBAGE + GARBAGE_PER_CHECK * len(self.config.checks), 20, 100)

    def stop(self) -> None:
        """Ask for a clean end: runs are cancelled, what is left of telemetry is handed over."""
        self._stopping.set()

    async def execute(self, check: Check) -> None:
        """Run the check once and give the result to all who want it."""
        entry = self.history.checks[check.name]
        state, started = entry.state, self.clock.monotonic()
        result = await self.runner.run(
            check,
            memory=entry.memory,
            sampled=lambda trace_id: self.pipeline.sampled(trace_id, healthy=state.healthy),
        )
        judged = await self.references.judge(check, result, started)
        if self.history.checks.get(check.name) is entry:  # else a reload took it away meanwhile
            self.take(judged)

    def take(self, result: Result) -> None:
        """The way of a result: board, state, history, traces."""
        self.pipeline.take(result)
        transition, touched = self.history.take(result)
        self.page.took(result, self.history.checks[result.check], transition)
        for name in (result.check, *touched):
            entry = self.history.checks[name]
            self.board.judge(name, entry.state, suppressed=bool(entry.held_by))
        if transition is not None:
            _tell(transition)
        if self._on_result is not None:
            self._on_result(result, self.history.checks[result.check].state)

    def change(self, config: Config) -> None:
        """Work from another configuration from now on, all of it or, where this raises, nothing.

        Checks that are the same go on as if nothing had happened; of others the run that goes on
        is cancelled. Raises ValueError where telemetry cannot follow.
        """
        prepared = self.pipeline.prepare(config)
        # From here on nothing can fail.
        before = {check.name: check for check in self.config.checks}
        after = {check.name: check for check in config.checks}
        changed = [c for c in config.checks if c.enabled and before.get(c.name) != c]
        for name, check in before.items():
            if check.enabled and (name not in after or not after[name].enabled):
                self.scheduler.remove(name)
                self.board.remove(name)
        self.config = config
        self._spare_the_loop()
        self.runner.follow(config)
        self.pipeline.apply(prepared)
        self.history.replace(config.checks)
        self.references.replace(config.checks)
        self.page.replaced()
        self.scheduler.limits = Limits(
            config.service.concurrency, config.service.concurrency_per_host
        )
        for check in changed:
            self.board.add(check)
            entry = self.history.checks[check.name]
            self.board.judge(check.name, entry.state, suppressed=bool(entry.held_by))
        self.scheduler.add(changed, rested=self._rested)

    def drain(self, *, active: bool, seconds: float | None = None) -> None:
        """Start no runs while `active`, for so long at most: what is about to end must not be seen
        as failing.
        """
        self._drained_until = self.clock.monotonic() + (seconds or float("inf"))
        if active:
            self.scheduler.drain()
        else:
            self.scheduler.resume()
        self.board.daemon_metrics.drained(active=active)

    def _rested(self, check: Check) -> bool:
        """Whether the check has not run for an interval or more, or the clock says nonsense."""
        last = self.history.checks[check.name].state.last_run
        return last is None or not 0 <= self.clock.time() - last < check.interval

    async def _keep(self) -> None:
        rounds = 0
        while True:
            await self.clock.sleep(SAVE_INTERVAL)
            rounds += 1
            if self.scheduler.drained and self.clock.monotonic() >= self._drained_until:
                self.drain(active=False)
            await self._save(everything=rounds % SAVE_ALL == 0)

    async def _report(self) -> None:
        """Tell the service manager how things are, from the event loop, and only while runs are
        started: where that has stopped, it ends us and starts us anew.
        """
        if not self.notifier:
            return
        pause = min(REPORT_INTERVAL, self.notifier.patience / 2 or REPORT_INTERVAL)
        while True:
            await self.clock.sleep(pause)
            if self.alive() is None:
                self.notifier.alive(self.headline())

    async def _save(self, *, everything: bool) -> None:
        """Save what has changed. Traces go to disk first: what is known must not run ahead of what
        was told.
        """
        unsaved = self.history.unsaved(everything=everything)
        if not unsaved or self.store.path is None:
            return
        documents = self.store.encode(unsaved, self.clock.time())
        await self.pipeline.flush()
        saved = await self.store.save(documents)
        self.board.daemon_metrics.saved(ok=saved)
        if not saved:
            self.history.keep(unsaved)

    def _listen(self, opened: ExitStack) -> list[Listener]:
        metrics = opened.enter_context(bind(self.config.telemetry.listen))
        api = opened.enter_context(bind(self.config.service.listen))
        hosts = ["localhost", "127.0.0.1", "[::1]", *self.config.service.allowed_hosts]
        listeners = [
            Listener(telemetry_app(self.pipeline.scrape, self.alive, self.ready), metrics),
            Listener(
                api_app(
                    self.history,
                    result_document,
                    self.status,
                    hosts,
                    access_of(self),
                    self.page.routes,
                ),
                api,
            ),
        ]
        self.metrics_url, self.api_url = (listener.url for listener in listeners)
        return listeners

    async def _listen_control(self, opened: ExitStack) -> ControlServer | None:
        path = self.config.service.control
        bound = await to_thread.run_sync(bind_control, path, self._environ)
        if bound is None:
            return None
        sock, self.control_path = opened.enter_context(bound[0]), bound[1]
        return ControlServer(sock, self.control_path, Commands(self).handlers)

    def alive(self) -> str | None:
        """None while the scheduler makes progress, else what is wrong."""
        overdue = self.scheduler.overdue()
        return f"the scheduler is {overdue:.0f} s late" if overdue > STUCK_AFTER else None

    def ready(self) -> str | None:
        """None while checks are being run; what the checks find has no part in it."""
        return None if self._ready else "not probing"

    def headline(self) -> str:
        """How things are, in a line."""
        enabled = [check.name for check in self.config.checks if check.enabled]
        checks = self.history.checks
        down = [name for name in enabled if checks[name].state.verdict is Verdict.DOWN]
        named = ", ".join(down[:NAMED]) + (", ..." if len(down) > NAMED else "")
        parts = [f"{len(down)} of {len(enabled)} checks down{': ' if down else ''}{named}"]
        if self.scheduler.drained:
            parts.append("drained")
        if not self.reloader.status()["last_reload_ok"]:
            parts.append("the last reload was refused")
        return "; ".join(parts)

    def status(self) -> Mapping[str, Any]:
        verdicts = [entry.state.verdict for entry in self.history.checks.values()]
        return {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "uptime_s": round(self.clock.time() - self._started_at, 3),
            "checks": len(verdicts),
            "verdicts": {verdict.value: verdicts.count(verdict) for verdict in Verdict},
            "drained": self.scheduler.drained,
            "shard": None if self.shard is None else str(self.shard),
            "config": self.reloader.status(),
            "metrics": f"{self.metrics_url}/metrics",
            "page": f"{self.api_url}/",
            "api": f"{self.api_url}/api/v1/checks",
            "otlp": self.pipeline.destinations,
        }


def _tell(transition: Transition) -> None:
    why = f" {transition.result.why}".rstrip()
    if transition.held_by and transition.new is not Verdict.UP:
        why += f" (held: it depends on {', '.join(transition.held_by)}, failing)"
    worse = transition.new is not Verdict.UP and not transition.held_by
    level = logging.WARNING if worse else logging.INFO
    log.log(
        level, "%s: %s -> %s%s", transition.check, transition.old.value, transition.new.value, why,
        extra={"check": transition.check, "verdict": transition.new.value,
               "trace_id": transition.result.trace_id},
    )  # fmt: skip
