"""Each check over time: its state, its memory, and its last results, bounded.

Results and configurations go in, events come out. Transitions are on disk (`Store.transitions`); those
that are not stored yet are in `pending`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from probed.config import Check
from probed.events import (
    Configured,
    Event,
    FlappingChanged,
    Recorded,
    Released,
    Removed,
    Reset,
    Suppressed,
    VerdictChanged,
)
from probed.model import Outcome, Result, Transition, Verdict
from probed.state import CheckState, Thresholds, advance
from probed.store.checks import TRANSITIONS, SavedCheck, Snapshot

RESULTS = 60
"""Summaries of results that are stored per check."""
TOTAL = 50_000
"""Summaries stored for all checks together, 250 bytes each; every check has at least five."""
PENDING = 10_000
"""Transitions that wait to be stored; where the disk fails, the oldest are dropped."""
RARE = 60.0
"""Interval in seconds from which on each result of a check is saved: the next one is long in coming."""
SLICES = 60
"""Calls of `snapshot` in which the state of every check is saved once, also where only times changed."""


class Past(NamedTuple):
    """The summary of a result that is not the last: a whole one takes some 3 KB, and is work for
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


@dataclass(slots=True)
class CheckHistory:
    """One check: its state and committed memory, its last result, the last one that was not ok,
    summaries of those before (at most `room`), and the failing checks that it depends on.
    """

    check: Check
    state: CheckState = field(default_factory=CheckState)
    memory: Mapping[str, Any] = field(default_factory=dict)
    past: tuple[Past, ...] = ()
    room: int = RESULTS
    last: Result | None = None
    last_not_ok: Result | None = None
    suppressed_by: tuple[str, ...] = ()
    unsaved: bool = False
    unsaved_result: bool = False

    @property
    def failing(self) -> bool:
        """Whether failures of what depends on this check may be its fault."""
        state = self.state
        return self.check.enabled and (state.verdict is Verdict.DOWN or state.failed_streak > 0)

    def saved(self, *, results: bool) -> SavedCheck:
        """Return what is stored of the check, with its last results where they are asked for."""
        probe, last, not_ok = self.check.probe, self.last, self.last_not_ok
        saved = SavedCheck(probe.kind, self.check.target, self.state, self.memory)
        if results:
            saved.last = None if last is not_ok else last
            saved.last_not_ok = not_ok if self.unsaved_result else None
        return saved


