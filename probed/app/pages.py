"""The page and the API, and where they get what they show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import anyio
from anyio import to_thread
from starlette.types import ASGIApp

from probed.app.reload import Reloader
from probed.app.status import Status
from probed.config import Config, ConfigError
from probed.config.show import show
from probed.engine.monitor import Monitor
from probed.model import Transition
from probed.registry import RegistryError
from probed.telemetry import Pipeline
from probed.telemetry.series import Histogram
from probed.web import Access, Daemon, Hub, Pacer, Page, api_app


class Served(Protocol):
    """The daemon, as the page needs it."""

    @property
    def config(self) -> Config: ...
    @property
    def monitor(self) -> Monitor: ...
    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def reloader(self) -> Reloader: ...
    @property
    def status(self) -> Status: ...


class Pages:
    """The page and the API of one daemon. Access and hosts are those of the configuration at start."""

    def __init__(
        self,
        daemon: Served,
        hub: Hub,
        transitions: Callable[[str], Awaitable[Sequence[Transition]]],
    ) -> None:
        self._daemon = daemon
        self._reading = anyio.Lock()
        service = daemon.config.service
        shard = daemon.status.shard
        where = (service.environment, service.location, None if shard is None else f"shard {shard}")
        self._access = Access(service.access.read, service.access.admin)
        self._hosts = ["localhost", "127.0.0.1", "[::1]", *service.allowed_hosts]
        self._source = Daemon(
            history=daemon.monitor.history,
            transitions=transitions,
            status=daemon.status.document,
            daemon_metrics=self._daemon_metrics,
            config=lambda: show(daemon.config),
            settings=self._settings,
            run=daemon.monitor.now,
            where=" · ".join(filter(None, where)),
        )
        self._pacer = Pacer()
        self._page = Page(self._source, self._access, hub, self._pacer)

    def app(self) -> ASGIApp:
        """Return the application that serves both."""
        return api_app(self._source, self._hosts, self._access, self._pacer, self._page.routes)

    def _daemon_metrics(self) -> Iterator[tuple[str, str, str]]:
        for family in self._daemon.pipeline.board.daemon_metrics.families:
            for row in family.rows():
                for labels, value in family.cells(row):
                    pairs = ", ".join(f"{name}={text}" for name, text in labels.pairs)
                    yield family.measure.name, pairs, _shown(value, family.measure.unit)

    async def _settings(self, name: str) -> str:
        # Where each value was written takes much memory: it is read again for whoever looks.
        if not self._daemon.reloader.has_files:
            return show(self._daemon.config, name=name)
        async with self._reading:
            try:
                found = await self._daemon.reloader.with_origins()
                return await to_thread.run_sync(lambda: show(found, name=name, origins=True))
            except (ConfigError, RegistryError, OSError) as error:
                raise ValueError(str(error)) from None


def _shown(value: object, unit: str) -> str:
    if isinstance(value, Histogram):
        count = sum(value.counts)
        mean = f", {value.total / count:.3g} {unit} on average" if count else ""
        return f"{count} times{mean}"
    return f"{value:.10g} {unit.strip('{}')}".strip() if isinstance(value, int | float) else ""
