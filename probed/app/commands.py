"""What the control socket can be asked for. Each command takes a request and gives an answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from probed.config import ConfigError, select
from probed.control.server import Handler
from probed.engine.history import CheckHistory
from probed.fields import parse_duration
from probed.model import Outcome, Result, Verdict
from probed.output import FORMATS, Report, Style, render, timestamp
from probed.registry import RegistryError

if TYPE_CHECKING:
    from probed.app.daemon import App

RUN_SECONDS = 600.0
"""Seconds after which a client that asked for runs is told what there is."""


class Commands:
    """The handlers by their names."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.handlers: Mapping[str, Handler] = {
            "status": self.status,
            "reload": self.reload,
            "diff": self.diff,
            "drain": self.drain,
            "check": self.check,
        }

    async def status(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """The daemon, and each check that is not up."""
        entries = [entry for entry in self._app.history.checks.values() if entry.check.enabled]
        return {
            **self._app.status(),
            "not_up": [_brief(e) for e in entries if e.state.verdict is not Verdict.UP],
        }

    async def reload(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """`ok`, and in `lines` what has changed or what is wrong."""
        reloaded = await self._app.reloader.reload()
        return {"ok": reloaded.ok, "lines": reloaded.lines}

    async def diff(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """In `lines` what a reload would change."""
        try:
            return {"lines": await self._app.reloader.compare()}
        except (ConfigError, RegistryError, OSError) as error:
            raise ValueError(str(error)) from None

    async def drain(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start no runs, for a `duration` if it says so; with `end`, start them again."""
        duration = request.get("duration")
        seconds = None if duration is None else parse_duration(str(duration))
        self._app.drain(active=not request.get("end"), seconds=seconds)
        return {"drained": self._app.scheduler.drained}

    async def check(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run checks now; `rendered` has their results in each of the `formats` that were asked for,
        and `outcome` the worst.
        """
        app = self._app
        formats = _names(request, "formats") or ["json"]
        for name in formats:
            if name not in FORMATS:
                raise ValueError(f"there is no output format {name!r}")
        chosen = select(
            app.config, _names(request, "names"), tags=_names(request, "tags"),
            everything=bool(request.get("all")),
        )  # fmt: skip
        disabled = [check.name for check in chosen.checks if not check.enabled]
        if disabled:
            raise ValueError(f"disabled, the daemon does not run it: {', '.join(disabled)}")
        started_at, begun = app.clock.time(), time.monotonic()
        before = {check.name: _last(app, check.name) for check in chosen.checks}
        with anyio.move_on_after(RUN_SECONDS):
            async with anyio.create_task_group() as tasks:
                for check in chosen.checks:
                    tasks.start_soon(app.scheduler.now, check.name)
        results = [
            result
            for check in chosen.checks
            if (result := _last(app, check.name)) is not None and result is not before[check.name]
        ]
        if not results:
            raise ValueError("nothing was run: the daemon is drained")
        report = Report(
            results,
            started_at,
            time.monotonic() - begun,
            {
                check.name: (check.position.file, check.position.line)
                for check in chosen.checks
                if check.position is not None
            },
        )
        style = Style(
            colour=bool(request.get("colour")),
            unicode=bool(request.get("unicode", True)),
            verbose=bool(request.get("verbose")),
            name_width=min(40, max(len(result.check) for result in results)),
        )
        outcome = report.outcome if len(results) == len(chosen.checks) else Outcome.UNKNOWN
        return {
            "outcome": outcome.value,
            "warning": chosen.warning,
            "rendered": {name: render(name, report, style) for name in formats},
        }


def _names(request: Mapping[str, Any], key: str) -> Sequence[str]:
    value = request.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} must be a list of names")
    return value


def _last(app: App, name: str) -> Result | None:
    entry = app.history.checks.get(name)
    return None if entry is None else entry.last


def _brief(entry: CheckHistory) -> Mapping[str, Any]:
    state, last = entry.state, entry.last
    worst = None if last is None else last.worst
    return {
        "check": entry.check.name,
        "verdict": state.verdict.value,
        "since": timestamp(state.since) if state.since else None,
        "severity": entry.check.severity.value,
        "flapping": state.flapping,
        "held_by": list(entry.held_by),
        "reason": None if worst is None else str(worst.reason),
        "message": None if worst is None else worst.message,
    }
