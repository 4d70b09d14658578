"""Saves what has changed, once a second, and reads transitions for whoever looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol

from probed.clock import Clock
from probed.engine.history import History
from probed.model import Transition
from probed.store.checks import TRANSITIONS, Store

REST_SECONDS = 0.3
"""Seconds in which times and last results of checks that are up are written at shutdown: some thousands."""
SAVE_INTERVAL = 1.0
"""Seconds between two looks at what has to be saved."""


class Metrics(Protocol):
    """Receives whether saving works."""

    def saved(self, *, ok: bool) -> None:
        """An attempt to save has ended."""


class Saver:
    """Brings the history to the store. `flush` returns when telemetry of all results is on disk."""

    def __init__(
        self,
        history: History,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._history = history
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._flush = flush

    async def run(self) -> None:
        """Save until cancelled."""
        while True:
            await self._clock.sleep(SAVE_INTERVAL)
            await self.save()

    async def save(self, *, everything: bool = False) -> None:
        """Save what has changed, or all that is known. Traces go to disk first: what is known must not
        run ahead of what was told.
        """
        renewed = self._store.renewed
        snapshot = self._history.snapshot(everything=everything or renewed)
        on_disk = self._store.path is not None
        if not snapshot.transitions and not (on_disk and snapshot.checks):
            return
        if on_disk:
            await self._flush()
        seconds = REST_SECONDS if everything else inf
        saved = await self._store.save(snapshot, self._clock.time(), seconds=seconds)
        if on_disk:
            self._metrics.saved(ok=saved)
        if saved and renewed:
            self._store.renewed = False
        self._history.confirm(snapshot, saved=saved)

    async def transitions(self, name: str) -> list[Transition]:
        """Return the transitions of a check, the oldest first, those that are not saved yet included."""
        found = [*await self._store.transitions(name), *self._history.pending_of(name)]
        entry = self._history.checks.get(name)
        if entry is None:
            return []
        # Those of an earlier target are another story.
        ours = (entry.check.probe.kind, entry.check.target)
        return [each for each in found if (each.probe, each.target) == ours][-TRANSITIONS:]
