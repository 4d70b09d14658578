"""The composition root: builds all parts, starts them, serves, and stops them in bounded time."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus

from probed.app.commands import Commands
from probed.app.log import log_event
from probed.app.pages import Pages
from probed.app.reload import Reloader
from probed.app.saving import Saver
from probed.app.status import Status
from probed.clock import Clock, SystemClock
from probed.config import Config
from probed.control.server import ControlServer
from probed.control.server import bind as bind_control
from probed.engine.executor import Executor
from probed.engine.monitor import Monitor
from probed.engine.shard import Shard
from probed.events import Subscriber
from probed.model import Transition
from probed.net import Network
from probed.net.pool import ConnectionPool
from probed.store.checks import SavedCheck, Store, state_folder
from probed.systemd import Notifier
from probed.telemetry import Pipeline, TelemetrySubscriber
from probed.version import __version__
from probed.web import Hub, Listener, bind, telemetry_app

SHUTDOWN_SECONDS = 3.0
"""Seconds that the shutdown takes at most, but for listeners that still answer."""
DRAIN_SECONDS = 1.0
"""Seconds of these that handing over the last telemetry has in any case."""
LISTENER_SECONDS = 0.4
"""Seconds more that answering the last requests may take."""
SAVE_SECONDS = 1.0
"""Seconds that saving may take at shutdown."""
REPORT_INTERVAL = 5.0
"""Seconds between two reports to the service manager, or half of what it waits for one."""
GARBAGE = 50_000
GARBAGE_PER_CHECK = 50
"""Objects that may be made, more than freed, before cycles are looked for. A run of ours leaves none
(the contract suite sees to it), and a search stops the loop for 20 ms for each 1,000 checks, whose last
results it looks through.
"""


class App:
    """One daemon. `load` reads its configuration again for a reload, `origins` with the places where
    values were written; `shard` is which of its checks both hold; `subscribers` receive events after
    those of the daemon itself. Raises ValueError for a setting of telemetry that cannot be followed.
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
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        self._environ = environ = os.environ if environ is None else environ
        self._config = config
        self.clock = clock = clock or SystemClock()
        executor = Executor.of(config, clock=clock, network=network)
        executor.runner.pool = self._pool = ConnectionPool(clock)
        self.pipeline = pipeline = Pipeline(
            config, clock, executor.runner.network, version=__version__, environ=environ
        )
        metrics = pipeline.board.daemon_metrics
        if shard is not None:
            metrics.sharded(shard.index, shard.total, shard.replicas)
        self._hub = Hub()
        self.monitor = monitor = Monitor(
            config, executor, clock, metrics,
            [TelemetrySubscriber(pipeline).apply, self._hub.apply, log_event, *subscribers],
            sampled=lambda trace_id, healthy: pipeline.sampled(trace_id, healthy=healthy),
        )  # fmt: skip
        folder = state_folder(config.service.state_dir, environ)
        self._store = Store(folder, metrics.state_failed, config.redactor.redact)
        self._saver = Saver(monitor.history, self._store, clock, metrics, pipeline.flush)
        self.reloader = Reloader(self, clock, load, origins)
        self.status = Status(
            monitor, clock, self.reloader.status, lambda: pipeline.destinations, shard
        )
        self._pages = Pages(self, self._hub, self.transitions)
        self._notifier = Notifier(environ)
        self.control_path: Path | None = None
        self.started = anyio.Event()
        self._stopping = anyio.Event()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Probe until `stop`. Raises OSError if an address cannot be listened on."""
        with ExitStack() as opened:
            listeners = self._listen(opened)
            control = await self._listen_control(opened)
            await self._start()
            async with anyio.create_task_group() as serving:
                for listener in listeners:
                    await serving.start(listener.run)
                await serving.start(self.pipeline.run)
                await self._serve(control, task_status)
                await self._finish(listeners)
                serving.cancel_scope.deadline = anyio.current_time() + LISTENER_SECONDS

    async def transitions(self, name: str) -> list[Transition]:
        """Return the transitions of a check, the oldest first."""
        return await self._saver.transitions(name)

    def stop(self) -> None:
        """Shut down: runs are cancelled, what is left of telemetry is handed over."""
        self._stopping.set()

    async def _start(self) -> None:
        """Go on from what an earlier process knew."""
        # What was made to start lives as long as the process: looking through it again and again
        # would stop the loop.
        gc.collect()
        gc.freeze()
        saved = await self._store.load(self.clock.time())
        self.change(self._config, saved)

    async def _serve(self, control: ControlServer | None, task_status: TaskStatus[None]) -> None:
        """Run checks until `stop`."""
        async with anyio.create_task_group() as tasks:
            if control is not None:
                await tasks.start(control.run)
            for work in (self.monitor.run, self._saver.run, self._pool.sweep, self.reloader.watch):
                tasks.start_soon(work)
            self.status.probing = True
            self._notifier.ready(self.status.headline())
            tasks.start_soon(self._report)
            self.started.set()
            task_status.started()
            await self._stopping.wait()
            self.status.probing = False
            self._notifier.stopping()
            tasks.cancel_scope.cancel()

    async def _finish(self, listeners: Sequence[Listener]) -> None:
        """Hand over what is left, in bounded time."""
        ends = self.clock.monotonic() + SHUTDOWN_SECONDS
        await self._pool.close()
        self._hub.close()
        for listener in listeners:
            listener.stop()
        with anyio.move_on_after(SAVE_SECONDS):
            await self._saver.save()
            await self._saver.save(everything=True)
        await self.pipeline.drain(max(DRAIN_SECONDS, ends - self.clock.monotonic()))
        self.pipeline.stop()
        self._store.close()

    def change(self, config: Config, saved: Mapping[str, SavedCheck] | None = None) -> None:
        """Work from another configuration from now on, all of it or, where this raises, nothing. The
        first configuration is a change from none; `saved` is what an earlier process knew.

        Raises ValueError where telemetry cannot follow.
        """
        prepared = self.pipeline.prepare(config)
        # From here on nothing can fail.
        self._config = config
        gc.set_threshold(GARBAGE + GARBAGE_PER_CHECK * len(config.checks), 20, 100)
        self.pipeline.apply(prepared)
        self.monitor.change(config, saved)

    def reloading(self) -> None:
        """A reload begins."""
        self._notifier.reloading()

    def reloaded(self, *, ok: bool) -> None:
        """A reload has ended."""
        self.pipeline.board.reloaded(ok=ok)
        self._notifier.ready(self.status.headline())

    async def _report(self) -> None:
        """Report to the service manager from the event loop, and only while runs are started: where
        that has stopped, it ends us and starts us anew.
        """
        if not self._notifier:
            return
        pause = min(REPORT_INTERVAL, self._notifier.patience / 2 or REPORT_INTERVAL)
        while True:
            await self.clock.sleep(pause)
            if self.status.alive() is None:
                self._notifier.alive(self.status.headline())

    def _listen(self, opened: ExitStack) -> list[Listener]:
        metrics = opened.enter_context(bind(self._config.telemetry.listen))
        api = opened.enter_context(bind(self._config.service.listen))
        scrape = telemetry_app(self.pipeline.scrape, self.status.alive, self.status.ready)
        counts = self.pipeline.board.daemon_metrics
        listeners = [
            Listener(app, sock, name, refused=partial(counts.closed, name))
            for name, app, sock in (
                ("telemetry", scrape, metrics),
                ("page", self._pages.app(), api),
            )
        ]
        counts.connections = lambda: {each.name: len(each.connections) for each in listeners}
        self.status.metrics_url, self.status.api_url = (listener.url for listener in listeners)
        return listeners

    async def _listen_control(self, opened: ExitStack) -> ControlServer | None:
        path = self._config.service.control
        bound = await to_thread.run_sync(partial(bind_control, path, self._environ))
        if bound is None:
            return None
        sock, self.control_path = opened.enter_context(bound[0]), bound[1]
        commands = Commands(self.monitor, self.reloader, self.status.document, self.clock)
        return ControlServer(sock, self.control_path, commands.handlers)
