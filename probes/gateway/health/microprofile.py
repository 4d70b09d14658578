"""MicroProfile Health (4.0, "Response Codes and status mappings"): Quarkus, Open Liberty, Helidon."""

from __future__ import annotations

from typing import Any

from probes.gateway.health.loading import Parts, mapping_of, name_of, status_of, text_of, word_of
from probes.gateway.health.model import ComponentKind, HealthDocument


def looks(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("checks"), list)
        and word_of(value.get("status")) in {"up", "down"}
    )


def read(value: Any) -> HealthDocument | None:
    """Checks are a list, and several may have the same name: then all but the first are numbered."""
    if not looks(value):
        return None
    parts = Parts()
    seen: dict[str, int] = {}
    for check in value["checks"]:
        part = mapping_of(check)
        name = name_of(text_of(part.get("name"))) or "?"
        times = seen[name] = seen.get(name, 0) + 1
        path = (name,) if times == 1 else (name, str(times))
        if not parts.add_detailed(
            path, ComponentKind.CHECK, status_of(part.get("status")), part.get("data")
        ):
            break
    return parts.document("microprofile", value)
