"""From the bytes of a body to values, and from values to what the model holds: all bounded."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from probed import Outcome, sanitize
from probes.gateway.health.model import (
    COMPONENT_LIMIT,
    DEPTH_LIMIT,
    TEXT_LIMIT,
    WORDS,
    Component,
    ComponentKind,
    HealthDocument,
)

_GAP = re.compile(r"(?<=\w)[-\s]+(?=\w)")
_BEGIN = r"\{\s*(?:\"|\}|\Z)|\[\s*(?:[\[{\"\]\d]|\Z)"
"""A JSON object or array begins so, and text such as `[+]ping ok` does not."""
_PERCENT = r"\d{1,12}(?:\.\d{1,12})?%\Z"
# An integer of thousands of digits is an error to `int`, and an infinity to `float`.
_DECODER = json.JSONDecoder(parse_int=float)

# HikariCP's and Micrometer's names, in this order of preference.
_USED = ("activeConnections", "active")
_LIMIT = ("maximumPoolSize", "maxConnections", "max")
_FREE, _ALLOWED = "availableConcurrentCalls", "maxAllowedConcurrentCalls"


class Body(NamedTuple):
    """A body's JSON value; its text, where it is no JSON. Numbers are floats. `is_broken` says that it
    begins as JSON does, and is none.
    """

    value: Any
    is_json: bool
    is_broken: bool = False


def load(body: bytes) -> Body:
    """Never raises: what is not UTF-8, UTF-16 or UTF-32 is replaced."""
    text = body.decode(json.detect_encoding(body), errors="replace").strip("\ufeff \t\r\n")
    try:
        return Body(_DECODER.decode(text), is_json=True)
    except (ValueError, RecursionError):
        return Body(text, is_json=False, is_broken=re.match(_BEGIN, text) is not None)


def text_of(value: object) -> str:
    """A scalar as one safe line; of anything else, nothing."""
    if isinstance(value, str):
        return sanitize(value, TEXT_LIMIT)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else ""


def word_of(value: object) -> str:
    """A word as it stands in `WORDS`: lower case, `_` for gaps."""
    return _GAP.sub("_", text_of(value).strip().casefold())


def status_of(value: object, words: Mapping[str, Outcome] = WORDS) -> tuple[Outcome, str]:
    """Return the meaning of the word, and the word as written."""
    return words.get(word_of(value), Outcome.UNKNOWN), text_of(value)


def number_of(value: object) -> float | None:
    """A finite number, or one that is written as a percentage."""
    if isinstance(value, str) and re.match(_PERCENT, value):
        return float(value[:-1])
    return value if isinstance(value, float) and math.isfinite(value) else None


def mapping_of(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def name_of(key: str) -> str:
    """A foreign name as one step of a path."""
    return sanitize(key, TEXT_LIMIT)


def usage_of(details: Mapping[str, Any]) -> dict[str, float]:
    """`observed` and `limit` where details hold both numbers of a connection pool (HikariCP) or of
    a bulkhead (resilience4j); else nothing.
    """
    free, allowed = number_of(details.get(_FREE)), number_of(details.get(_ALLOWED))
    if free is not None and allowed is not None:
        return {"observed": allowed - free, "limit": allowed}
    used = next((n for key in _USED if (n := number_of(details.get(key))) is not None), None)
    limit = next((n for key in _LIMIT if (n := number_of(details.get(key))) is not None), None)
    return {} if used is None or limit is None else {"observed": used, "limit": limit}


class Parts:
    """The components found so far, within the limits."""

    def __init__(self) -> None:
        self.found: list[Component] = []
        self.truncated = False

    def add(
        self,
        path: tuple[str, ...],
        kind: ComponentKind,
        word: tuple[Outcome, str],
        *,
        observed: object = None,
        limit: object = None,
        unit: object = None,
    ) -> bool:
        """Whether there was room for it."""
        if len(path) > DEPTH_LIMIT or len(self.found) >= COMPONENT_LIMIT:
            self.truncated = True
            return False
        self.found.append(
            Component(
                sanitize("/".join(path), TEXT_LIMIT),
                kind,
                *word,
                observed=number_of(observed),
                limit=number_of(limit),
                unit=text_of(unit) or None,
            )
        )
        return True

    def add_detailed(
        self, path: tuple[str, ...], kind: ComponentKind, word: tuple[Outcome, str], details: object
    ) -> bool:
        """As `add`; it is a pool where the details hold both numbers of one."""
        usage = usage_of(mapping_of(details))
        return self.add(path, ComponentKind.POOL if usage else kind, word, **usage)

    def document(self, name: str, value: Mapping[str, Any]) -> HealthDocument:
        status, _ = status_of(value.get("status"))
        version = text_of(value.get("version")) or text_of(value.get("releaseId")) or None
        return HealthDocument(name, status, tuple(self.found), self.truncated, version)
