"""Health payloads, normalised: what a service says of itself and of its parts.

Sources: draft-inadarei-api-health-check-06 (`application/health+json`), the Spring Boot Actuator
reference ("Health Information"), resilience4j's health indicators. A body of any other shape is
the format `other`, never an error: the peer decides what it sends, we decide what we make of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

from probed import Outcome
from probed.redact import sanitize

DEPTH_LIMIT = 6
COMPONENT_LIMIT = 200
TEXT_LIMIT = 200

Format: TypeAlias = Literal["auto", "health+json", "actuator", "simple"]
"""What may be asked for. A document may also turn out to be `other`."""


class NotThisFormat(ValueError):  # noqa: N818  # it says what the body is, not what went wrong
    """The body is not of the one format that was asked for."""


class Kind(StrEnum):
    """What a component stands for."""

    COMPONENT = "component"
    UPSTREAM = "upstream"
    BREAKER = "breaker"
    POOL = "pool"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Component:
    """One part that the document names.

    `path` is its place in the document (`circuitBreakers/billing`), `raw` the word of the source.
    `observed` and `limit` are numbers in `unit`; of a breaker, the failure rate and its threshold.
    """

    path: str
    kind: Kind
    status: Outcome
    raw: str
    observed: float | None = None
    limit: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class HealthDocument:
    """A health payload. `status` is the document's own word, whatever its components say.

    `truncated` says that components were left out: too many, or too deep.
    """

    format: str
    status: Outcome
    components: tuple[Component, ...] = ()
    truncated: bool = False
    version: str | None = None

    @property
    def worst(self) -> Component | None:
        """The first of the components that are worst off; None where there are none.

        An aggregate that says UNKNOWN is passed over when its parts are there to be asked:
        Spring says so of `circuitBreakers` as soon as one of them is open or half open.
        """
        parents = {component.path.rpartition("/")[0] for component in self.components}
        asked = (
            component
            for component in self.components
            if component.status is not Outcome.UNKNOWN or component.path not in parents
        )
        return max(asked, key=lambda component: component.status.rank, default=None)

    def named(self, name: str) -> tuple[Component, ...]:
        """The components that `name` means: that path, all under it, and `name:measurement`."""
        return tuple(
            component
            for component in self.components
            if component.path == name or component.path.startswith((f"{name}/", f"{name}:"))
        )


WORDS: Mapping[str, Outcome] = {
    word: status
    for status, words in (
        (Outcome.OK, "pass ok up healthy serving true +"),
        (Outcome.DEGRADED, "warn warning degraded half_open draining out_of_service"),
        (
            Outcome.FAILED,
            "fail error down unhealthy critical open forced_open unavail dns_error false -",
        ),
        (Outcome.UNKNOWN, "unknown checking disabled healthchecks_off"),
    )
    for word in words.split()
}
"""What the words of all sources mean. A word that is not here means unknown."""

# resilience4j's states, and the statuses that its indicators make of them.
_BREAKER_WORDS: Mapping[str, Outcome] = {
    **WORDS,
    "closed": Outcome.OK,
    "circuit_open": Outcome.FAILED,
    "circuit_half_open": Outcome.DEGRADED,
}
_GAP = re.compile(r"(?<=\w)[-\s]+(?=\w)")
_PERCENT = re.compile(r"\d{1,12}(?:\.\d{1,12})?%\Z")
# An integer of thousands of digits is an error to `int`, and an infinity to `float`.
_DECODER = json.JSONDecoder(parse_int=float)


def parse(
    content_type: str,
    body: bytes,
    *,
    format: Format = "auto",  # noqa: A002  # the name of the setting
) -> HealthDocument:
    """What the body says, in the words of one model.

    Raises NotThisFormat if `format` is not `auto` and the body is of another one; nothing else.
    """
    value = _load(body)
    if format != "auto":
        document = _FORMATS[format].read(value)
        if document is None:
            raise NotThisFormat(f"the body is not of the format {format}")
        return document
    media_type = content_type[:TEXT_LIMIT].partition(";")[0].strip().lower()
    announced = [known for known in _FORMATS.values() if known.media_type.match(media_type)]
    alike = [known for known in _FORMATS.values() if known.looks(value)]
    for known in (*announced, *alike):
        document = known.read(value)
        if document is not None:
            return document
    return HealthDocument("other", Outcome.UNKNOWN)


def _load(body: bytes) -> Any:
    """The body's JSON value, or its text if it is none."""
    text = body.decode(json.detect_encoding(body), errors="replace").strip("\ufeff \t\r\n")
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text


def _text(value: object) -> str:
    if isinstance(value, str):
        return sanitize(value, TEXT_LIMIT)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else ""


def _status(value: object, words: Mapping[str, Outcome] = WORDS) -> tuple[Outcome, str]:
    raw = _text(value)
    return words.get(_GAP.sub("_", raw.strip().casefold()), Outcome.UNKNOWN), raw


def _number(value: object) -> float | None:
    """A finite number, or one that is written as a percentage."""
    if isinstance(value, str) and _PERCENT.match(value):
        return float(value[:-1])
    return value if isinstance(value, float) and math.isfinite(value) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _version(value: Mapping[str, Any]) -> str | None:
    return _text(value.get("version")) or _text(value.get("releaseId")) or None


class _Parts:
    """The components found so far, within the limits."""

    def __init__(self) -> None:
        self.found: list[Component] = []
        self.truncated = False

    def add(
        self,
        path: tuple[str, ...],
        kind: Kind,
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
                observed=_number(observed),
                limit=_number(limit),
                unit=_text(unit) or None,
            )
        )
        return True

    def document(self, name: str, value: Mapping[str, Any]) -> HealthDocument:
        status, _ = _status(value.get("status"))
        return HealthDocument(name, status, tuple(self.found), self.truncated, _version(value))


