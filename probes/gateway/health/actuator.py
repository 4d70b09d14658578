"""The Spring Boot Actuator's health (its reference, "Health Information"), with the indicators of
resilience4j.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.gateway.health.loading import Parts, mapping_of, name_of, status_of
from probes.gateway.health.model import BREAKER_WORDS, ComponentKind, HealthDocument


def looks(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("status"), str):
        return False
    return isinstance(value.get("groups"), list) or bool(_children(value))


def read(value: Any) -> HealthDocument | None:
    if not isinstance(mapping_of(value).get("status"), str) or isinstance(
        value.get("checks"), dict
    ):
        return None
    parts = Parts()
    _walk(parts, (), _children(value))
    return parts.document("actuator", value)


def _children(node: Any) -> Mapping[str, Any]:
    """`components`, or what is like a component in `details`: before Spring Boot 2.2, and in
    resilience4j's indicators still.
    """
    components = mapping_of(node).get("components")
    if isinstance(components, dict):
        return components
    return {
        name: part
        for name, part in mapping_of(mapping_of(node).get("details")).items()
        if isinstance(part, dict) and not part.keys().isdisjoint({"status", "state", "details"})
    }


def _walk(parts: Parts, above: tuple[str, ...], nodes: Mapping[str, Any]) -> None:
    for name, node in nodes.items():
        path = (*above, name_of(name))
        if not _add(parts, path, node):
            return
        _walk(parts, path, _children(node))


def _add(parts: Parts, path: tuple[str, ...], node: Any) -> bool:
    if not isinstance(node, dict):
        return parts.add(path, ComponentKind.COMPONENT, status_of(node))
    details = mapping_of(node.get("details"))
    group = path[-2] if len(path) > 1 else ""
    state = details.get("state", node.get("state"))
    if group == "circuitBreakers" or (isinstance(state, str) and "failureRate" in details):
        # The rate is -1.0% while there are too few calls to tell: no percentage, so not observed.
        word = state if isinstance(state, str) else node.get("status")
        return parts.add(
            path,
            ComponentKind.BREAKER,
            status_of(word, BREAKER_WORDS),
            observed=details.get("failureRate"),
            limit=details.get("failureRateThreshold"),
            unit="%" if "failureRate" in details else None,
        )
    if group == "rateLimiters" and "availablePermissions" in details:
        left = details["availablePermissions"]
        return parts.add(
            path,
            ComponentKind.COMPONENT,
            status_of(node.get("status")),
            observed=left,
            unit="permissions",
        )
    return parts.add_detailed(path, ComponentKind.COMPONENT, status_of(node.get("status")), details)
