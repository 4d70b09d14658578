"""The `drift` section: where the application says what it has processed, and how far it may be off."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from probed import Duration, Latency, SecretStr, Settings, Thresholds, Tls, Url
from probes.gateway.paths import SinglePath
from probes.gateway.settings import sendable

Name = Annotated[str, Field(min_length=1, max_length=200)]
FieldPath = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=100)]


def _part(value: object) -> object:
    """A part of 1, of `0.5%` or a number."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            raise PydanticCustomError("part", "write a part such as 0.5% or 0.005") from None
    return value


Part = Annotated[
    float,
    BeforeValidator(_part),
    Field(ge=0, le=10, allow_inf_nan=False),
    PlainSerializer(lambda part: f"{part * 100:g}%"),
    WithJsonSchema({"type": ["string", "number"], "pattern": r"^[0-9.]+%$"}),
]
"""A part of 1."""


class Lag(Latency):
    """How far the application may be behind Stripe's newest event."""

    degraded: Duration | None = 300.0
    failed: Duration | None = 1800.0


class Tolerance(Thresholds):
    """How much the application's count may differ, as a part of Stripe's."""

    degraded: Part | None = 0.005
    failed: Part | None = 0.02


class HttpSource(Settings):
    """An endpoint of the application that says what it has processed."""

    url: Url
    """The URL to ask; it answers with JSON."""
    headers: Annotated[dict[str, SecretStr], Field(max_length=50)] = Field(default_factory=dict)
    """Headers to send; their values are secrets and shown nowhere."""
    tls: Tls = Tls()
    """How its certificate is verified."""
    last_event: SinglePath
    """Where `created` of the last event that was processed stands, such as `$.last_event_created`: in
    seconds, in milliseconds, or as RFC 3339.
    """
    active: SinglePath | None = None
    """Where the count of active subscriptions stands."""

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return sendable(headers)


class Counted(Settings):
    """Documents of a MongoDB collection to count."""

    collection: Name
    """The collection."""
    where: dict[FieldPath, str | int | bool | None] = Field(default_factory=dict, max_length=20)
    """Fields and values that the documents must have, such as `{status: active}`."""


class MongoSource(Settings):
    """A MongoDB collection that holds what was processed."""

    uri: SecretStr
    """Connection string; the user needs no more than to read."""
    database: Name
    """The database."""
    collection: Name
    """The collection of processed events."""
    last_event: FieldPath = "created"
    """The field that holds `created` of an event; an index on it makes this cheap."""
    active: Counted | None = None
    """Where active subscriptions are counted."""


class SqlSource(Settings):
    """Tables that hold what was processed."""

    library: Literal["psycopg", "sqlite3"]
    """The library to ask with, by PEP 249: it has to be installed."""
    dsn: SecretStr
    """Connection string for the library; for sqlite3 a file."""
    last_event: Annotated[str, Field(min_length=1, max_length=2000)]
    """Query for `created` of the last event that was processed, such as
    `select max(created) from stripe_events`; the connection may only read.
    """
    active: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """Query for the count of active subscriptions."""


Source: TypeAlias = HttpSource | MongoSource | SqlSource


class Drift(Settings):
    """Where the application says what it has processed, and how far it may be off. One of `app`,
    `mongo` and `sql`.
    """

    app: HttpSource | None = None
    """An HTTP endpoint."""
    mongo: MongoSource | None = None
    """A MongoDB collection."""
    sql: SqlSource | None = None
    """An SQL database."""
    lag: Lag = Lag()
    """How far behind Stripe's newest event the application may be; younger ones than
    `events.grace` do not count.
    """
    count: Tolerance = Tolerance()
    """How much the counts of active subscriptions may differ."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.app, self.mongo, self.sql)) != 1:
            raise ValueError("write one of app, mongo and sql")
        return self

    @property
    def source(self) -> Source:
        found = self.app or self.mongo or self.sql
        assert found is not None
        return found
