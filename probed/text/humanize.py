"""Numbers for people: the measurements of a run, one line per measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from probed.model import Measure, Measurement, MetricType

LISTED = 8
"""Values of one measure that are listed; more are summarised as a range."""
_EPOCH = 1e9
"""Seconds above this are a point in time, not a duration."""


def seconds(value: float) -> str:
    """Return a duration for people: three digits, in ms below one second."""
    if value < 0.0995:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.2f} s"


def measure_lines(measures: Sequence[Measurement], indent: str) -> Iterator[str]:
    """Yield one line per measure, its values labelled by the attributes in which they differ.

    Where some values of a measure are not 0, those that are 0 are left out: of ten states, only the
    current one is shown.
    """
    sets = [set(one.attributes) for one in measures]
    everywhere = set.intersection(*filter(None, sets)) if sum(map(bool, sets)) > 1 else set()
    groups: dict[str, list[Measurement]] = {}
    for one in measures:
        groups.setdefault(one.measure.name, []).append(one)
    for name, group in groups.items():
        nonzero = [one for one in group if one.value] or group
        shared = (
            set.intersection(*(set(one.attributes) for one in nonzero)) if len(group) > 1 else set()
        )
        common = ", ".join(
            f"{key}={text}"
            for key, text in nonzero[0].attributes
            if (key, text) in shared - everywhere
        )
        head = f"{indent}{name}{'{' + common + '}' if common else ''}"
        yield f"{head} = {_values(nonzero, shared | everywhere, len(group))}"


def _values(shown: Sequence[Measurement], shared: set[tuple[str, str]], of: int) -> str:
    measure = shown[0].measure
    if len(shown) > LISTED or (measure.kind is MetricType.HISTOGRAM and len(shown) > 1):
        low, high = min(one.value for one in shown), max(one.value for one in shown)
        extent = (
            _text(measure, low)
            if low == high
            else f"{_number(low, measure)} to {_text(measure, high)}"
        )
        return f"{len(shown)} values, {extent}"
    parts = []
    for one in shown:
        label = "/".join(
            text for pair in one.attributes if pair not in shared and (text := pair[1])
        )
        # Of a set of states, name the current one only.
        state = label and one.value == 1 and not measure.unit and of > len(shown)
        parts.append(label if state else f"{label} {_text(measure, one.value)}".strip())
    return ", ".join(parts)


def _text(measure: Measure, value: float) -> str:
    unit = measure.unit.strip("{}")
    if unit == "s":
        if value > _EPOCH:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return seconds(value)
    return f"{value:g}{' ' + unit if unit and unit != '1' else ''}"


def _number(value: float, measure: Measure) -> str:
    return _text(measure, value) if measure.unit == "s" else f"{value:g}"
