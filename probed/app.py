"""The composition root: builds all parts, runs them in one task group, stops them in bounded time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import anyio
from anyio.abc import TaskStatus

from probed.clock import Clock, SystemClock
from probed.config import Check, Config
from probed.model import Result, Transition, Verdict
from probed.net import Network
from probed.output import result_document, timestamp
from probed.runner import Runner
from probed.schedule import Limits, Scheduler
from probed.state import CheckState, Thresholds, advance
from probed.telemetry import Pipeline
from probed.version import __version__
from probed.web import History, Listener, api_app, bind, telemetry_app

log = logging.getLogger("probed")

LAG_INTERVAL = 0.5
"""Seconds between two looks at how late the event loop is."""
STUCK_AFTER = 15.0
"""Seconds that the scheduler may be overdue before the daemon counts as not alive."""
DRAIN_SECONDS = 2.5
"""Seconds that handing over the last telemetry may take; with what else there is to do, the end
comes within 3 s.
"""
LISTENER_SECONDS = 0.4
"""Seconds more that answering the last requests may take."""


class App:
    """One daemon on one configuration. `on_result` sees each result after the sinks have."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        network: Network | None = None,
        on_result: Callable[[Result, CheckState], None] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.runner = Runner.of(config, clock=self.clock, network=network)
        self.pipeline = Pipeline(config, self.clock, self.runner.network, version=__version__)
        self.board = self.pipeline.board
        self.history = History(config.checks)
        self.scheduler = Scheduler(
            self.clock,
            self.execute,
            self.board,
            Limits(config.service.concurrency, config.service.concurrency_per_host),
        )
        self.metrics_url = ""
        self.api_url = ""
        self._on_result = on_result
        self._memory: dict[str, dict[str, Any]] = {check.name: {} for check in config.checks}
        self._thresholds = {
            check.name: Thresholds(check.fail_after, check.recover_after) for check in config.checks
        }
        self._started_at = self.clock.time()
        self.started = anyio.Event()
        self._ready = False
        self._stopping = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Probe until `stop`. Raises OSError if an address cannot be listened on."""
        # What was made to start lives as long as the process: it need not be looked through again
        # and again, which would stop the loop.
        gc.collect()
        gc.freeze()
        with ExitStack() as opened:
            listeners = self._listen(opened)
            async with anyio.create_task_group() as serving:
                for listener in listeners:
                    await serving.start(listener.run)
                await serving.start(self.pipeline.run)
                async with anyio.create_task_group() as probing:
                    self.scheduler.add(self.config.checks)
                    probing.start_soon(self.scheduler.run)
                    probing.start_soon(self._watch_loop)
                    self._ready = True
                    self.started.set()
                    task_status.started()
                    await self._stopping.wait()
                    self._ready = False
                    probing.cancel_scope.cancel()
                for listener in listeners:
                    listener.stop()
                await self.pipeline.drain(DRAIN_SECONDS)
                self.pipeline.stop()
                serving.cancel_scope.deadline = anyio.current_time() + LISTENER_SECONDS

    def stop(self) -> None:
        """Ask for a clean end: runs are cancelled, what is left of telemetry is handed over."""
        self._stopping.set()

    async def execute(self, check: Check) -> None:
        """Run the check once and give the result to all who want it."""
        state = self.history.checks[check.name].state
        result = await self.runner.run(
            check,
            memory=self._memory[check.name],
            sampled=lambda trace_id: self.pipeline.sampled(trace_id, healthy=state.healthy),
        )
        self.take(result)

    def take(self, result: Result) -> None:
        """The way of a result: board, state, history, traces."""
        old = self.history.checks[result.check].state
        state, transition = advance(old, result, self._thresholds[result.check])
        self.pipeline.take(result)
        self.board.judge(result.check, state.verdict, state.failed, state.last_success)
        self.history.take(result, state, transition)
        if transition is not None:
            _tell(transition)
        if self._on_result is not None:
            self._on_result(result, state)

    def _listen(self, opened: ExitStack) -> list[Listener]:
        metrics = opened.enter_context(bind(self.config.telemetry.listen))
        api = opened.enter_context(bind(self.config.service.listen))
        hosts = ["localhost", "127.0.0.1", "[::1]", *self.config.service.allowed_hosts]
        listeners = [
            Listener(telemetry_app(self.pipeline.scrape, self.alive, self.ready), metrics),
            Listener(api_app(self.history, result_document, self.status, hosts), api),
        ]
        self.metrics_url, self.api_url = (listener.url for listener in listeners)
        return listeners

    def alive(self) -> str | None:
        """None while the scheduler makes progress, else what is wrong."""
        overdue = self.scheduler.overdue()
        return f"the scheduler is {overdue:.0f} s late" if overdue > STUCK_AFTER else None

    def ready(self) -> str | None:
        """None while checks are being run; what the checks find has no part in it."""
        return None if self._ready else "not probing"

    def status(self) -> Mapping[str, Any]:
        verdicts = [history.state.verdict for history in self.history.checks.values()]
        return {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "uptime_s": round(self.clock.time() - self._started_at, 3),
            "checks": len(verdicts),
            "verdicts": {verdict.value: verdicts.count(verdict) for verdict in Verdict},
            "metrics": f"{self.metrics_url}/metrics",
            "otlp": self.pipeline.destinations,
        }

    async def _watch_loop(self) -> None:
        """Measure how late the event loop is: a late loop makes every target look slow."""
        while True:
            due = self.clock.monotonic() + LAG_INTERVAL
            await self.clock.sleep(LAG_INTERVAL)
            self.board.lagged(max(0.0, self.clock.monotonic() - due))


def _tell(transition: Transition) -> None:
    why = f" {transition.result.why}".rstrip()
    level = logging.WARNING if transition.new is not Verdict.UP else logging.INFO
    log.log(
        level, "%s: %s -> %s%s", transition.check, transition.old.value, transition.new.value, why,
        extra={"check": transition.check, "verdict": transition.new.value,
               "trace_id": transition.result.trace_id},
    )  # fmt: skip
