"""The settings of the MongoDB kind."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from probed import Duration, Settings

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Database = Annotated[str, Field(pattern=r'^[^/\\. "$*<>:|?\x00]{1,63}$')]
"""A name as the manual allows it (Naming Restrictions)."""


class Bounds(Settings):
    """Two thresholds; null switches one off."""

    degraded_above: Amount | None = None
    """More than this is `degraded`."""
    failed_above: Amount | None = None
    """More than this is `failed`."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.degraded_above, self.failed_above
        if low is not None and high is not None and high < low:
            raise ValueError("failed_above must not be less than degraded_above")
        return self


class Connections(Bounds):
    """How much of the connections that the server can take may be in use, as a part of 1."""

    degraded_above: Annotated[float, Field(ge=0, le=1)] | None = 0.8
    """More than this part is `degraded`."""
    failed_above: Annotated[float, Field(ge=0, le=1)] | None = 0.95
    """More than this part is `failed`."""


class Active(Bounds):
    """How many operations of users may run at once."""

    degraded_above: Amount | None = 100.0
    """More than this is `degraded`."""


class LongRunning(Bounds):
    """How many operations of users may run for `long_running_after` and longer."""

    degraded_above: Amount | None = 0.0
    """More than this is `degraded`."""
    failed_above: Amount | None = 4.0
    """More than this is `failed`."""


class Longest(Settings):
    """How long one operation of a user may run."""

    degraded_above: Duration | None = None
    """Longer than this is `degraded`."""
    failed_above: Duration | None = 300.0
    """Longer than this is `failed`."""


class LockWaiters(Bounds):
    """How many operations may wait for a lock."""

    degraded_above: Amount | None = 10.0
    """More than this is `degraded`."""


class SlowOperations(Bounds):
    """How many slow operations a database may have in a minute, or since the last run where that
    is longer ago.
    """

    degraded_above: Amount | None = 5.0
    """More than this is `degraded`."""


class Lag(Settings):
    """How far a secondary may be behind the primary."""

    degraded_above: Duration | None = 10.0
    """More than this is `degraded`."""
    failed_above: Duration | None = 60.0
    """More than this is `failed`."""
