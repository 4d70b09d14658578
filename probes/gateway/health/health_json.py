"""`application/health+json` (draft-inadarei-api-health-check-06, sections 3 and 4)."""

from __future__ import annotations

from typing import Any

from probed import Outcome
from probes.gateway.health.loading import Parts, mapping_of, name_of, status_of
from probes.gateway.health.model import ComponentKind, HealthDocument


def looks(value: Any) -> bool:
    if not isinstance(value, dict) or isinstance(value.get("components"), dict):
        return False
    status = value.get("status")
    return isinstance(value.get("checks"), dict) or (
        isinstance(status, str) and status.lower() in {"pass", "warn", "fail"}
    )


def read(value: Any) -> HealthDocument | None:
    """The value of each key of `checks` is an array; a bare object, or a bare word, is taken for an
    array of one.
    """
    checks = mapping_of(value).get("checks")
    whole = isinstance(mapping_of(value).get("status"), str | bool)
    if not isinstance(checks, dict) and (not whole or "components" in value):
        return None
    parts = Parts()
    for key, entries in mapping_of(checks).items():
        name = name_of(key)
        listed = entries if isinstance(entries, list) and entries else [entries]
        for number, entry in enumerate(listed):
            path = (name,) if len(listed) == 1 else (name, str(number))
            if not _add(parts, path, entry):
                return parts.document("health+json", value)
    return parts.document("health+json", value)


def _add(parts: Parts, path: tuple[str, ...], entry: Any) -> bool:
    if not isinstance(entry, dict):
        return parts.add(path, ComponentKind.CHECK, status_of(entry))
    _, _, measurement = path[0].rpartition(":")
    return parts.add(
        path,
        ComponentKind.POOL if measurement == "connections" else ComponentKind.CHECK,
        status_of(entry["status"]) if "status" in entry else (Outcome.OK, ""),
        observed=entry.get("observedValue"),
        unit=entry.get("observedUnit"),
    )
