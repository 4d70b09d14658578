"""The commands of the control socket. Each takes a request and returns an answer, both JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio

from probed.app.reload import Reloaded
from probed.clock import Clock
from probed.config import Config, ConfigError, select
from probed.control.server import Handler
from probed.documents import result_document, timestamp
from probed.engine.documents import state_document
from probed.engine.history import History
from probed.fields import parse_duration
from probed.model import Result, Verdict
from probed.registry import RegistryError

RUN_SECONDS = 600.0
"""Seconds after which a client that asked for runs gets the results that there are."""


class Checks(Protocol):
    """The checks of the daemon, as the commands need them."""

    @property
    def config(self) -> Config: ...
    @property
    def history(self) -> History: ...
    @property
    def drained(self) -> bool: ...

    def drain(self, *, active: bool, seconds: float | None = None) -> None: ...
    async def now(self, name: str) -> Result | None: ...


class Reload(Protocol):
    """Reloading, as the commands need it."""

    async def reload(self, *, force: bool = False) -> Reloaded: ...
    async def compare(self) -> list[str]: ...


class Commands:
    """The handlers by their names."""

    def __init__(
        self,
        checks: Checks,
        reloader: Reload,
        status: Callable[[], Mapping[str, Any]],
        clock: Clock,
    ) -> None:
        self._checks = checks
        self._reloader = reloader
        self._status = status
        self._clock = clock
        self.handlers: Mapping[str, Handler] = {
            "status": self.status,
            "reload": self.reload,
            "diff": self.diff,
            "drain": self.drain,
            "check": self.check,
        }

    async def status(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the daemon's state, and in `not_up` that of each check that is not up."""
        entries = [entry for entry in self._checks.history.checks.values() if entry.check.enabled]
        return {
            **self._status(),
            "not_up": [state_document(e) for e in entries if e.state.verdict is not Verdict.UP],
        }

    async def reload(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Reload, with `force` also where most checks are removed. Return `ok`, and in `lines` what has
        changed or what is wrong.
        """
        reloaded = await self._reloader.reload(force=bool(request.get("force")))
        return {"ok": reloaded.ok, "lines": reloaded.lines}

    async def diff(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return in `lines` what a reload would change."""
        try:
            return {"lines": await self._reloader.compare()}
        except (ConfigError, RegistryError, OSError) as error:
            raise ValueError(str(error)) from None

    async def drain(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start no runs, for a `duration` if one is given; with `end`, start them again."""
        duration = request.get("duration")
        seconds = None if duration is None else parse_duration(str(duration))
        self._checks.drain(active=not request.get("end"), seconds=seconds)
        return {"drained": self._checks.drained}

    async def check(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run checks now. Return the documents of their `results`, those that were `cancelled`, and in
        `places` file and line of each check.
        """
        chosen = select(
            self._checks.config,
            _names(request, "names"),
            tags=_names(request, "tags"),
            everything=bool(request.get("all")),
        )
        disabled = [check.name for check in chosen.checks if not check.enabled]
        if disabled:
            raise ValueError(f"disabled, the daemon does not run it: {', '.join(disabled)}")
        started_at, begun = self._clock.time(), time.monotonic()
        found: dict[str, Result | None] = {check.name: None for check in chosen.checks}

        async def run(name: str) -> None:
            found[name] = await self._checks.now(name)

        with anyio.move_on_after(RUN_SECONDS):
            async with anyio.create_task_group() as tasks:
                for name in found:
                    tasks.start_soon(run, name)
        results = [result for result in found.values() if result is not None]
        if not results:
            raise ValueError("nothing was run: the daemon is drained")
        return {
            "warning": chosen.warning,
            "started_at": timestamp(started_at),
            "duration_s": round(time.monotonic() - begun, 6),
            "results": [result_document(result) for result in results],
            "cancelled": [name for name, result in found.items() if result is None],
            "places": {
                check.name: [check.position.file, check.position.line]
                for check in chosen.checks
                if check.position is not None
            },
        }


def _names(request: Mapping[str, Any], key: str) -> Sequence[str]:
    value = request.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} must be a list of names")
    return value
