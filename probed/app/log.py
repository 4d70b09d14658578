"""The log as a subscriber of events: a line for whatever people should know of a check."""

from __future__ import annotations

import logging
from typing import Any

from probed.events import Event, FlappingChanged, Released, Removed, Reset, VerdictChanged
from probed.model import Result, Verdict

log = logging.getLogger("probed")

_WELL = {Verdict.UP, Verdict.PENDING}


def log_event(event: Event) -> None:
    """Log one event: what makes a check worse as a warning, the rest as information."""
    match event:
        case VerdictChanged():
            _log_verdict(event)
        case Released() if event.verdict not in _WELL:
            _line(
                event, logging.WARNING,
                "%s: still %s, and its dependencies have recovered%s",
                event.check.name, event.verdict.value, _why(event.result, ": "),
            )  # fmt: skip
        case FlappingChanged():
            text = "%s: flapping" if event.flapping else "%s: no longer flapping"
            _line(event, logging.INFO, text, event.check.name)
        case Removed() if event.verdict not in _WELL:
            _line(
                event,
                logging.WARNING,
                "%s: removed while %s",
                event.check.name,
                event.verdict.value,
            )
        case Reset() if event.verdict not in _WELL:
            _line(
                event, logging.WARNING, "%s: has another target now; it was %s",
                event.check.name, event.verdict.value,
            )  # fmt: skip
        case _:
            pass


def _log_verdict(event: VerdictChanged) -> None:
    why = _why(event.result, " ")
    worse = event.new is not Verdict.UP
    if event.suppressed_by and worse:
        why += f" (alert suppressed: {', '.join(event.suppressed_by)} is failing)"
    level = logging.WARNING if worse and not event.suppressed_by else logging.INFO
    _line(event, level, "%s: %s -> %s%s", event.check.name, event.old.value, event.new.value, why)


def _line(event: Event, level: int, text: str, *values: object) -> None:
    extra: dict[str, Any] = {"check": event.check.name}
    if isinstance(event, VerdictChanged):
        extra["verdict"] = event.new.value
    if event.result is not None:
        extra["trace_id"] = event.result.trace_id
    log.log(level, text, *values, extra=extra)


def _why(result: Result | None, before: str) -> str:
    why = "" if result is None else result.why
    return f"{before}{why}" if why else ""
