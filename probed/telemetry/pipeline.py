"""Entry point of telemetry for the daemon: the board, the exposition, and the export if configured.

opentelemetry and the HTTP client are imported only if telemetry is exported.
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
    """Validated settings, and a function that creates their HTTP clients."""

    settings: ExportSettings
    connect: Connect


class Pipeline:
    """Telemetry of one configuration. Raises ValueError for an invalid environment variable."""

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
        # Secrets in OTEL_* variables are not in the file.
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
        """Return what `apply` needs for a new configuration. Changes nothing.

        Raises ValueError for a setting that cannot be used.
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
        """Switch to prepared settings. Queued telemetry is kept; the spool stays in the state
        directory of the start.
        """
        self.settings = prepared.settings
        if self._exporter is not None:
            self._exporter.apply(prepared.settings, prepared.connect)
            return
        self._exporter = self._make_exporter(prepared.settings, prepared.connect)
        if self._exporter is not None and self._tasks is not None and not self._drained:
            self._tasks.start_soon(self._exporter.run)

    async def flush(self) -> None:
        """Wait until the spans of all recorded Results are in the spool: on disk, or in memory if
        there is no disk or it fails. Costs nothing if no spans are pending.
        """
        if self._exporter is not None:
            await self._exporter.flush()

    @property
    def destinations(self) -> tuple[str, ...]:
        """URLs that telemetry is sent to, without secrets."""
        return tuple(signal.shown for signal in self.settings.signals)

    def sampled(self, trace_id: str, *, healthy: bool) -> bool:
        """Return whether the trace of a run is sampled whatever its outcome: always if the check is
        not healthy, else by `trace_ratio`.
        """
        return not healthy or sampled(trace_id, self.settings.trace_ratio)

    def record(self, result: Result) -> None:
        """Count a Result, and queue its spans if its trace is sampled."""
        self.board.record(result)
        if self._exporter is not None:
            self._exporter.enqueue(result)

    def scrape(self, accept: str | None) -> tuple[str, Iterable[bytes]]:
        """Return content type and chunks of the metrics, in the format that `accept` asks for."""
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
        """Export pending telemetry within `seconds`. Never raises."""
        self._drained = True
        if self._exporter is not None:
            await self._exporter.drain(seconds)

    def stop(self) -> None:
        """End `run`, after `drain`."""
        self._stopped.set()
