"""Whether a service answers more slowly than it used to: its latest waits against its usual ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from probed import Run
from probes.gateway.reasons import GatewayReason

RECENT = 5
USUAL = 60
WARM_UP = 20
"""Waits that must be known before anything is judged."""
RISE_S = 0.05
"""A smaller rise is nothing that anybody would notice, whatever its factor."""
KEY = "wait_s"
"""Where `run.memory` keeps the latest waits, in seconds, the oldest first."""


def judge(run: Run, wait_s: float, factor: float | None) -> None:
    """Remember the wait of a good answer; find `http.latency_trend` where the median of the latest
    ones is `factor` times that of all that are remembered.
    """
    if factor is None:
        run.memory.pop(KEY, None)
        return
    from statistics import median  # noqa: PLC0415  # few ask for it

    waits = [*remembered(run.memory), round(wait_s, 4)][-USUAL:]
    run.memory[KEY] = waits
    if len(waits) < WARM_UP:
        return
    usual, recent = median(waits), median(waits[-RECENT:])
    if recent >= usual * factor and recent - usual >= RISE_S:
        run.degraded(
            GatewayReason.LATENCY_TREND,
            f"The last {RECENT} answers took {_ms(recent)} to begin, "
            f"{recent / max(usual, 0.0001):.3g} times the usual {_ms(usual)}.",
            evidence={"recent_s": recent, "usual_s": usual, "answers": len(waits)},
        )


def remembered(memory: Mapping[str, Any]) -> list[float]:
    """The waits that are kept there; none where another version kept something else."""
    kept = memory.get(KEY)
    if not isinstance(kept, list) or not all(map(_is_wait, kept)):
        return []
    return [float(wait) for wait in kept[-USUAL:]]


def _is_wait(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value < 1e6
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
