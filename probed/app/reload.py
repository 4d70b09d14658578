"""Reload: all of a new configuration takes effect, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
from anyio import to_thread

from probed.clock import Clock
from probed.config import Config, ConfigError
from probed.config.diff import Changes, compare, lines
from probed.config.watching import fingerprint
from probed.documents import timestamp
from probed.registry import RegistryError

log = logging.getLogger("probed.config")

LOOK_INTERVAL = 2.0
"""Seconds between two looks at the files. A change is applied when two looks find the same."""
MANY_CHECKS = 10
"""Of that many checks, a reload that removes more than half has to be forced: the file may be half
written.
"""


class Reloadable(Protocol):
    """The daemon, as a reload needs it."""

    @property
    def config(self) -> Config: ...

    def change(self, config: Config) -> None:
        """Work from another configuration. Raises ValueError where that is not possible."""

    def reloading(self) -> None:
        """A reload begins."""

    def reloaded(self, *, ok: bool) -> None:
        """A reload has ended."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of a reload: the changes, or else the errors, one per line."""

    ok: bool
    lines: tuple[str, ...]


class Reloader:
    """Reloads, one at a time."""

    def __init__(
        self,
        daemon: Reloadable,
        clock: Clock,
        load: Callable[[], Config] | None,
        origins: Callable[[], Config] | None = None,
    ) -> None:
        self._daemon = daemon
        self._clock = clock
        self._load = load
        self._origins = origins
        self._lock = anyio.Lock()
        self._at = clock.time()
        self._error = ""
        self._tried = ""
        self._begun = 0
        self._force = False
        self._last = Reloaded(ok=True, lines=())

    async def reload(self, *, force: bool = False, expected: str | None = None) -> Reloaded:
        """Read the configuration again and work from it. A bad one changes nothing, and neither does one
        that removes most checks, unless it is forced. With `expected`, the files have to have that
        fingerprint when they have been read.

        Those who ask while one goes on share the next.
        """
        begun = self._begun
        self._force |= force
        async with self._lock:
            if self._begun == begun:
                self._begun += 1
                force, self._force = self._force, False
                self._daemon.reloading()
                try:
                    self._last = await self._reload(force=force, expected=expected)
                finally:
                    self._daemon.reloaded(ok=not self._error)
            return self._last

    async def _reload(self, *, force: bool, expected: str | None) -> Reloaded:
        try:
            changes = await self._apply(force=force, expected=expected)
        except (ConfigError, RegistryError, ValueError, OSError) as error:
            self._error = str(error)
            log.error("the configuration was not reloaded:\n%s", self._error)  # noqa: TRY400  # the text is the whole of it
            return Reloaded(ok=False, lines=tuple(self._error.splitlines()))
        self._error = ""
        self._at = self._clock.time()
        for warning in self._daemon.config.warnings:
            log.warning("%s", warning)
        log.info("the configuration was reloaded: %s", summary(changes))
        return Reloaded(ok=True, lines=tuple(lines(changes)))

    async def compare(self) -> list[str]:
        """Return what a reload would change. Raises ConfigError if the reload would fail."""
        new = await self._read()
        return lines(compare(self._daemon.config, new))

    @property
    def has_files(self) -> bool:
        """Whether the places of values are known."""
        return self._origins is not None

    async def with_origins(self) -> Config:
        """Return the configuration in the files, with the place of each value. Raises ConfigError."""
        assert self._origins is not None
        return await to_thread.run_sync(self._origins)

    async def watch(self) -> None:
        """Reload when the files have changed, while the configuration says so."""
        self._tried = seen = await self._look()
        while True:
            await self._clock.sleep(LOOK_INTERVAL)
            if not self._daemon.config.service.watch:
                continue
            before, seen = seen, await self._look()
            # Half-written files settle; a bad one is not read again until it changes.
            if seen == before != self._tried:
                self._tried = seen
                await self.reload(expected=seen)
                seen = await self._look()

    def status(self) -> Mapping[str, Any]:
        """Return the state of the last reload, for the API."""
        path = self._daemon.config.path
        return {
            "file": None if path is None else str(path),
            "loaded_at": timestamp(self._at),
            "last_reload_ok": not self._error,
            "error": self._error or None,
        }

    async def _look(self) -> str:
        return await to_thread.run_sync(fingerprint, self._daemon.config)

    async def _read(self) -> Config:
        if self._load is None:
            raise ValueError("this daemon has no file to reload")
        return await to_thread.run_sync(self._load)

    async def _apply(self, *, force: bool, expected: str | None) -> Changes:
        new = await self._read()
        if expected is not None and await self._look() != expected:
            raise ValueError(
                "the files changed while they were read; waiting until they are stable"
            )
        changes = compare(self._daemon.config, new)
        before, removed = len(self._daemon.config.checks), len(changes.removed)
        if not force and before >= MANY_CHECKS and removed > before / 2:
            raise ValueError(
                f"{removed} of {before} checks would be removed. If that is intended, run "
                "`probed reload --force`"
            )
        fixed = [d.path for d in changes.settings if not d.reloadable]
        if fixed:
            raise ValueError(
                f"{', '.join(fixed)} cannot change while the daemon is running: restart it, or restore "
                "the previous value"
            )
        self._daemon.change(new)
        return changes


def summary(changes: Changes) -> str:
    """`2 added, 1 removed, 3 changed`, or that nothing has changed."""
    counts = {
        "added": len(changes.added),
        "removed": len(changes.removed),
        "changed": len(changes.changed),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if changes.settings:
        told += f"{', ' if told else ''}settings {', '.join(d.path for d in changes.settings)}"
    return told or "nothing has changed"
