"""Which format a body is of, and reading it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

from probed import Outcome
from probes.gateway.health import (
    actuator,
    aspnet,
    health_json,
    kubernetes,
    mapped,
    microprofile,
    simple,
)
from probes.gateway.health.loading import Body, load
from probes.gateway.health.model import TEXT_LIMIT, HealthDocument, NotThisFormat

Format: TypeAlias = Literal[
    "auto", "health+json", "actuator", "aspnet", "microprofile", "kubernetes", "simple"
]
"""Formats to choose from. A document may also turn out to be `other`."""


class _Format(NamedTuple):
    """How a format is announced (empty: never), what it looks like, and how it is read (None: it
    is not it).
    """

    media_type: str
    looks: Callable[[Any], bool]
    read: Callable[[Any], HealthDocument | None]


_FORMATS: Mapping[str, _Format] = {
    "health+json": _Format(
        r"application/(?:[\w.-]+\+)?health\+json\Z", health_json.looks, health_json.read
    ),
    "actuator": _Format(
        r"application/vnd\.spring-boot\.actuator\.v\d\+json\Z",
        actuator.looks,
        actuator.read,
    ),
    "aspnet": _Format("", aspnet.looks, aspnet.read),
    "microprofile": _Format("", microprofile.looks, microprofile.read),
    "kubernetes": _Format("", kubernetes.looks, kubernetes.read),
    "simple": _Format("", simple.looks, simple.read),
}


def parse(
    content_type: str,
    body: bytes,
    *,
    format: Format = "auto",  # noqa: A002  # the name of the setting
    map: mapped.Mapped | None = None,  # noqa: A002  # the name of the setting
) -> HealthDocument:
    """Return the health document in the body, in one model for all formats.

    Raises NotThisFormat if `format` is not `auto`, or a `map` is given, and the body is of another
    shape; nothing else.
    """
    return read(content_type, load(body), format=format, map=map)


def read(
    content_type: str,
    body: Body,
    *,
    format: Format = "auto",  # noqa: A002  # the name of the setting
    map: mapped.Mapped | None = None,  # noqa: A002  # the name of the setting
) -> HealthDocument:
    """As `parse`, of a body that is loaded already."""
    if map is not None:
        return mapped.read(body, map)
    if format != "auto":
        document = _FORMATS[format].read(body.value)
        if document is None:
            raise NotThisFormat(f"the body is not a health document of the format {format}")
        return document
    media_type = content_type[:TEXT_LIMIT].partition(";")[0].strip().lower()
    announced = (
        known
        for known in _FORMATS.values()
        if known.media_type and re.match(known.media_type, media_type)
    )
    alike = (known for known in _FORMATS.values() if known.looks(body.value))
    for known in chain(announced, alike):
        document = known.read(body.value)
        if document is not None:
            return document
    return HealthDocument("other", Outcome.UNKNOWN)
