"""Stripe's responses, reduced to the fields in use: bounded, and without customer data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from probed import ProbeError, Reason, Response

ITEMS = 100
"""Items of a list that are looked at: no page has more."""
TEXT = 2000
"""Characters of a text that are looked at."""
_USED = frozenset({
    "id", "object", "type", "code", "message", "error", "data", "has_more", "total_count", "livemode",
    "created", "pending_webhooks", "status", "url", "enabled_events", "webhook_endpoint",
})  # fmt: skip
_NUMBER_LIMIT = 1 << 53
_NAME = re.compile(r"[A-Za-z0-9_.*]{1,100}\Z")


def read(answer: Response) -> dict[str, Any]:
    """The JSON object of an answer of Stripe's, as far as it is used: of an item of a list not its
    `data`. Raises ProbeError where it is none: then somebody else has answered.
    """
    if answer.truncated:
        raise ProbeError(Reason.HTTP_BODY_TOO_LARGE, "The answer is larger than any of Stripe's.")
    try:
        found = json.loads(answer.body) if answer.undecoded is None else None
    except (ValueError, RecursionError):
        found = None
    status = answer.status
    if not isinstance(found, dict):
        raise ProbeError(Reason.HTTP_NOT_JSON, f"The answer ({status}) is no JSON of Stripe's.")
    if not 200 <= status < 300 and not isinstance(found.get("error"), dict):
        message = f"The answer ({status}) holds no error object of Stripe's."
        raise ProbeError(Reason.HTTP_NOT_JSON, message)
    return {name: _slim(found[name], 0) for name in found.keys() & _USED}


def _slim(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value[:TEXT]
    if isinstance(value, dict):
        names = (value.keys() & _USED) - {"data"} if depth < 3 else frozenset[str]()
        return {name: _slim(value[name], depth + 1) for name in names}
    if isinstance(value, list):
        limit = ITEMS if depth == 0 else 500
        return [_slim(item, depth + 1) for item in value[:limit]] if depth < 3 else []
    return value


def items(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The items of a list."""
    found = data.get("data")
    yield from (item for item in found if isinstance(item, dict)) if isinstance(found, list) else ()


def number(value: Any) -> int | None:
    """A count or a time of Stripe's, or None."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _NUMBER_LIMIT
    return value if good else None


def name(value: Any) -> str | None:
    """An id or a type of Stripe's, or None."""
    return value if isinstance(value, str) and _NAME.match(value) else None


def names(value: Any) -> list[str]:
    """Types of events of a list."""
    return [each for each in value if name(each)] if isinstance(value, list) else []


def span(seconds: float) -> str:
    """Seconds for people: `40 s`, `25 min`, `3.5 h`, `4 d`."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
