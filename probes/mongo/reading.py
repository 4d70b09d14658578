"""Reading what a server replied: everything may be missing, or of another type than it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, TypeAlias

Document: TypeAlias = "Mapping[str, Any]"
DEPTH = 8
WIDTH = 200


def number(document: object, *path: str) -> float | None:
    """The number there; None where there is none that is finite."""
    value = at(document, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if isfinite(found) else None


def count(document: object, *path: str) -> float | None:
    """The number there that is not negative."""
    found = number(document, *path)
    return found if found is not None and found >= 0 else None


def text(document: object, *path: str) -> str:
    value = at(document, *path)
    return value if isinstance(value, str) else ""


def milliseconds(document: object, *path: str) -> int | None:
    """The date there in ms since the epoch: dates are decoded to a type that is a number of them."""
    value: Any = at(document, *path)
    if type(value).__name__ != "DatetimeMS":
        return None
    found = int(value)
    return found if abs(found) < 1 << 62 else None


def documents(document: object, *path: str) -> list[Document]:
    """The documents of the list there, the first of them."""
    value = at(document, *path)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [each for each in value[:WIDTH] if isinstance(each, Mapping)]


def batch(reply: object) -> list[Document] | None:
    """Return the first documents of a cursor; None where the reply holds no cursor."""
    value = at(reply, "cursor", "firstBatch")
    return documents(reply, "cursor", "firstBatch") if isinstance(value, list) else None


def at(document: object, *path: str) -> object:
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def shape(value: object, depth: int = DEPTH) -> Any:
    """Keys and types of a value, and none of its values."""
    if isinstance(value, Mapping):
        if not depth:
            return "{…}"
        return {str(key): shape(inner, depth - 1) for key, inner in list(value.items())[:WIDTH]}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        kinds: list[Any] = []
        for inner in value[:WIDTH]:
            found = shape(inner, depth - 1) if depth else "…"
            if found not in kinds:
                kinds.append(found)
        return kinds
    return "null" if value is None else type(value).__name__
