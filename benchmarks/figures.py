"""A figure with its bounds, and the table of all figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement: less is better. `minimum`, `goal` and `stretch` are its bounds."""

    name: str
    value: float
    unit: str
    minimum: float | None = None
    goal: float | None = None
    stretch: float | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """The best bound that the value meets."""
        bounds = (("stretch", self.stretch), ("goal", self.goal), ("minimum", self.minimum))
        if self.minimum is None:
            return ""
        return next((name for name, bound in bounds if bound and self.value <= bound), "missed")


def ratio(
    name: str, pairs: Sequence[tuple[float, float]], bounds: tuple[float, float, float], unit: str
) -> Figure:
    """Return the median of ours over theirs, round by round; `detail` has the median of each."""
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    value = statistics.median(mine / other for mine, other in pairs)
    return Figure(name, value, "", *bounds, detail=f"{ours:.0f} / {theirs:.0f} {unit}")


def quantile(part: float, buckets: Mapping[float, float]) -> float:
    """Return a quantile like Prometheus's `histogram_quantile`: linear within a bucket."""
    wanted, low, seen = part * max(buckets.values()), 0.0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return low
            inside = buckets[bound] - seen
            return low + (bound - low) * ((wanted - seen) / inside if inside else 1.0)
        low, seen = bound, buckets[bound]
    return low


def table(figures: Sequence[Figure]) -> str:
    """Return a Markdown table, for the terminal and docs/performance.md."""
    rows: list[tuple[str, ...]] = [
        ("Figure", "Measured", "Minimum", "Goal", "Stretch", "Reached", "Detail")
    ]
    rows += [
        (
            figure.name, f"{figure.value:.3g} {figure.unit}".strip(),
            *(("" if bound is None else f"{bound:g}") for bound in (figure.minimum, figure.goal, figure.stretch)),
            figure.verdict, figure.detail,
        )
        for figure in figures
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> str:
    """Return processor, cores and Python version."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def document(figures: Sequence[Figure]) -> str:
    """As JSON."""
    return json.dumps(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "figures": [{**asdict(figure), "verdict": figure.verdict} for figure in figures],
        },
        indent=2,
    )
