"""What the rest of the daemon sees of telemetry: the board, its text, and the export if there is one.

opentelemetry and the HTTP client are imported only where something is exported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskStatus

from probed.clock import Clock
from probed.model import Result
from probed.telemetry.board import Board
from probed.telemetry.openmetrics import OPENMETRICS, negotiate, render
from probed.telemetry.resource import instance_id, resource_attributes
from probed.telemetry.settings import export_settings, sampled

if TYPE_CHECKING:
    from probed.config.model import Config
    from probed.net import Network
    from probed.telemetry.export import Exporter


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
        environ = os.environ if environ is None else environ
        self.settings = export_settings(config.telemetry, environ)
        # Those of the OTEL_* variables are not in the file.
        config.redactor.learn(
            value.get_secret_value()
            for signal in self.settings.signals
            for value in signal.headers.values()
        )
        # systemd says where StateDirectory= is.
        given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        instance = instance_id(config.service.state_dir or (Path(given) if given else None))
        self.board = Board(
            clock,
            version=version,
            resource=resource_attributes(
                config.service, environ, version=version, instance=instance
            ),
            phase_histogram=config.telemetry.phase_histogram,
        )
        for check in config.checks:
            if check.enabled:
                self.board.add(check)
        self._exporter = self._make_exporter(config, clock, network)
        self._stopped = anyio.Event()

    def _make_exporter(self, config: Config, clock: Clock, network: Network) -> Exporter | None:
        if not self.settings.signals:
            return None
        from probed.telemetry.export import Exporter, make_client  # noqa: PLC0415  # see above

        return Exporter(
            self.settings, self.board, clock,
            lambda signal: make_client(signal, network, clock, config.redactor),
        )  # fmt: skip

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
        """Export until `drain` or `stop`."""
        if self._exporter is None:
            task_status.started()
            await self._stopped.wait()
        else:
            await self._exporter.run(task_status=task_status)

    async def drain(self, seconds: float = 3.0) -> None:
        """Hand over what is left, for so long at most. Never raises."""
        if self._exporter is not None:
            await self._exporter.drain(seconds)

    def stop(self) -> None:
        """End `run`, after `drain`."""
        self._stopped.set()
