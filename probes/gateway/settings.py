"""The settings of the gateway kind."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from probed import Request, SecretStr, Settings, Tls, Url, check_header
from probes.gateway.health import Format

_RANGE = re.compile(r"(\d{3})(?:-(\d{3}))?\Z")


def _statuses(value: object) -> object:
    if not isinstance(value, list | tuple):
        value = [value]
    found: list[tuple[int, int]] = []
    for item in value:
        if isinstance(item, tuple):
            found.append(item)
            continue
        match = _RANGE.match(str(item)) if isinstance(item, int | str) else None
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

Headers = Annotated[dict[str, SecretStr], Field(max_length=50)]


class Health(Settings):
    """How the body is read as a health document."""

    format: Format = "auto"
    """`auto` finds out; any other makes a body that is not of it a failure."""
    require: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """Components that must be there and be ok."""


class Endpoint(Settings):
    """An address to send GET to, with its headers."""

    url: Url
    """The URL to ask."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; their values are secrets and shown nowhere."""
    tls: Tls = Tls()
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
    """What it is called in phases and findings."""
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
