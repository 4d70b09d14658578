"""ASP.NET Core health checks: the JSON of HealthChecks.UI, the one of Microsoft's own example
(`results` for `entries`), and the plain word that the default writer sends.
"""

from __future__ import annotations

from typing import Any

from probes.gateway.health.loading import Parts, mapping_of, name_of, status_of, word_of
from probes.gateway.health.model import ComponentKind, HealthDocument

_WORDS = {"healthy", "degraded", "unhealthy"}


def looks(value: Any) -> bool:
    return (
        isinstance(value, dict) and _is_status(value.get("status")) and _entries(value) is not None
    )


def read(value: Any) -> HealthDocument | None:
    """An entry that holds no object, or one without a status, is in no known state."""
    if _is_status(value):
        return HealthDocument("aspnet", status_of(value)[0])
    whole = mapping_of(value)
    if not _is_status(whole.get("status")):
        return None
    parts = Parts()
    for name, entry in (_entries(whole) or {}).items():
        part = mapping_of(entry)
        word = status_of(part.get("status"))
        if not parts.add_detailed((name_of(name),), ComponentKind.CHECK, word, part.get("data")):
            break
    return parts.document("aspnet", whole)


def _entries(value: Any) -> dict[str, Any] | None:
    return next(
        (v for key in ("entries", "results") if isinstance(v := value.get(key), dict)), None
    )


def _is_status(value: object) -> bool:
    return isinstance(value, str) and word_of(value) in _WORDS
