"""Common parts of all OTLP exports: resource and scope, as the SDK's types."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version

from probed.telemetry.conventions import SCHEMA_URL, SERVICE_VERSION


def sdk_resource(attributes: Mapping[str, str]) -> Resource:
    """Return the attributes as the SDK's resource, with the attributes of the SDK itself."""
    sdk = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
    }
    return Resource({**sdk, **attributes}, SCHEMA_URL)


def scope(resource: Resource) -> InstrumentationScope:
    return InstrumentationScope(
        "probed", str(resource.attributes.get(SERVICE_VERSION, "")), SCHEMA_URL
    )


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)
