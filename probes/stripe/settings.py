"""The settings of the stripe kind."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from probed import Direction, Duration, Latency, SecretStr, Settings, Thresholds, Tls, Url
from probes.gateway.paths import SinglePath
from probes.gateway.settings import sendable

HOUR = 3600.0
DAY = 86400.0
LIVE = "https://api.stripe.com"
_KEY = re.compile(r"(sk|rk|pk)_(live|test)_\w+\Z", re.ASCII)

EventType = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
FieldPath = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=100)]
Count = Annotated[int, Field(ge=1)]
Cadence = Annotated[Duration, Field(ge=1, le=7 * DAY)]


class Steps(Settings):
    """How often each step is run, if the check's interval is not longer; null switches it off."""

    reach: Cadence | None = 60.0
    """Is Stripe reachable? Asked without a key: it costs none of the allocation."""
    api: Cadence | None = 300.0
    """Does the API answer, and take the key?"""
    events: Cadence | None = 900.0
    """Are there events that were not delivered?"""
    endpoints: Cadence | None = HOUR
    """Is our webhook endpoint registered, enabled, and subscribed to what is required?"""
    webhook: Cadence | None = 300.0
    """Does our webhook endpoint verify signatures? Costs Stripe nothing."""
    drift: Cadence | None = 900.0
    """Has the application processed what Stripe has sent?"""


class Slow(Latency):
    """How long a response from Stripe, or from our endpoint, may take to begin."""

    degraded: Duration | None = 2.0
    failed: Duration | None = 10.0


class Webhook(Settings):
    """Our own webhook endpoint, asked as Stripe would."""

    url: Url
    """Where to post events, as the endpoint is registered at Stripe."""
    registered: Url | None = None
    """The URL as registered at Stripe, where `url` is another way to the same endpoint."""
    secret: SecretStr | None = None
    """The endpoint's signing secret, `whsec_…`; for `synthetic: signed`."""
    previous_secret: SecretStr | None = None
    """The secret before, while it is being rolled: is the application still at that one?"""
    synthetic: Literal["reject", "signed", "off"] = "reject"
    """`reject` posts a wrongly signed event, which must be refused; `signed` then also a rightly
    signed one of type `probed.ping`, which must be accepted; `off` posts nothing.
    """
    required_events: Annotated[tuple[EventType, ...], Field(max_length=100)] = ()
    """Types of events that the endpoint must be subscribed to."""
    timeout: Annotated[Duration, Field(ge=0.1, le=30)] = 10.0
    """How long an answer may take."""
    tls: Tls = Tls()
    """How the endpoint's certificate is verified."""

    @field_validator("secret", "previous_secret")
    @classmethod
    def _no_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and _KEY.match(secret.get_secret_value()):
            raise PydanticCustomError("secret", "this is an API key; write the whsec_… secret")
        return secret

    @model_validator(mode="after")
    def _signable(self) -> Self:
        if self.synthetic == "signed" and self.secret is None:
            raise ValueError("`synthetic: signed` needs the signing secret: secret: {env: NAME}")
        if self.previous_secret is not None and self.synthetic != "signed":
            raise ValueError("previous_secret is of use with `synthetic: signed` only")
        return self

    @property
    def known_as(self) -> Url:
        return self.registered or self.url


class Events(Thresholds):
    """Which events are read, and how many undelivered ones are too many."""

    direction: ClassVar[Direction] = "at_least"

    degraded: Count | None = 1
    """This many undelivered events or more are `degraded`; null disables it."""
    failed: Count | None = 10
    """This many undelivered events or more are `failed`; null disables it."""
    grace: Annotated[Duration, Field(ge=0, le=DAY)] = 300.0
    """Events younger than this may still be on their way."""
    lookback: Annotated[Duration, Field(ge=HOUR, le=30 * DAY)] = 7 * DAY
    """How far back to look; Stripe keeps events for 30 days."""
    max_pages: Annotated[int, Field(ge=1, le=10)] = 3
    """Pages of 100 events to read at most: each is a read of the allocation."""
    window: Annotated[Duration, Field(ge=60, le=DAY)] = HOUR
    """How far back `ratio` and `silent` look."""
    ratio: bool = False
    """Measure which part of the window's events was delivered: one more read."""
    silent: bool = False
    """No event in the window, though there were some in the same one yesterday, is `degraded`: up
    to two more reads.
    """


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
    """What the documents must be equal in, such as `{status: active}`."""


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
    """What the library connects to: a connection string, or of sqlite3 a file."""
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


def read_key(value: str, *, mode: str, base: Url, allow_secret_key: bool) -> None:
    """Check that the key may be used so. Raises PydanticCustomError, which shows nothing of it."""
    match = _KEY.match(value)
    if match is None:
        why = "not a Stripe API key: a restricted one begins with rk_live_ or rk_test_"
    elif match[1] == "pk":
        why = "a publishable key reads nothing; create a restricted key, rk_…"
    elif match[2] != mode:
        why = f"a key of {match[2]} mode, but the check is of {mode} mode"
    elif match[2] == "live" and base.rstrip("/") != LIVE:
        why = f"a live key is sent to {LIVE} only; remove api_base"
    elif (match[1], match[2]) == ("sk", "live") and not allow_secret_key:
        why = "a live secret key can move money; create a restricted key, or write allow_secret_key: true"
    else:
        return
    raise PydanticCustomError("key", "{why}", {"why": why})


def read_base(base: Url) -> Url:
    """Check that requests may be sent there. Raises PydanticCustomError."""
    loopback = base.host in {"localhost", "::1"} or base.host.startswith("127.")
    if not base.secure and not loopback:
        raise PydanticCustomError("base", "the key would go over the network in clear: write https")
    if base.path_and_query != "/":
        raise PydanticCustomError("base", "write scheme and host only, such as " + LIVE)
    return base
