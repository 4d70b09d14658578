"""`probed run`: the daemon under a service manager or in a terminal."""

from __future__ import annotations

import logging
import resource
import signal
from functools import partial
from pathlib import Path

import anyio
import click
from anyio.abc import TaskStatus

from probed.app import App
from probed.cli.logs import set_up_logging
from probed.cli.loop import run_on_loop
from probed.config import Config, find_config, load
from probed.engine.shard import Shard, cut
from probed.registry import Registry

log = logging.getLogger("probed")

FILES = 65_536
"""Open files that are allowed at most; the kernel keeps a table of them."""


def run(config: Config, path: str | None, *, refused: int, shard: Shard | None = None) -> int:
    """Run all checks, or those of a shard, until SIGTERM or SIGINT. Return 0 then, `refused` where an
    address cannot be listened on or a telemetry setting of the environment is wrong. SIGHUP reloads.
    """
    set_up_logging(config.redactor)
    _raise_file_limit()

    def load_again(*, origins: bool = False) -> Config:
        file = find_config(None if path is None else Path(path))
        return cut(load(file, Registry(), origins=origins), shard)

    try:
        app = App(
            cut(config, shard),
            load=load_again,
            origins=partial(load_again, origins=True),
            shard=shard,
        )
        run_on_loop(serve, app)
    except (ValueError, OSError) as error:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        click.echo(f"probed: {text}", err=True)
        return refused
    return 0


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: each run that waits holds one or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve(app: App) -> None:
    """Run the daemon until a signal asks it to stop. Raises OSError where it cannot listen."""
    failed: list[OSError] = []

    async def run_app(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        try:
            await app.run(task_status=task_status)
        except OSError as error:
            failed.append(error)
            task_status.started()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        # Before anything else, so that a signal during the start is not lost.
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            await tasks.start(run_app)
            if not failed:
                log.info(
                    "probing %d checks%s; metrics on %s/metrics, API on %s/api/v1/checks, page on %s/",
                    sum(check.enabled for check in app.config.checks),
                    f" of shard {app.status.shard}" if app.status.shard else "", app.status.metrics_url,
                    app.status.api_url, app.status.api_url,
                )  # fmt: skip
            async for received in signals:
                if received == signal.SIGHUP:
                    tasks.start_soon(app.reloader.reload)
                    continue
                log.info("%s: stopping", signal.Signals(received).name)
                app.stop()
    if failed:
        raise failed[0]
