"""What the status page asks the daemon for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from probed.config import ConfigError
from probed.config.show import show
from probed.registry import RegistryError
from probed.telemetry.series import Histogram
from probed.web import Access, Daemon, Page

if TYPE_CHECKING:
    from probed.app.daemon import App


def page_of(app: App) -> Page:
    """The page of a daemon, and who may see it."""
    config, reading = app.config, anyio.Lock()
    service = config.service

    def own() -> Iterator[tuple[str, str, str]]:
        for family in app.board.daemon_metrics.families:
            for row in family.rows():
                for labels, value in family.cells(row):
                    told = ", ".join(f"{name}={text}" for name, text in labels.pairs)
                    yield family.measure.name, told, _shown(value, family.measure.unit)

    async def settings(name: str) -> str:
        # Where each value was written takes much memory: it is read again by whoever asks.
        if not app.reloader.has_files:
            return show(app.config, name=name)
        async with reading:
            try:
                found = await app.reloader.with_origins()
                return await to_thread.run_sync(lambda: show(found, name=name, origins=True))
            except (ConfigError, RegistryError, OSError) as error:
                raise ValueError(str(error)) from None

    where = (
        service.environment,
        service.location,
        None if app.shard is None else f"shard {app.shard}",
    )
    daemon = Daemon(
        history=app.history,
        status=app.status,
        own=own,
        config=lambda: show(app.config),
        settings=settings,
        run=app.scheduler.now,
        where=" · ".join(filter(None, where)),
    )
    return Page(daemon, access_of(app))


def access_of(app: App) -> Access:
    access = app.config.service.access
    return Access(access.read, access.admin)


def _shown(value: object, unit: str) -> str:
    if isinstance(value, Histogram):
        count = sum(value.counts)
        mean = f", {value.total / count:.3g} {unit} on average" if count else ""
        return f"{count} times{mean}"
    return f"{value:.10g} {unit.strip('{}')}".strip() if isinstance(value, int | float) else ""
