"""One document of a check's state, for the API, the control socket and the page. Times are RFC 3339."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from probed.documents import result_document, timestamp
from probed.engine.history import CheckHistory
from probed.model import Transition


def state_document(entry: CheckHistory) -> dict[str, Any]:
    """Return a check, its verdict, and why. `reason` and `message` are those of the last run."""
    state, check, last = entry.state, entry.check, entry.last
    worst = None if last is None else last.worst
    return {
        "check": check.name,
        "probe": check.probe.kind,
        "target": check.target,
        "enabled": check.enabled,
        "severity": check.severity.value,
        "verdict": state.verdict.value,
        "since": _time(state.since or None),
        "consecutive_failures": state.failed_streak,
        "flapping": state.flapping,
        "suppressed_by": list(entry.suppressed_by),
        "last_run": _time(state.last_run),
        "last_success": _time(state.last_success),
        "reason": None if worst is None else str(worst.reason),
        "message": None if worst is None else worst.message,
    }


def check_document(entry: CheckHistory) -> dict[str, Any]:
    """Return the state of a check, and its last result."""
    last = entry.last
    return state_document(entry) | {"last": None if last is None else result_document(last)}


def history_document(entry: CheckHistory, transitions: Iterable[Transition]) -> dict[str, Any]:
    """Return all that is known of a check: also its last result that was not ok, summaries of recent
    results, and its transitions.
    """
    not_ok = entry.last_not_ok
    return check_document(entry) | {
        "last_not_ok": None if not_ok is None else result_document(not_ok),
        "recent": [
            {
                "started_at": timestamp(past.started_at),
                "duration_s": round(past.duration_s, 6),
                "outcome": past.outcome.value,
                "reason": past.reason,
                "trace_id": past.trace_id,
            }
            for past in entry.past
        ],
        "transitions": [transition_document(each) for each in transitions],
    }


def transition_document(transition: Transition) -> dict[str, Any]:
    return {
        "at": timestamp(transition.at),
        "old": transition.old.value,
        "new": transition.new.value,
        "reason": transition.reason,
        "message": transition.message,
        "trace_id": transition.trace_id,
        "suppressed_by": list(transition.suppressed_by),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)
