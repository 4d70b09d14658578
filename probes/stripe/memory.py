"""The last result of each step, saved in `run.memory`: a problem stays known while its step is not due."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from probed import Fault, Finding, Outcome
from probes.stripe.reasons import BY_VALUE, OF_THE_KEY
from probes.stripe.step import Step

SLACK = 0.05
"""The part of its cadence that a step may be run too early: ticks are not exact."""
FINDING_LIMIT = 5
"""Findings of one step that are saved."""
_NETWORK = frozenset({"dns", "connect", "tls", "timeout", "http", "self"})
"""Areas of reasons after which nothing is known."""


@dataclass(slots=True)
class Last:
    """The last result of a step, and its time (seconds since the epoch). `again` says that it was failing
    before, too; `learned` that what it looks at is known: if not, it is due again at once.
    """

    at: float
    found: list[Finding] = field(default_factory=list)
    measured: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    again: bool = False
    learned: bool = True

    @property
    def failing(self) -> bool:
        return any(each.level is Outcome.FAILED for each in self.found)


class StepMemory:
    """The last result of each step, and until when Stripe wants to be left alone.

    What other settings or another version left there is passed over.
    """

    def __init__(self, saved: MutableMapping[str, Any], settings: str, now: float) -> None:
        if saved.get("settings") != settings:
            saved.clear()
            saved["settings"] = settings
        self._saved = saved
        self._now = now
        found = saved.get("steps")
        self.steps: dict[str, Last] = {}
        if isinstance(found, Mapping):
            for name, document in found.items():
                last = _read(document)
                if last is not None:
                    self.steps[name] = last

    def due(self, name: str, cadence: float) -> bool:
        """Whether the step is to be run now: its time has come, or it came to nothing, or it has
        just begun to fail, which is worth a second look.
        """
        last = self.steps.get(name)
        if last is None or not last.learned or (last.failing and not last.again):
            return True
        return not 0 <= self._now - last.at < cadence * (1 - SLACK)

    def record(self, step: Step) -> None:
        """Record what the step has found."""
        before = self.steps.get(step.name)
        fault = step.fault
        self.steps[step.name] = Last(
            step.now,
            step.run.findings[:FINDING_LIMIT],
            step.measured,
            # Of a step that did not come to its end, what was known counts still.
            step.facts if fault is None or before is None else {**before.facts, **step.facts},
            again=before is not None and before.failing,
            learned=fault is None or not _says_nothing(fault),
        )

    def save(self) -> None:
        self._saved["steps"] = {name: _write(last) for name, last in self.steps.items()}

    @property
    def held(self) -> float:
        """Seconds for which Stripe wants to be left alone, from now on."""
        until = self._number("held_until")
        # A clock that was set back must not hold us for long.
        return max(0.0, min(until - self._now, self._number("held_for")))

    def hold(self, shortest: float, longest: float) -> None:
        """Leave Stripe alone for twice as long as the last time, within bounds."""
        seconds = min(max(2 * self._number("held_for"), shortest), longest)
        self._saved["held_for"], self._saved["held_until"] = seconds, self._now + seconds

    def release(self) -> None:
        """Stripe answers again."""
        self._saved.pop("held_for", None)
        self._saved.pop("held_until", None)

    def _number(self, name: str) -> float:
        value = self._saved.get(name)
        return float(value) if isinstance(value, int | float) else 0.0

    def fact(self, step: str, name: str) -> Any:
        """Return what a step has recorded under that name, or None."""
        last = self.steps.get(step)
        return None if last is None else last.facts.get(name)


def _says_nothing(fault: Fault) -> bool:
    return fault.reason in OF_THE_KEY or fault.reason.partition(".")[0] in _NETWORK


def _write(last: Last) -> dict[str, Any]:
    return {
        "at": last.at,
        "found": [[n.level.value, str(n.reason), n.message, dict(n.evidence)] for n in last.found],
        "measured": [list(each) for each in last.measured],
        "facts": last.facts,
        "again": last.again,
        "learned": last.learned,
    }


def _read(document: Any) -> Last | None:
    try:
        return Last(
            float(document["at"]),
            [
                Finding(Outcome(level), BY_VALUE[reason], str(message), dict(evidence))
                for level, reason, message, evidence in document["found"]
            ],
            [(str(name), float(value), dict(given)) for name, value, given in document["measured"]],
            dict(document["facts"]),
            bool(document["again"]),
            bool(document["learned"]),
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
