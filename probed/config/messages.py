"""Messages about wrong values, in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from probed.config.shape import Shape, key_of
from probed.fields import format_duration

Complaint = tuple[str, str]
"""A message, and what to write instead."""

_QUOTES = ("must be text", "put it in quotes")
_DURATION = ("write a duration with its unit, such as 500ms, 30s or 5m", "")
_WORDS: Mapping[str, Complaint] = {
    "flag": ("must be true or false", ""),
    "whole": ("must be a whole number", ""),
    "number": ("must be a number", ""),
    "duration": _DURATION,
    "size": ("write a size such as 65536, 64KiB or 1MiB", ""),
}
_MAPPING = ("must be a mapping: keys and values, one a line", "")
_LIST = ("must be a list", "write - before each item, or [a, b]")

_TYPES: Mapping[str, Complaint] = {
    "bool_type": _WORDS["flag"],
    "bool_parsing": _WORDS["flag"],
    "int_type": _WORDS["whole"],
    "int_parsing": _WORDS["whole"],
    "int_parsing_size": _WORDS["whole"],
    "int_from_float": _WORDS["whole"],
    "float_type": _WORDS["number"],
    "float_parsing": _WORDS["number"],
    "finite_number": _WORDS["number"],
    "string_type": _QUOTES,
    "string_sub_type": _QUOTES,
    "path_type": _QUOTES,
    "bytes_type": _QUOTES,
    "string_unicode": ("holds half of a character (a surrogate)", ""),
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "iterable_type": _LIST,
}

_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
}

_PHRASES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "string_too_short": lambda c: f"must have at least {_many(c['min_length'], 'character')}",
    "string_too_long": lambda c: f"must have at most {_many(c['max_length'], 'character')}",
    "too_short": lambda c: f"must have at least {_many(c['min_length'], 'item')}",
    "too_long": lambda c: f"must have at most {_many(c['max_length'], 'item')}",
    "string_pattern_mismatch": lambda c: f"must match {c['pattern']}",
    "literal_error": lambda c: f"must be {_plain(c['expected'])}",
    "enum": lambda c: f"must be {_plain(c['expected'])}",
    "multiple_of": lambda c: f"must be a multiple of {c['multiple_of']}",
    "union_tag_invalid": lambda c: (
        f"`{_plain(c['discriminator'])}` must be one of {_plain(c['expected_tags'])}"
    ),
    "union_tag_not_found": lambda c: f"`{_plain(c['discriminator'])}` is missing",
}
_RAISED = {"value_error", "assertion_error"}


def mistyped(value: object, shape: Shape) -> Complaint | None:
    """Return a complaint about the type of a scalar. pydantic would accept `"5"` and `yes` for what they say."""
    if value is None or shape.scalar in {"", "size"}:
        return None
    if shape.scalar == "flag":
        fits = isinstance(value, bool)
    elif shape.scalar in {"whole", "number"}:
        wanted = int if shape.scalar == "whole" else (int, float)
        fits = isinstance(value, wanted) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str)
    return None if fits else _WORDS.get(shape.scalar, _QUOTES)


def explain(detail: Any, shape: Shape) -> tuple[str, str, bool]:
    """Return message and remedy of one of pydantic's errors; True where the text is the probe's own."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx") or {}
    if kind in _RAISED:
        return str(context.get("error") or "is not accepted"), "", True
    if value is None:
        return "has no value", f"write {shape.sample}" if shape.sample else "", False
    if kind in _BOUNDS:
        name, phrase = _BOUNDS[kind]
        return phrase.format(_number(context[name], shape)), "", False
    if kind in _PHRASES:
        return _PHRASES[kind](context), "", False
    if kind in _TYPES:
        message, remedy = _WORDS.get(shape.scalar) or _TYPES[kind]
        only = _only_key(shape) if message == _MAPPING[0] and isinstance(value, str) else ""
        if only:
            return "must be a mapping", f"write {{{only}: …}}", False
        return message, _unquoted(value, remedy), False
    return _reworded(detail["msg"]), "", True


def _only_key(shape: Shape) -> str:
    """Return the key under which a bare text was most likely meant: the one that is required."""
    required = [
        key_of(name, info)
        for model in shape.models
        for name, info in model.model_fields.items()
        if info.is_required()
    ]
    return required[0] if len(required) == 1 else ""


def _unquoted(value: object, remedy: str) -> str:
    return "" if remedy == _QUOTES[1] and isinstance(value, dict | list) else remedy


def _reworded(message: str) -> str:
    return re.sub(r"^(?:Input|Value) should ", "must ", message)


def _number(bound: float, shape: Shape) -> str:
    if shape.scalar == "duration":
        return format_duration(bound)
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _plain(expected: str) -> str:
    return expected.replace("'", "")


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
