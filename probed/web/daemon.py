"""The daemon, as the page and the API see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probed.engine.history import History
from probed.model import Result, Transition


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where the page and the API get what they show. `transitions` are those of a check, the oldest
    first; `daemon_metrics` name, labels and value of each series of the daemon; `settings` the text of a
    check's settings with their origins; `run` runs a check now, and returns its result, or None where it
    was not run.
    """

    history: History
    transitions: Callable[[str], Awaitable[Sequence[Transition]]]
    status: Callable[[], Mapping[str, Any]]
    daemon_metrics: Callable[[], Iterable[tuple[str, str, str]]]
    config: Callable[[], str]
    settings: Callable[[str], Awaitable[str]]
    run: Callable[[str], Awaitable[Result | None]]
    where: str = ""
