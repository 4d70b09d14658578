"""What the rest of the daemon sees of telemetry: the board, its text, and the export if there is one.

opentelemetry and the HTTP client are imported only where something is exported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskGroup, TaskStatus

from probed.clock import Clock
from probed.model import Result
from probed.reasons import ProbeError
from probed.store.checks import state_folder
from probed.telemetry.board import Board
from probed.telemetry.openmetrics import OPENMETRICS, negotiate, render
from probed.telemetry.resource import instance_id, resource_attributes
from probed.telemetry.settings import ExportSettings, Signal, export_settings, sampled

if TYPE_CHECKING:
    from httpx2 import AsyncClient

    from probed.config.model import Config
    from probed.net import Network
    from probed.telemetry.export import Connect, Exporter


@dataclass(frozen=True, slots=True)
class Prepared:
    """Settings that were found to be possible, and how their clients are made."""

    settings: ExportSettings
    connect: Connect


class Pipeline:
    """Telemetry of one configuration. Raises ValueError for a setting of the environment that
    cannot be followed.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        network: Network,
        *,
        version: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = environ = os.environ if environ is None else environ
        self._clock = clock
        self._network = network
        self.settings = self._settings(config)
        self._state_dir = state_folder(config.service.state_dir, environ)
        instance = instance_id(self._state_dir)
        self.board = Board(
            clock,
            version=version,
            resource=resource_attributes(
                config.service, environ, version=version, instance=instance
            ),
            phase_histogram=config.telemetry.phase_histogram,
        )
        self._exporter = self._make_exporter(self.settings, self._connect(config))
        self._tasks: TaskGroup | None = None
        self._drained = False
        self._stopped = anyio.Event()

    def _settings(self, config: Config) -> ExportSettings:
        settings = export_settings(config.telemetry, self._environ)
        # Those of the OTEL_* variables are not in the file.
        config.redactor.learn(
            value.get_secret_value()
            for signal in settings.signals
            for value in signal.headers.values()
        )
        return settings

    def _connect(self, config: Config) -> Connect:
        def connect(signal: Signal) -> AsyncClient:
            from probed.telemetry.export import make_client  # noqa: PLC0415  # see above

            return make_client(signal, self._network, self._clock, config.redactor)

        return connect

    def _make_exporter(self, settings: ExportSettings, connect: Connect) -> Exporter | None:
        if not settings.signals:
            return None
        from probed.telemetry.export import Exporter  # noqa: PLC0415  # see above

        return Exporter(settings, self.board, self._clock, connect, state_dir=self._state_dir)

    def prepare(self, config: Config) -> Prepared:
        """What `apply` needs to go on with another configuration; nothing is changed yet.

        Raises ValueError for what cannot be followed.
        """
        settings = self._settings(config)
        for signal in settings.signals:
            if urlsplit(signal.url).scheme == "https":
                try:
                    self._network.contexts.get(signal.tls)
                except ProbeError as error:
                    raise ValueError(f"telemetry.otlp: {error.message}") from None
        return Prepared(settings, self._connect(config))

    def apply(self, prepared: Prepared) -> None:
        """Export as was prepared, from now on. Nothing that is queued is lost; the spool stays in
        the state directory of the start.
        """
        self.settings = prepared.settings
        if self._exporter is not None:
            self._exporter.apply(prepared.settings, prepared.connect)
            return
        self._exporter = self._make_exporter(prepared.settings, prepared.connect)
        if self._exporter is not None and self._tasks is not None and not self._drained:
            self._tasks.start_soon(self._exporter.run)

    async def flush(self) -> None:
        """Return when the spans of all Results taken so far are on disk; in memory where there is
        none, or where it fails. Costs nothing where there is nothing to do.
        """
        if self._exporter is not None:
            await self._exporter.flush()

    @property
    def destinations(self) -> tuple[str, ...]:
        """Where telemetry is sent to, as it may be shown."""
        return tuple(signal.shown for signal in self.settings.signals)

    def sampled(self, trace_id: str, *, healthy: bool) -> bool:
        """Whether the trace of a run is kept however it ends: all but a part of healthy checks'."""
        return not healthy or sampled(trace_id, self.settings.trace_ratio)

    def take(self, result: Result) -> None:
        """Count the result, and queue its spans if they are kept."""
        self.board.take(result)
        if self._exporter is not None:
            self._exporter.take(result)

    def scrape(self, accept: str | None) -> tuple[str, Iterable[bytes]]:
        """Content type and chunks of the metrics in the format that was asked for."""
        content_type = negotiate(accept)
        return content_type, render(self.board, openmetrics=content_type == OPENMETRICS)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Export until `drain`, and wait for `stop`."""
        async with anyio.create_task_group() as self._tasks:
            if self._exporter is not None:
                await self._tasks.start(self._exporter.run)
            task_status.started()
            await self._stopped.wait()

    async def drain(self, seconds: float = 3.0) -> None:
        """Hand over what is left, for so long at most. Never raises."""
        self._drained = True
        if self._exporter is not None:
            await self._exporter.drain(seconds)

    def stop(self) -> None:
        """End `run`, after `drain`."""
        self._stopped.set()
