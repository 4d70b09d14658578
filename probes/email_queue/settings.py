"""The settings of the email_queue kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from probed import Duration, HostPort, Private, SecretStr, Settings, Thresholds, Tls
from probes.email_queue.tally import QUEUES

Word = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Key = Annotated[str, Field(min_length=1, max_length=512)]
_CODE = {"$where", "$function", "$accumulator"}
"""Operators of MongoDB that run programs."""


def _no_code(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _CODE:
                raise PydanticCustomError("filter", "{name} may not stand here", {"name": key})
            _no_code(item)
    elif isinstance(value, list):
        for item in value:
            _no_code(item)
    return value


class Command(Settings):
    """A program that tells of the queue. It is given `PATH` and no other variable."""

    run: Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]
    """The program and its arguments, as a list: no shell reads them."""


class Postqueue(Settings):
    """Postfix's queue, by `postqueue -j`: a JSON object for each message."""

    run: Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)] = ("postqueue", "-j")
    """The program and its arguments, as a list; it must be allowed to look
    (`authorized_mailq_users`).
    """


class RedisKey(Settings):
    """One queue that stands under a key of Redis."""

    key: Key
    """The key."""
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Name of the queue; by default the key."""
    type: Literal["list", "zset", "stream"] = "list"
    """Type of the key: a list, a sorted set by time, or a stream."""
    oldest: Literal["first", "last"] = "last"
    """Which end of a list is the oldest: `last` where LPUSH adds to it."""
    time: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Of a list of JSON objects: the member that says since when it waits, as seconds or
    milliseconds since the epoch or as RFC 3339. Without it the age is not known.
    """


class Redis(Settings):
    """Queues in Redis."""

    address: HostPort
    """The server."""
    keys: Annotated[tuple[RedisKey, ...], Field(min_length=1, max_length=QUEUES - 1)]
    """The queues."""
    database: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """The number of the database."""
    username: Private | None = None
    """As whom to log in (ACL); needs a password."""
    password: SecretStr | None = None
    """The password."""
    tls: Tls | None = None
    """Speak TLS; `tls: {}` for the usual rules."""


class Mongodb(Settings):
    """A queue that is a collection of MongoDB: each document a message that waits."""

    address: HostPort
    """The server."""
    database: Key
    """The database."""
    collection: Key
    """The collection."""
    filter: Annotated[dict[str, Any], AfterValidator(_no_code)] = Field(default_factory=dict)
    """Which of its documents wait, as a query of MongoDB; there should be an index for it."""
    time: Key | None = None
    """The field that says since when it waits: a date, or seconds or milliseconds since the epoch."""
    username: Private | None = None
    """As whom to log in."""
    password: SecretStr | None = None
    """The password."""
    auth_source: Key = "admin"
    """The database that knows the user."""
    tls: Tls | None = None
    """Speak TLS; `tls: {}` for the usual rules."""


class Age(Thresholds):
    """How long mail may wait."""

    degraded: Duration | None = 900.0
    """Waiting longer than this is `degraded`; null disables it."""
    failed: Duration | None = 3600.0
    """Waiting longer than this is `failed`; null disables it."""
    messages: Annotated[int, Field(ge=1)] = 1
    """At least this many messages must be this old: postfix keeps undeliverable mail for five days.
    It applies only where the source lists each message.
    """


class Depth(Thresholds):
    """How many messages may wait."""

    degraded: Count | None = None
    failed: Count | None = None


class Growth(Thresholds):
    """How fast the queue may grow over the last runs, in messages a minute."""

    degraded: Rate | None = None
    failed: Rate | None = None
