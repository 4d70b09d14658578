"""The document of one `probed check`. Fields are added, never renamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from probed.documents import result_document, timestamp, worst_of
from probed.model import Outcome, Result

SCHEMA = "probed.check/1"


def check_document(
    results: Sequence[Result], *, started_at: float, duration_s: float
) -> dict[str, Any]:
    """Return what `probed check -o json` prints: one object."""
    return {
        "schema": SCHEMA,
        "outcome": worst_of(results).value,
        "started_at": timestamp(started_at),
        "duration_s": round(duration_s, 6),
        "counts": counts(results),
        "results": [result_document(result) for result in results],
    }


def counts(results: Iterable[Result]) -> dict[str, int]:
    """Return how many results have each outcome."""
    found = {outcome.value: 0 for outcome in (
        Outcome.OK, Outcome.DEGRADED, Outcome.FAILED, Outcome.UNKNOWN)}  # fmt: skip
    for result in results:
        found[result.outcome.value] += 1
    return found