class History:
    """All checks by name, in the order of the configuration. `saved` is what an earlier process knew."""

    def __init__(
        self, checks: Iterable[Check] = (), saved: Mapping[str, SavedCheck] | None = None
    ) -> None:
        self.checks: dict[str, CheckHistory] = {}
        self.pending: deque[Transition] = deque(maxlen=PENDING)
        self._children: dict[str, list[str]] = {}
        self._slice = 0
        self.replace(checks, saved=saved)

    def replace(
        self,
        checks: Iterable[Check],
        *,
        at: float = 0.0,
        saved: Mapping[str, SavedCheck] | None = None,
    ) -> tuple[Event, ...]:
        """Work with these checks from now on. What is known of a check stays while its kind and target
        are the same; a check that is new goes on from what is `saved`. `at` is seconds since the epoch.
        """
        before, checks = self.checks, tuple(checks)
        was = {name: (entry.check, entry.suppressed_by) for name, entry in before.items()}
        room = max(5, min(RESULTS, TOTAL // max(1, len(checks))))
        self.checks = {check.name: _entry(check, before, saved or {}, room) for check in checks}
        self._children = {}
        for entry in self.checks.values():
            for parent in entry.check.depends_on:
                self._children.setdefault(parent, []).append(entry.check.name)
        for entry in self.checks.values():
            entry.suppressed_by = self._failing_above(entry.check)
        removed = [
            Removed(at, old.check, old.last, old.state.verdict)
            for name, old in before.items()
            if was[name][0].enabled
            and (name not in self.checks or not self.checks[name].check.enabled)
        ]
        events: list[Event] = [*removed]
        for entry in self.checks.values():
            if entry.check.enabled:
                events += _changed(entry, before.get(entry.check.name), was, at)
        return tuple(events)

    def apply(self, result: Result, memory: Mapping[str, Any] | None = None) -> tuple[Event, ...]:
        """Record a result, and the memory that its run left; return what it changed, in order."""
        entry = self.checks[result.check]
        check, old, was_failing = entry.check, entry.state, entry.failing
        thresholds = Thresholds(check.fail_after, check.recover_after, check.flap_damping)
        state, transition = advance(old, result, thresholds)
        entry.state = state
        if memory is not None:
            entry.memory = memory
        entry.past = (*entry.past, Past.of(result))[-entry.room :]
        entry.last = result
        if result.outcome is not Outcome.OK:
            entry.last_not_ok = result
        if result.outcome is not Outcome.OK or check.interval >= RARE:
            entry.unsaved = entry.unsaved_result = True
        # The times alone of a check that is well can be lost: they are saved now and then.
        entry.unsaved |= bool(entry.memory) or not (old.healthy and state.healthy)
        at = result.started_at + result.duration_s
        recorded = Recorded(at, check, result, state)
        if transition is None and entry.failing is was_failing and old.flapping is state.flapping:
            return (recorded,)
        events: list[Event] = [recorded]
        if transition is not None:
            entry.unsaved = True
            self.pending.append(transition._replace(suppressed_by=entry.suppressed_by))
            events.append(
                VerdictChanged(at, check, result, old.verdict, state.verdict, entry.suppressed_by)
            )
        if old.flapping is not state.flapping:
            events.append(FlappingChanged(at, check, result, state.flapping))
        if entry.failing is not was_failing and check.name in self._children:
            events += self._suppress_below(check.name, at)
        return tuple(events)

    def snapshot(self, *, everything: bool = False) -> Snapshot:
        """Return what has to be saved; it counts as saved from now on. With `everything`, all that is
        known; else what has changed, and a slice of the checks of which only times did.
        """
        self._slice = (self._slice + 1) % SLICES
        found = {}
        for number, (name, entry) in enumerate(self.checks.items()):
            due = everything or number % SLICES == self._slice
            if entry.unsaved or (due and entry.state.last_run is not None):
                found[name] = entry.saved(results=everything or entry.unsaved_result)
                entry.unsaved = entry.unsaved_result = False
        transitions = tuple(self.pending)
        return Snapshot(found, transitions)

    def confirm(self, snapshot: Snapshot, *, saved: bool) -> None:
        """Forget the transitions that were saved; where saving failed, all of it stays to be saved."""
        if saved:
            done = set(map(id, snapshot.transitions))  # the oldest may have been dropped meanwhile
            while self.pending and id(self.pending[0]) in done:
                self.pending.popleft()
            return
        for name, check in snapshot.checks.items():
            if name in self.checks:
                self.checks[name].unsaved = True
                self.checks[name].unsaved_result |= bool(check.last or check.last_not_ok)

    def pending_of(self, name: str) -> list[Transition]:
        """Return the latest transitions of a check that are not saved yet."""
        return [each for each in self.pending if each.check == name][-TRANSITIONS:]

    def _suppress_below(self, name: str, at: float) -> list[Event]:
        events: list[Event] = []
        below = deque(self._children.get(name, ()))
        seen = set(below)
        while below:
            entry = self.checks[below.popleft()]
            by = self._failing_above(entry.check)
            if by != entry.suppressed_by:
                entry.suppressed_by = by
                events.append(_suppression(entry, at))
            further = [n for n in self._children.get(entry.check.name, ()) if n not in seen]
            seen.update(further)
            below.extend(further)
        return events

    def _failing_above(self, check: Check) -> tuple[str, ...]:
        """Return the failing checks that it depends on, those that it names first."""
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


def _entry(
    check: Check,
    before: Mapping[str, CheckHistory],
    saved: Mapping[str, SavedCheck],
    room: int,
) -> CheckHistory:
    entry, known = before.get(check.name), saved.get(check.name)
    if entry is None or not _same_target(entry.saved(results=False), check):
        entry = CheckHistory(check)
        if known is not None and check.name not in before and _same_target(known, check):
            entry.state, entry.memory = known.state, known.memory
            entry.last, entry.last_not_ok = known.last, known.last_not_ok
    entry.check = check
    entry.room, entry.past = room, entry.past[-room:]
    return entry


def _changed(
    entry: CheckHistory,
    old: CheckHistory | None,
    was: Mapping[str, tuple[Check, tuple[str, ...]]],
    at: float,
) -> list[Event]:
    """Return what a reload means for an enabled check."""
    check, last, events = entry.check, entry.last, list[Event]()
    before, suppressed_by = was.get(check.name, (None, ()))
    if old is not None and old is not entry and before is not None and before.enabled:
        events.append(Reset(at, check, old.last, old.state.verdict))
    if before != check:
        events.append(Configured(at, check, last, entry.state, entry.suppressed_by))
    elif entry.suppressed_by != suppressed_by:
        events.append(_suppression(entry, at))
    return events


def _suppression(entry: CheckHistory, at: float) -> Event:
    verdict = entry.state.verdict
    if entry.suppressed_by:
        return Suppressed(at, entry.check, entry.last, verdict, entry.suppressed_by)
    return Released(at, entry.check, entry.last, verdict)


def _same_target(saved: SavedCheck, check: Check) -> bool:
    return (saved.kind, saved.target) == (check.probe.kind, check.target)
