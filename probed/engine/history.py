"""What is known of each check: its state, what it remembers, and its last results, bounded.

The one record of a check while the daemon runs: results go in, the API, the demo and the store read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from probed.config import Check
from probed.model import Outcome, Result, Transition, Verdict
from probed.state import CheckState, Thresholds, advance
from probed.store.checks import SavedCheck

RESULTS = 60
"""Results of one check of which something is kept ..."""
TOTAL = 50_000
"""... and of all together, at 250 bytes each; of each check at least five."""
TRANSITIONS = 20


class Past(NamedTuple):
    """What is kept of a result that is not the last: a whole one takes some 3 KB, and is work for
    each garbage collection.
    """

    started_at: float
    duration_s: float
    outcome: Outcome
    reason: str | None
    trace_id: str

    @classmethod
    def of(cls, result: Result) -> Past:
        worst = result.worst
        reason = None if worst is None else str(worst.reason)
        return cls(result.started_at, result.duration_s, result.outcome, reason, result.trace_id)


class Change(NamedTuple):
    """What is kept of a transition: its result is let go of."""

    at: float
    old: Verdict
    new: Verdict
    reason: str | None
    message: str | None
    trace_id: str

    @classmethod
    def of(cls, transition: Transition) -> Change:
        result, worst = transition.result, transition.result.worst
        reason, message = (None, None) if worst is None else (str(worst.reason), worst.message)
        return cls(transition.at, transition.old, transition.new, reason, message, result.trace_id)


@dataclass(slots=True)
class CheckHistory:
    """One check: its state and memory, its last result, the last one that was not ok, what is kept
    of those before (at most `room`), its transitions, and the failing checks that it depends on.
    """

    check: Check
    state: CheckState = field(default_factory=CheckState)
    memory: dict[str, Any] = field(default_factory=dict)
    past: tuple[Past, ...] = ()
    room: int = RESULTS
    last: Result | None = None
    last_not_ok: Result | None = None
    transitions: tuple[Change, ...] = ()
    held_by: tuple[str, ...] = ()
    unsaved: bool = False

    @property
    def failing(self) -> bool:
        """What depends on this check is not to be blamed."""
        return self.state.verdict is Verdict.DOWN or self.state.failed_streak > 0

    @property
    def kept(self) -> SavedCheck:
        probe = self.check.probe
        return SavedCheck(probe.kind, probe.target, self.state, self.memory)


class History:
    """All checks by name, in the order of the configuration."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self.checks: dict[str, CheckHistory] = {}
        self._children: dict[str, list[str]] = {}
        self.replace(checks)

    def replace(self, checks: Iterable[Check]) -> None:
        """Have these checks; what is known of one stays with it while it asks the same target in
        the same way.
        """
        before, checks = self.checks, tuple(checks)
        self.checks = {}
        room = max(5, min(RESULTS, TOTAL // max(1, len(checks))))
        for check in checks:
            entry = before.get(check.name)
            if entry is None or not _same(entry.kept, check):
                entry = CheckHistory(check)
            entry.check = check
            entry.room, entry.past = room, entry.past[-room:]
            self.checks[check.name] = entry
        self._children = {}
        for entry in self.checks.values():
            for parent in entry.check.depends_on:
                self._children.setdefault(parent, []).append(entry.check.name)
        for entry in self.checks.values():
            entry.held_by = self._failing_above(entry.check)

    def restore(self, kept: Mapping[str, SavedCheck]) -> None:
        """Go on from what an earlier process knew, where no result has come in yet."""
        for name, what in kept.items():
            entry = self.checks.get(name)
            if entry is not None and entry.last is None and _same(what, entry.check):
                entry.state, entry.memory = what.state, what.memory
        self.replace([entry.check for entry in self.checks.values()])

    def take(self, result: Result) -> tuple[Transition | None, tuple[str, ...]]:
        """Take a result in. Returns the transition if the verdict has changed, and the names of the
        checks whose `held_by` is now another.
        """
        entry = self.checks[result.check]
        check, old, was_failing = entry.check, entry.state, entry.failing
        thresholds = Thresholds(check.fail_after, check.recover_after, check.flap_damping)
        entry.state, transition = advance(old, result, thresholds)
        if transition is not None:
            transition = transition._replace(held_by=entry.held_by)
            entry.transitions = (*entry.transitions, Change.of(transition))[-TRANSITIONS:]
        entry.past = (*entry.past, Past.of(result))[-entry.room :]
        entry.last = result
        if result.outcome is not Outcome.OK:
            entry.last_not_ok = result
        # The times alone of a check that is well can be lost: they are saved now and then.
        entry.unsaved |= bool(entry.memory) or not (old.healthy and entry.state.healthy)
        if entry.failing is was_failing or check.name not in self._children:
            return transition, ()
        return transition, self._hold_below(check.name)

    def unsaved(self, *, everything: bool = False) -> dict[str, SavedCheck]:
        """What has to be saved; it counts as saved from now on."""
        found = {}
        for name, entry in self.checks.items():
            if entry.unsaved or (everything and entry.state.last_run is not None):
                entry.unsaved = False
                found[name] = entry.kept
        return found

    def keep(self, names: Iterable[str]) -> None:
        """They could not be saved: they still have to be."""
        for name in names:
            if name in self.checks:
                self.checks[name].unsaved = True

    def _hold_below(self, name: str) -> tuple[str, ...]:
        changed: dict[str, None] = {}
        below = deque(self._children.get(name, ()))
        seen = set(below)
        while below:
            entry = self.checks[below.popleft()]
            held_by = self._failing_above(entry.check)
            if held_by != entry.held_by:
                entry.held_by = held_by
                changed[entry.check.name] = None
            further = [n for n in self._children.get(entry.check.name, ()) if n not in seen]
            seen.update(further)
            below.extend(further)
        return tuple(changed)

    def _failing_above(self, check: Check) -> tuple[str, ...]:
        """The failing checks that it depends on, those that it names first."""
        found: dict[str, None] = {}
        above = deque(check.depends_on)
        seen = set(above)
        while above:
            parent = self.checks.get(above.popleft())
            if parent is None:
                continue
            if parent.failing:
                found[parent.check.name] = None
            further = [name for name in parent.check.depends_on if name not in seen]
            seen.update(further)
            above.extend(further)
        return tuple(found)


def _same(kept: SavedCheck, check: Check) -> bool:
    return (kept.kind, kept.target) == (check.probe.kind, check.probe.target)
