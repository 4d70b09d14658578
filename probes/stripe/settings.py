"""The settings of the stripe kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from probed import Direction, Duration, Latency, Probe, SecretStr, Settings, Thresholds, Tls, Url
from probes.stripe.drift_settings import Drift

HOUR = 3600.0
DAY = 86400.0
LIVE = "https://api.stripe.com"
FLOOR = 10_000
"""Reads a month that Stripe allows every account (docs.stripe.com/rate-limits)."""
_KEY = re.compile(r"(sk|rk|pk)_(live|test)_\w+\Z", re.ASCII)

EventType = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=100)]
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


class StripeSettings(Probe):
    """The settings of one Stripe check."""

    mode: Literal["live", "test"] = "live"
    """Of which mode the key and all answers must be."""
    allow_secret_key: bool = False
    """Take a live secret key, `sk_live_…`, too; a restricted one is enough."""
    api_base: Url = Url(LIVE)
    """Where the API is; another address is for tests."""
    key: SecretStr | None = Field(default=None, validate_default=True)
    """The restricted API key, `rk_live_…`."""
    key_shared: bool = True
    """The application uses this key or one of its kind: where Stripe rejects it, that is `failed`,
    else `unknown`.
    """
    api_version: Annotated[str | None, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[.a-z]*$")] = None
    """Version of the API to ask for; else the SDK's own."""
    steps: Steps = Steps()
    """How often each step is run."""
    ping: Literal["balance", "charges"] = "balance"
    """Object that the step `api` reads; `charges` needs the permission to read charges."""
    latency: Slow = Slow()
    """How long an answer may take to begin, from the end of the request."""
    read_allocation: Annotated[int, Field(ge=1)] = FLOOR
    """Reads a month that the account may make; `probed config check` compares."""
    tls: Tls = Tls()
    """How Stripe's certificate is verified."""

    webhook: Webhook | None = None
    """Our own webhook endpoint."""
    events: Events = Events()
    """Limits for undelivered events."""
    drift: Drift | None = None
    """Where the application says what it has processed."""

    @field_validator("api_base")
    @classmethod
    def _safe_base(cls, base: Url) -> Url:
        return read_base(base)

    @field_validator("key")
    @classmethod
    def _safe_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        given = info.data
        if key is not None and {"mode", "api_base", "allow_secret_key"} <= given.keys():
            read_key(
                key.get_secret_value(),
                mode=given["mode"],
                base=given["api_base"],
                allow_secret_key=given["allow_secret_key"],
            )
        return key

    @model_validator(mode="after")
    def _with_a_key(self) -> Self:
        steps = self.steps
        if self.key is None and any((steps.api, steps.events, steps.endpoints, steps.drift)):
            off = "steps: {api: null, events: null, endpoints: null, drift: null}"
            raise ValueError(f"write the key, or do without it: {off}")
        return self

    @cached_property
    def cadences(self) -> Mapping[str, float]:
        """Seconds between two runs of each step that is run at all, in the order of their telling."""
        steps = self.steps
        asked = self.webhook is not None and self.webhook.synthetic != "off"
        found = {
            "reach": steps.reach,
            "api": steps.api,
            "endpoints": steps.endpoints,
            "events": steps.events,
            "webhook": steps.webhook if asked else None,
            "drift": None if self.drift is None else steps.drift,
        }
        return {name: every for name, every in found.items() if every is not None}

    @property
    def secret_key(self) -> bool:
        """Whether the key may do more than read, with real money."""
        return self.key is not None and self.key.get_secret_value().startswith("sk_live_")

    @cached_property
    def fingerprint(self) -> str:
        """The settings but for their secrets: what was found under others is forgotten."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]
