"""The settings of the gateway kind."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from probed import (
    Direction,
    Latency,
    Request,
    SecretStr,
    Settings,
    Thresholds,
    Tls,
    Url,
    check_header,
)
from probes.gateway.health import Format, Mapped
from probes.gateway.paths import SinglePath

_RANGE = r"(\d{3})(?:-(\d{3}))?\Z"


def _statuses(value: object) -> object:
    if not isinstance(value, list | tuple):
        value = [value]
    found: list[tuple[int, int]] = []
    for item in value:
        if isinstance(item, tuple):
            found.append(item)
            continue
        match = re.match(_RANGE, str(item)) if isinstance(item, int | str) else None
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 100 <= low <= high <= 599:
            raise PydanticCustomError("status", "write statuses as 200 or 200-299")
        found.append((low, high))
    return tuple(found)


def written(status: tuple[int, int]) -> str:
    """A range of statuses as it is written: `204` or `200-299`."""
    low, high = status
    return f"{low}" if low == high else f"{low}-{high}"


Statuses = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(_statuses),
    Field(min_length=1, max_length=50),
    PlainSerializer(lambda ranges: [written(r) for r in ranges]),
    WithJsonSchema({
        "type": "array",
        "items": {"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": r"^\d{3}(-\d{3})?$"},
        ]},
    }),
]  # fmt: skip
"""Expected statuses: a list of `204` and `200-299`."""

Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Headers = Annotated[dict[str, SecretStr], Field(max_length=50)]


class Trend(Latency):
    """How long an answer may take to begin, by itself and beside the usual."""

    trend: Annotated[float, Field(ge=1.1, le=1000, allow_inf_nan=False)] | None = None
    """The median of the last 5 waits that is `degraded`, as a multiple of that of the last 60."""


class PoolPlace(Settings):
    """A pool that a JSON body tells of: what is in use, and what there is."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """Name in findings and measures."""
    used: SinglePath
    """Where the number in use stands, such as `$.pool.active`."""
    limit: SinglePath
    """Where the number that there is stands."""


class Utilization(Thresholds):
    """How much of a pool may be in use, as a part of its size."""

    direction: ClassVar[Direction] = "at_least"

    degraded: Share | None = 0.8
    """This part or more is `degraded`; null disables it."""
    failed: Share | None = 1.0
    """This part or more is `failed`; null disables it."""


class Health(Settings):
    """How the body is read as a health document."""

    format: Format = "auto"
    """`auto` finds out; any other makes a body that is not of it a failure."""
    map: Mapped | None = None
    """Where the statuses stand in a JSON of the site's own."""
    pools: Annotated[tuple[PoolPlace, ...], Field(max_length=50)] = ()
    """Pools to judge, beside those that the health document itself gives both numbers of."""
    utilization: Utilization = Utilization.model_construct()
    """How much of each pool may be in use."""
    require: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """Components that must be there and be ok."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if self.map is not None and self.format != "auto":
            raise ValueError("write either a format or a map, not both")
        return self


class Endpoint(Settings):
    """An address to send GET to, with its headers."""

    url: Url
    """The URL to ask."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; their values are secrets and shown nowhere."""
    tls: Tls = Tls.model_construct()
    """How the certificate is verified."""

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return sendable(headers)

    @cached_property
    def request(self) -> Request:
        return Request(self.url, headers=self.headers, tls=self.tls)


class Upstream(Endpoint):
    """A backend that is asked directly, beside the gateway."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    """Name in phases and findings."""
    status: Statuses = ((200, 299),)
    """The statuses that mean it is well."""


def sendable(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """The headers, if they can be sent. Raises PydanticCustomError, which shows no value."""
    for name, value in headers.items():
        try:
            check_header(name, value.get_secret_value())
        except ValueError as error:
            why: dict[str, Any] = {"why": str(error)}
            raise PydanticCustomError("header", "{why}", why) from None
        if name.lower() in {"content-length", "transfer-encoding", "connection"}:
            raise PydanticCustomError("header", "the header {name} is ours to set", {"name": name})
    return headers


def expects(statuses: tuple[tuple[int, int], ...], status: int) -> bool:
    return any(low <= status <= high for low, high in statuses)
