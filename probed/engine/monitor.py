"""The checks of a configuration, run when they are due; their results become events for the subscribers.

schedule --due--> executor --Result--> History.apply -> events --publish--> subscribers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from probed.clock import Clock
from probed.config import Check, Config
from probed.engine.executor import Executor
from probed.engine.history import History
from probed.engine.schedule import Observer, Scheduler
from probed.engine.stalls import Stalls
from probed.events import Publisher, Subscriber
from probed.judgement import is_doubted
from probed.model import Result
from probed.store.checks import SavedCheck

DRAIN_LOOK = 1.0
"""Seconds between two looks at whether a drain is over."""


class Metrics(Observer, Protocol):
    """Receives what the monitor measures of itself."""

    def occupied(self, running: int, waiting: int) -> None:
        """So many runs go on, and so many wait for a place."""

    def lagged(self, seconds: float) -> None:
        """The event loop was that late."""

    def stalled(self, check: str) -> None:
        """The event loop was blocked, by this check or, where it is empty, by something else."""

    def drained(self, *, active: bool) -> None:
        """A drain began or ended."""


Sampled = Callable[[str, bool], bool]
"""Whether the trace of a run is exported however it ends, from its id and whether the check is well."""


def _always(trace_id: str, healthy: bool) -> bool:  # noqa: ARG001
    return True


class Monitor:
    """Runs checks on their schedule and on request, and publishes what their results change.

    It begins without checks; `change` gives it a configuration, the first as every later one.
    """

    def __init__(
        self,
        config: Config,
        executor: Executor,
        clock: Clock,
        metrics: Metrics,
        subscribers: Sequence[Subscriber] = (),
        sampled: Sampled = _always,
    ) -> None:
        self.config = config._replace(checks=())
        self.executor = executor
        self.history = History()
        self.scheduler = Scheduler(clock, self.execute, metrics)
        self._clock = clock
        self._metrics = metrics
        self._drained_until = 0.0
        self._sampled = sampled
        self._publisher = Publisher(subscribers)
        self._doubted: dict[str, None] = {}
        self._doubt = anyio.Event()
        lag = executor.runner.lag
        self._stalls = Stalls(clock, lag.overdue, metrics.stalled)
        lag.blame = self._stalls.blame
        executor.places.observe = metrics.occupied

    def change(self, config: Config, saved: Mapping[str, SavedCheck] | None = None) -> None:
        """Work from another configuration from now on. Checks that are the same go on as if nothing
        had happened; of others the run that goes on is cancelled. `saved` is what an earlier process
        knew. Does not raise.
        """
        before = {check.name: check for check in self.config.checks}
        after = {check.name: check for check in config.checks}
        for name, check in before.items():
            if check.enabled and (name not in after or not after[name].enabled):
                self.scheduler.remove(name)
        self.config = config
        self.executor.change(config)
        events = self.history.replace(config.checks, at=self._clock.time(), saved=saved)
        self._publisher.publish(events)
        changed = [c for c in config.checks if c.enabled and before.get(c.name) != c]
        self.scheduler.add(changed, rested=self._rested)

    async def execute(self, check: Check, begun: Callable[[], None]) -> Result:
        """Run the check once, record its result and memory together, and publish what changed."""
        entry = self.history.checks[check.name]
        healthy = entry.state.healthy
        execution = await self.executor.run(
            check,
            entry.memory,
            last=entry.last,
            sampled=lambda trace_id: self._sampled(trace_id, healthy),
            begun=begun,
        )
        if self.history.checks.get(check.name) is entry:  # else a reload took it away meanwhile
            self._publisher.publish(self.history.apply(execution.result, execution.memory))
            if is_doubted(execution.result):
                self._doubted[check.name] = None
                self._doubt.set()
        return execution.result

    async def now(self, name: str) -> Result | None:
        """Run a check beside its schedule; see `Scheduler.now`."""
        return await self.scheduler.now(name)

    def _rested(self, check: Check) -> bool:
        """Whether the check has not run for an interval or more, or the clock makes no sense."""
        last = self.history.checks[check.name].state.last_run
        return last is None or not 0 <= self._clock.time() - last < check.interval

    async def run(self) -> None:
        """Run checks until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scheduler.run)
            tasks.start_soon(self.executor.runner.lag.watch, self._metrics.lagged)
            tasks.start_soon(self._stalls.run)
            tasks.start_soon(self._watch_drain)
            tasks.start_soon(self._settle)

    async def _settle(self) -> None:
        """Run again what was doubted, as soon as the event loop is on time."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._doubt.wait()
                self._doubt = anyio.Event()
                while self._doubted:
                    name = next(iter(self._doubted))
                    await tasks.start(self._settle_one, name)

    async def _settle_one(
        self, name: str, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        async with self.executor.settling():
            self._doubted.pop(name, None)
            task_status.started()
            entry = self.history.checks.get(name)
            if entry is not None and entry.last is not None and is_doubted(entry.last):
                await self.scheduler.now(name)

    @property
    def drained(self) -> bool:
        """Whether no runs are started."""
        return self.scheduler.drained

    def drain(self, *, active: bool, seconds: float | None = None) -> None:
        """Start no runs while `active`, for so many seconds at most: what is about to end must not be
        seen as failing.
        """
        self._drained_until = self._clock.monotonic() + (seconds or float("inf"))
        if active:
            self.scheduler.drain()
        else:
            self.scheduler.resume()
        self._metrics.drained(active=active)

    async def _watch_drain(self) -> None:
        while True:
            await self._clock.sleep(DRAIN_LOOK)
            if self.drained and self._clock.monotonic() >= self._drained_until:
                self.drain(active=False)
