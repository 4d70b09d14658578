"""Durations, sizes and patterns, as they are written in the file."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from probed.text import patterns

_DURATION = r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = r"(\d+)\s*(B|KiB|MiB|GiB|kB|MB|GB)?\Z"
_BYTES = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
          "kB": 10**3, "MB": 10**6, "GB": 10**9}  # fmt: skip


def parse_duration(value: object) -> float:
    """Return the seconds of `500ms`, `30s`, `1m30s`, `2h`, `21d`."""
    if isinstance(value, str) and value:
        parts = re.findall(_DURATION, value)
        if "".join(number + unit for number, unit in parts) == value:
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if isinstance(value, float):
        return value  # a default of the class: a plain number in a file arrives as int or text
    raise PydanticCustomError(
        "duration", "write a duration with its unit, such as 500ms, 30s or 5m"
    )


def parse_size(value: object) -> int:
    """Return the bytes of `65536`, `64KiB`, `1MiB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.match(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("size", "write a size such as 65536, 64KiB or 1MiB")
    return int(match[1]) * _BYTES[match[2]]


def format_duration(seconds: float) -> str:
    """Return the shortest form of a duration: `1m30s` for `90.0`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    text, left = "", seconds
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if left >= length:
            text += f"{int(left // length)}{unit}"
            left -= left // length * length
    return text + (f"{left:g}s" if left or not text else "")


def format_size(size: int) -> str | int:
    """Return the shortest form of a size: `64KiB` for `65536`, `65537` for itself."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and not size % _BYTES[unit]:
            return f"{size // _BYTES[unit]}{unit}"
    return size


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$",
                    "description": "A duration such as 500ms, 30s, 5m."}),
]  # fmt: skip
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 0,
                    "pattern": r"^\d+\s*(B|KiB|MiB|GiB|kB|MB|GB)?$"}),
]  # fmt: skip


def _read_pattern(value: object) -> patterns.Pattern:
    if isinstance(value, patterns.Pattern):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("pattern", "write a regular expression, as text")
    try:
        return patterns.Pattern(value)
    except ValueError as error:
        why = {"why": str(error)}
        raise PydanticCustomError("pattern", "not a regular expression: {why}", why) from None


Pattern = Annotated[
    patterns.Pattern, PlainValidator(_read_pattern), PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "regex", "maxLength": patterns.PATTERN_LIMIT}),
]  # fmt: skip
"""A regular expression that is searched for in what a peer sends, in time that no peer can stretch."""
