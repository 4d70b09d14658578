"""Since when something waits, as applications write it."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any

_MILLISECONDS = 1e11
"""Numbers from here on are milliseconds: as seconds, that is the year 5138."""


def epoch_of(value: Any) -> float | None:
    """Seconds since the epoch of a number, a date or RFC 3339 text; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                return epoch_of(datetime.fromisoformat(value[:64]))
            except (ValueError, OverflowError):
                return None
    if isinstance(value, int | float):
        try:
            seconds = float(value)
        except OverflowError:
            return None
        if isfinite(seconds) and seconds >= 0:
            return seconds / 1000 if seconds >= _MILLISECONDS else seconds
    return None
