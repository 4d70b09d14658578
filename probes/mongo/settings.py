"""The settings of the MongoDB kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from probed import Duration, Thresholds

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of 1."""
Database = Annotated[str, Field(pattern=r'^[^/\\. "$*<>:|?\x00]{1,63}$')]
"""A name as the manual allows it (Naming Restrictions)."""


class Connections(Thresholds):
    """How much of the connections that the server can take may be in use, as a part of 1."""

    degraded: Share | None = 0.8
    failed: Share | None = 0.95


class Active(Thresholds):
    """How many operations of users may run at once."""

    degraded: Amount | None = 100.0
    failed: Amount | None = None


class LongRunning(Thresholds):
    """How many operations of users may run for `long_running_after` and longer."""

    degraded: Amount | None = 0.0
    failed: Amount | None = 4.0


class Longest(Thresholds):
    """How long one operation of a user may run."""

    degraded: Duration | None = None
    failed: Duration | None = 300.0


class LockWaiters(Thresholds):
    """How many operations may wait for a lock."""

    degraded: Amount | None = 10.0
    failed: Amount | None = None


class SlowOperations(Thresholds):
    """How many slow operations a database may have in a minute, or since the last run where that
    is longer ago.
    """

    degraded: Amount | None = 5.0
    failed: Amount | None = None


class Lag(Thresholds):
    """How far a secondary may be behind the primary."""

    degraded: Duration | None = 10.0
    failed: Duration | None = 60.0
