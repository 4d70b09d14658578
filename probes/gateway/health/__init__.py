"""Health payloads, normalised: what a service says of itself and of its parts.

A body of no known shape is the format `other`, never an error: the peer decides what it sends, we
decide what we make of it.
"""

from probes.gateway.health.formats import Format, parse, read
from probes.gateway.health.loading import Body, load
from probes.gateway.health.mapped import Mapped
from probes.gateway.health.model import (
    COMPONENT_LIMIT,
    DEPTH_LIMIT,
    TEXT_LIMIT,
    WORDS,
    Component,
    ComponentKind,
    HealthDocument,
    NotThisFormat,
)

__all__ = [
    "COMPONENT_LIMIT",
    "DEPTH_LIMIT",
    "TEXT_LIMIT",
    "WORDS",
    "Body",
    "Component",
    "ComponentKind",
    "Format",
    "HealthDocument",
    "Mapped",
    "NotThisFormat",
    "load",
    "parse",
    "read",
]  # fmt: skip
