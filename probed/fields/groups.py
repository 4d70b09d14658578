"""Groups of settings: their base class, and pairs of thresholds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from probed.fields.amounts import Duration
from probed.model import Outcome


class Settings(BaseModel):
    """A group of settings inside a probe's: frozen, unknown keys refused.

    As a default, `Group.model_construct()` is what `Group()` is, and builds no validator.
    `hints` gives, by unknown keys that people write, what to write instead.
    """

    hints: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


AddressChoice = Literal["any", "ipv4", "ipv6", "both"]
"""Over which addresses to ask: the first that connects, those of one family, or each family."""


Direction = Literal["above", "at_least", "below"]
"""When a threshold is crossed: by a greater value, an equal or greater one, or a smaller one."""
_CROSSED: Mapping[Direction, Callable[[float, float], bool]] = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
}


class Thresholds(Settings):
    """Two thresholds of one number, each of which may be null: that level is never found.

    A subclass states the `direction`, and in its fields the type of the number and the defaults.
    """

    direction: ClassVar[Direction] = "above"
    hints: ClassVar[Mapping[str, str]] = {
        "degraded_above": "write `degraded`",
        "failed_above": "write `failed`",
    }

    degraded: float | None = None
    """More than this is `degraded`; null disables it."""
    failed: float | None = None
    """More than this is `failed`; null disables it."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        written = self.model_fields_set
        if "degraded" in written and self.degraded is not None and self.failed is not None:
            below = self.direction == "below"
            if self.failed > self.degraded if below else self.failed < self.degraded:
                default = "" if "failed" in written else ", and its default is"
                raise ValueError(
                    f"failed must not be {'more' if below else 'less'} than degraded{default}"
                )
        return self

    def crossed(self, value: float) -> tuple[Outcome, float] | None:
        """Return the worst level that the value reaches, and its threshold; None if none."""
        beyond = _CROSSED[self.direction]
        if self.failed is not None and beyond(value, self.failed):
            return Outcome.FAILED, self.failed
        if self.degraded is not None and beyond(value, self.degraded):
            return Outcome.DEGRADED, self.degraded
        return None


class CertificateAge(Thresholds):
    """How long a certificate must remain valid."""

    direction: ClassVar[Direction] = "below"

    degraded: Duration | None = 21 * 86400.0
    """Less time left than this is `degraded`; null disables it."""
    failed: Duration | None = 3 * 86400.0
    """Less time left than this is `failed`; null disables it."""


class Latency(Thresholds):
    """How long something may take."""

    degraded: Duration | None = None
    failed: Duration | None = None