# --- health+json ----------------------------------------------------------------------------------


def _is_health_json(value: Any) -> bool:
    if not isinstance(value, dict) or isinstance(value.get("components"), dict):
        return False
    status = value.get("status")
    return isinstance(value.get("checks"), dict) or (
        isinstance(status, str) and status.lower() in {"pass", "warn", "fail"}
    )


def _read_health_json(value: Any) -> HealthDocument | None:
    """Section 3 and 4 of the draft. The value of each key of `checks` is an array; a bare object,
    or a bare word, is taken for an array of one.
    """
    checks = _mapping(value).get("checks")
    whole = isinstance(_mapping(value).get("status"), str | bool)
    if not isinstance(checks, dict) and (not whole or "components" in value):
        return None
    parts = _Parts()
    for key, entries in _mapping(checks).items():
        name = sanitize(key, TEXT_LIMIT)
        listed = entries if isinstance(entries, list) and entries else [entries]
        for number, entry in enumerate(listed):
            path = (name,) if len(listed) == 1 else (name, str(number))
            if not _add_check(parts, path, entry):
                return parts.document("health+json", value)
    return parts.document("health+json", value)


def _add_check(parts: _Parts, path: tuple[str, ...], entry: Any) -> bool:
    if not isinstance(entry, dict):
        return parts.add(path, Kind.CHECK, _status(entry))
    _, _, measurement = path[0].rpartition(":")
    return parts.add(
        path,
        Kind.POOL if measurement == "connections" else Kind.CHECK,
        _status(entry["status"]) if "status" in entry else (Outcome.OK, ""),
        observed=entry.get("observedValue"),
        unit=entry.get("observedUnit"),
    )


# --- Spring Boot Actuator -------------------------------------------------------------------------


def _is_actuator(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("status"), str):
        return False
    return isinstance(value.get("groups"), list) or bool(_children(value))


def _read_actuator(value: Any) -> HealthDocument | None:
    if not isinstance(_mapping(value).get("status"), str) or isinstance(value.get("checks"), dict):
        return None
    parts = _Parts()
    _walk(parts, (), _children(value))
    return parts.document("actuator", value)


def _children(node: Any) -> Mapping[str, Any]:
    """`components`, or what is like a component in `details`: before Spring Boot 2.2, and in
    resilience4j's indicators still.
    """
    components = _mapping(node).get("components")
    if isinstance(components, dict):
        return components
    return {
        name: part
        for name, part in _mapping(_mapping(node).get("details")).items()
        if isinstance(part, dict) and not part.keys().isdisjoint({"status", "state", "details"})
    }


def _walk(parts: _Parts, above: tuple[str, ...], nodes: Mapping[str, Any]) -> None:
    for name, node in nodes.items():
        path = (*above, sanitize(name, TEXT_LIMIT))
        if not _add_node(parts, path, node):
            return
        _walk(parts, path, _children(node))


def _add_node(parts: _Parts, path: tuple[str, ...], node: Any) -> bool:
    if not isinstance(node, dict):
        return parts.add(path, Kind.COMPONENT, _status(node))
    details = _mapping(node.get("details"))
    group = path[-2] if len(path) > 1 else ""
    state = details.get("state", node.get("state"))
    if group == "circuitBreakers" or (isinstance(state, str) and "failureRate" in details):
        # The rate is -1.0% while there are too few calls to tell: no percentage, so not observed.
        word = state if isinstance(state, str) else node.get("status")
        return parts.add(
            path,
            Kind.BREAKER,
            _status(word, _BREAKER_WORDS),
            observed=details.get("failureRate"),
            limit=details.get("failureRateThreshold"),
            unit="%" if "failureRate" in details else None,
        )
    if group == "rateLimiters" and "availablePermissions" in details:
        left = details["availablePermissions"]
        return parts.add(
            path, Kind.COMPONENT, _status(node.get("status")), observed=left, unit="permissions"
        )
    return parts.add(path, Kind.COMPONENT, _status(node.get("status")))


# --- a word -----------------------------------------------------------------------------------------


def _is_simple(value: Any) -> bool:
    """A status that says something, or nothing but a word: other text and JSON are no health."""
    if isinstance(value, dict):
        word = _text(value.get("status"))
        return _GAP.sub("_", word.strip().casefold()) in WORDS
    return isinstance(value, bool) or (
        isinstance(value, str) and value.isalpha() and value.lower() in WORDS
    )


def _read_simple(value: Any) -> HealthDocument | None:
    if isinstance(value, dict) and isinstance(value.get("status"), str | bool):
        return _Parts().document("simple", value)
    if isinstance(value, dict) or not _is_simple(value):
        return None
    return HealthDocument("simple", _status(value)[0])


class _Format(NamedTuple):
    """How a format is announced, what it looks like, and how it is read (None: it is not it)."""

    media_type: re.Pattern[str]
    looks: Callable[[Any], bool]
    read: Callable[[Any], HealthDocument | None]


_FORMATS: Mapping[str, _Format] = {
    "health+json": _Format(
        re.compile(r"application/(?:[\w.-]+\+)?health\+json\Z"), _is_health_json, _read_health_json
    ),
    "actuator": _Format(
        re.compile(r"application/vnd\.spring-boot\.actuator\.v\d\+json\Z"),
        _is_actuator,
        _read_actuator,
    ),
    # No media type is announced by a plain word.
    "simple": _Format(re.compile(r"(?!)"), _is_simple, _read_simple),
}
