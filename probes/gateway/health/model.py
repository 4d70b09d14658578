"""The one model that all health formats are read into, and the words that they use."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from probed import Outcome

DEPTH_LIMIT = 6
COMPONENT_LIMIT = 200
TEXT_LIMIT = 200


class NotThisFormat(ValueError):  # noqa: N818  # it says what the body is, not what went wrong
    """The body is not of the one format that was asked for. The text is ours, and may be shown."""


class ComponentKind(StrEnum):
    """The kind of a component."""

    COMPONENT = "component"
    UPSTREAM = "upstream"
    BREAKER = "breaker"
    POOL = "pool"
    CHECK = "check"


class Component(NamedTuple):
    """One part that the document names.

    `path` is its place in the document (`circuitBreakers/billing`), `raw` the word of the source.
    `observed` and `limit` are numbers in `unit`: of a pool what is in use and what there is, of a
    breaker the failure rate and its threshold.
    """

    path: str
    kind: ComponentKind
    status: Outcome
    raw: str
    observed: float | None = None
    limit: float | None = None
    unit: str | None = None


class HealthDocument(NamedTuple):
    """A health payload. `status` is the document's own word, whatever its components say.

    `truncated` says that components were left out: too many, or too deep.
    """

    format: str
    status: Outcome
    components: tuple[Component, ...] = ()
    truncated: bool = False
    version: str | None = None

    @property
    def worst(self) -> Component | None:
        """The first of the components that are worst off; None where there are none.

        An aggregate that says UNKNOWN is passed over when its parts are there to be asked:
        Spring says so of `circuitBreakers` as soon as one of them is open or half open.
        """
        parents = {component.path.rpartition("/")[0] for component in self.components}
        asked = (
            component
            for component in self.components
            if component.status is not Outcome.UNKNOWN or component.path not in parents
        )
        return max(asked, key=lambda component: component.status.rank, default=None)

    def named(self, name: str) -> tuple[Component, ...]:
        """The components that `name` means: that path, all under it, and `name:measurement`."""
        return tuple(
            component
            for component in self.components
            if component.path == name or component.path.startswith((f"{name}/", f"{name}:"))
        )


WORDS: Mapping[str, Outcome] = {
    word: status
    for status, words in (
        (Outcome.OK, "pass ok up healthy serving true +"),
        (Outcome.DEGRADED, "warn warning degraded half_open draining out_of_service"),
        (
            Outcome.FAILED,
            "fail error down unhealthy critical open forced_open unavail dns_error false -",
        ),
        (Outcome.UNKNOWN, "unknown checking disabled healthchecks_off"),
    )
    for word in words.split()
}
"""The meaning of the status words of all formats. Other words mean unknown."""

# resilience4j's states, and the statuses that its indicators make of them.
BREAKER_WORDS: Mapping[str, Outcome] = {
    **WORDS,
    "closed": Outcome.OK,
    "circuit_open": Outcome.FAILED,
    "circuit_half_open": Outcome.DEGRADED,
}
