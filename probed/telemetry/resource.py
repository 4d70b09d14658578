"""Attributes of the OpenTelemetry resource, built without the SDK."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from probed.telemetry import conventions as names

if TYPE_CHECKING:
    from probed.config.service import Service

log = logging.getLogger("probed.telemetry")

DEFAULT_NAME = "probed"
INSTANCE_FILE = "instance-id"


def resource_attributes(
    service: Service, environ: Mapping[str, str], *, version: str, instance: str
) -> dict[str, str]:
    """Return the attributes. The configuration takes precedence over `OTEL_SERVICE_NAME`, that over
    `OTEL_RESOURCE_ATTRIBUTES`, and that over the defaults.
    """
    attributes = {
        names.SERVICE_NAME: DEFAULT_NAME,
        names.SERVICE_INSTANCE_ID: instance,
        names.SERVICE_VERSION: version,
    }
    attributes.update(_from_environment(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    if environ.get("OTEL_SERVICE_NAME"):
        attributes[names.SERVICE_NAME] = environ["OTEL_SERVICE_NAME"]
    if service.name != DEFAULT_NAME:
        attributes[names.SERVICE_NAME] = service.name
    if service.environment is not None:
        attributes[names.DEPLOYMENT_ENVIRONMENT_NAME] = service.environment
    if service.location is not None:
        attributes[names.LOCATION] = service.location
    # A variable that is not UTF-8 has surrogates, which protobuf cannot encode.
    return {key: value.encode("utf-8", "replace").decode() for key, value in attributes.items()}


def _from_environment(text: str) -> dict[str, str]:
    """Parse `key=value,key=value`, percent-encoded (resource SDK specification)."""
    found: dict[str, str] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            log.warning("OTEL_RESOURCE_ATTRIBUTES: ignoring an item that is not key=value")
            continue
        found[unquote(key.strip())] = unquote(value.strip())
    return found


def instance_id(state_dir: Path | None) -> str:
    """Return the UUID of this installation, stored in the state directory; a random one without it."""
    if state_dir is None:
        return str(uuid.uuid4())
    path = state_dir / INSTANCE_FILE
    try:
        return str(uuid.UUID(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError):
        pass
    made = str(uuid.uuid4())
    try:
        _write(path, made)
    except OSError as error:
        log.warning("%s cannot be written (%s): service.instance.id changes with every start",
                    path, error.strerror)  # fmt: skip
    return made


def _write(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
