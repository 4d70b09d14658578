"""`probed demo`: embedded peers, the daemon that checks them, and a table of its results."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import anyio
import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from probed.app import App
from probed.cli.daemon import serve
from probed.cli.logs import set_up_logging
from probed.cli.loop import run_on_loop
from probed.cli.terminal import style_for
from probed.config import Config, loads
from probed.control.client import NAME
from probed.demo import Demo, DemoUnavailable
from probed.events import Event, Recorded
from probed.model import Outcome, Result, Verdict
from probed.output import render_result, seconds
from probed.registry import Registry
from probed.web import bind

_COLOURS = {Verdict.UP: "green", Verdict.DEGRADED: "yellow", Verdict.DOWN: "red",
            Verdict.UNKNOWN: "magenta", Verdict.PENDING: "dim"}  # fmt: skip


def run(broken: Sequence[str], limit: float | None) -> int:
    """Run until Ctrl-C, or for `limit` seconds."""
    try:
        run_on_loop(_show, broken, limit)
    except (DemoUnavailable, OSError) as error:
        raise click.ClickException(str(error)) from None
    return 0


async def _show(broken: Sequence[str], limit: float | None) -> None:
    async with Demo() as demo:
        for name in broken:
            try:
                await demo.break_(name)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
        config = loads(demo.config_text(), Registry(), name="demo.yaml")
        set_up_logging(config.redactor, level=logging.ERROR)
        screen = _Screen(demo, broken)
        # Its own socket, never the default one: that is where clients look for the daemon.
        control = os.environ.get("PROBED_CONTROL", str(demo.folder / NAME))
        environ = {**os.environ, "PROBED_CONTROL": control}
        app = App(_listening(config), subscribers=[screen.show_event], environ=environ)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.show, app)
            if limit is not None:
                tasks.start_soon(_stop_after, app, limit)
            await serve(app)
            tasks.cancel_scope.cancel()


async def _stop_after(app: App, seconds: float) -> None:
    await anyio.sleep(seconds)
    app.stop()


def _listening(config: Config) -> Config:
    """Return the configuration on the usual ports, or on free ones where those are in use."""

    def free(address: str) -> str:
        try:
            bind(address).close()
        except OSError:
            return "127.0.0.1:0"
        return address

    for section in (config.service, config.telemetry):
        config = config.with_section(section.model_copy(update={"listen": free(section.listen)}))
    return config


class _Screen:
    """A live table on a terminal; elsewhere, a line for each result."""

    def __init__(self, demo: Demo, broken: Sequence[str]) -> None:
        self._demo = demo
        self._broken = broken
        self._console = Console(highlight=False)
        self._live = self._console.is_terminal
        self._style = style_for(sys.stdout, name_width=16)

    def show_event(self, event: Event) -> None:
        """Print a line for each result, where nobody sees the table."""
        if isinstance(event, Recorded) and not self._live:
            verdict = event.state.verdict.value
            click.echo(f"{render_result(event.result, self._style)}  [{verdict}]")
            sys.stdout.flush()

    async def show(self, app: App) -> None:
        await app.started.wait()
        if self._live:
            with Live(console=self._console, auto_refresh=False) as live:
                while True:
                    live.update(self._page(app), refresh=True)
                    await anyio.sleep(0.5)
        click.echo("\n".join(self._head(app)))
        while True:
            await anyio.sleep(5)
            click.echo("\n".join(self._foot()))

    def _head(self, app: App) -> list[str]:
        lines = [
            ("page", f"{app.status.api_url}/"),
            ("metrics", f"{app.status.metrics_url}/metrics"),
            ("API", f"{app.status.api_url}/api/v1/checks"),
        ]
        if app.control_path is not None:
            lines.append(("status", f"PROBED_CONTROL={app.control_path} probed status"))
        lines += self._demo.urls.items()
        lines += [("broken", f"{name}: {self._demo.breaks[name]}") for name in self._broken]
        width = max(len(name) for name, _ in lines)
        return [f"{name:<{width}}  {text}" for name, text in lines]

    def _foot(self) -> list[str]:
        return [f"otlp  {line}" for line in self._demo.status()]

    def _page(self, app: App) -> Group:
        return Group(
            Text("\n".join(self._head(app)) + "\n"),
            self._table(app),
            Text("\n" + "\n".join([*self._foot(), "Ctrl-C stops everything"]), style="dim"),
        )

    def _table(self, app: App) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("check", "verdict", "time", "what was found"):
            table.add_column(heading, no_wrap=heading != "what was found")
        for history in app.monitor.history.checks.values():
            last = history.last
            verdict = history.state.verdict
            table.add_row(
                Text(history.check.name),
                Text(verdict.value, style=_COLOURS[verdict]),
                Text("" if last is None else seconds(last.duration_s)),
                Text("" if last is None else _found(last)),
            )
        return table


def _found(result: Result) -> str:
    if result.outcome is Outcome.OK:
        return "ok"
    return "\n".join(f"{finding.reason}: {finding.message}" for finding in result.findings)
