"""The last results of each check, bounded; the API, the status page and the demo read it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from probed.config import Check
from probed.model import Outcome, Result, Transition
from probed.state import CheckState

RESULTS = 60
TRANSITIONS = 20


@dataclass(slots=True)
class CheckHistory:
    """One check: its state, its last results, its last failed one (kept longer), its transitions."""

    check: Check
    state: CheckState = field(default_factory=CheckState)
    results: deque[Result] = field(default_factory=lambda: deque(maxlen=RESULTS))
    last_not_ok: Result | None = None
    transitions: deque[Transition] = field(default_factory=lambda: deque(maxlen=TRANSITIONS))

    @property
    def last(self) -> Result | None:
        return self.results[-1] if self.results else None


class History:
    """All checks by name, in the order of the configuration."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self.checks = {check.name: CheckHistory(check) for check in checks}

    def take(self, result: Result, state: CheckState, transition: Transition | None) -> None:
        history = self.checks[result.check]
        history.state = state
        history.results.append(result)
        if result.outcome is not Outcome.OK:
            history.last_not_ok = result
        if transition is not None:
            history.transitions.append(transition)
