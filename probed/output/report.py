"""All results of one `probed check`, and the formats that need all of them at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from probed.documents import worst_of
from probed.model import Outcome, Result
from probed.output.document import check_document, counts


class Report(NamedTuple):
    """Results in the order of the configuration. `started_at` is seconds since the epoch;
    `places` are file and line of each check, by name.
    """

    results: Sequence[Result]
    started_at: float
    duration_s: float
    places: Mapping[str, tuple[str, int]] = MappingProxyType({})

    @property
    def outcome(self) -> Outcome:
        return worst_of(self.results)

    @property
    def bad(self) -> list[Result]:
        """Results that are not ok, the worst first."""
        found = [result for result in self.results if result.outcome is not Outcome.OK]
        return sorted(found, key=lambda result: -result.outcome.rank)


def summary_of(results: Sequence[Result]) -> str:
    """Return `6 ok, 1 degraded, 1 failed`."""
    return ", ".join(f"{count} {name}" for name, count in counts(results).items() if count)


def render_json(report: Report) -> str:
    document = check_document(
        report.results, started_at=report.started_at, duration_s=report.duration_s
    )
    return json.dumps(document, indent=2, allow_nan=False)
