"""Events: what a Result, a reload or a restart changed. `History` returns them, `publish` hands them out.

    Event
    |- Recorded          a run's Result was recorded; the state after it
    |- VerdictChanged    the verdict of a check changed
    |- FlappingChanged   a check began or stopped flapping
    |- Suppressed        alerts of a check are suppressed: a dependency is failing
    |- Released          they no longer are, whatever the check's own verdict
    |- Configured        a check is in the configuration, new or with other settings
    |- Reset             it has another target: its state, memory and history were dropped
    `- Removed           it is no longer run: removed or disabled

Every event has its time (`at`, seconds since the epoch), its check, and the check's latest Result
(None before the first run).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from probed.config.model import Check
from probed.judgement import place_of
from probed.model import Result, Verdict
from probed.state import CheckState

log = logging.getLogger("probed.events")


class Recorded(NamedTuple):
    """A run's Result was recorded. `state` is the check's state after it."""

    at: float
    check: Check
    result: Result
    state: CheckState


class VerdictChanged(NamedTuple):
    """The verdict changed. `suppressed_by` names the failing dependencies that suppress its alert."""

    at: float
    check: Check
    result: Result
    old: Verdict
    new: Verdict
    suppressed_by: tuple[str, ...] = ()


class FlappingChanged(NamedTuple):
    """The check began (`flapping`) or stopped changing its outcome all the time."""

    at: float
    check: Check
    result: Result
    flapping: bool


class Suppressed(NamedTuple):
    """Alerts of the check are suppressed while these dependencies are failing. Sent again when the
    dependencies change.
    """

    at: float
    check: Check
    result: Result | None
    verdict: Verdict
    by: tuple[str, ...]


class Released(NamedTuple):
    """No dependency is failing any more. Where the check is still down, its alert is due now."""

    at: float
    check: Check
    result: Result | None
    verdict: Verdict


class Configured(NamedTuple):
    """The check is part of the configuration from now on: new, or with changed settings."""

    at: float
    check: Check
    result: Result | None
    state: CheckState
    suppressed_by: tuple[str, ...] = ()


class Reset(NamedTuple):
    """The check has another target or kind: its state, memory and history were dropped."""

    at: float
    check: Check
    result: Result | None
    verdict: Verdict


class Removed(NamedTuple):
    """The check is no longer run. `verdict` is its last."""

    at: float
    check: Check
    result: Result | None
    verdict: Verdict


Event: TypeAlias = (
    Recorded
    | VerdictChanged
    | FlappingChanged
    | Suppressed
    | Released
    | Configured
    | Reset
    | Removed
)
Subscriber: TypeAlias = Callable[[Event], None]
"""Called with each event, in order, on the event loop. It must be quick: slow work is its own task's."""


class Publisher:
    """Hands events to its subscribers, in the order of both."""

    def __init__(self, subscribers: Sequence[Subscriber]) -> None:
        self._subscribers = tuple(subscribers)

    def publish(self, events: Iterable[Event]) -> None:
        """Hand over each event. A subscriber that raises is logged and keeps no other from it."""
        for event in events:
            for subscriber in self._subscribers:
                try:
                    subscriber(event)
                except Exception as error:  # noqa: BLE001  # one sink must not silence the others
                    _complain(subscriber, event, error)


def _complain(subscriber: Subscriber, event: Event, error: Exception) -> None:
    """Log type and place of the error; its text may hold anything."""
    name = getattr(subscriber, "__qualname__", type(subscriber).__qualname__)
    log.error(
        "%s failed on %s of check %s: %s %s",
        name, type(event).__name__, event.check.name, type(error).__name__, place_of(error),
    )  # fmt: skip
