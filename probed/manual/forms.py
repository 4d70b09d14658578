"""How a setting is written, in words, from the annotation of its field."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, SecretStr, WithJsonSchema
from pydantic.fields import FieldInfo

from probed.fields import (
    HostPort,
    Private,
    Url,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from probed.text.patterns import Pattern

_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text"}
_CLASSES: tuple[tuple[type, str], ...] = (
    (SecretStr, "secret"),
    (BaseModel, "mapping"),
    (Path, "path"),
    (HostPort, "host:port"),
    (Private, "text, never shown"),
    (Url, "URL"),
    (Pattern, "regular expression"),
)
_BOUNDS: Mapping[type, str] = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}
_JSON = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}


def form(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return how a value is written: `duration, at least 1s`, `list of text`, `any or ipv4`."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return form(inner, (*more, *metadata))
    if hasattr(annotation, "__value__"):  # type X = …
        return form(annotation.__value__, metadata)
    marks = [mark for each in metadata for mark in _flat(each)]
    return _named(annotation, marks) + _bounds(marks)


def _flat(mark: Any) -> Iterable[Any]:
    return mark.metadata if isinstance(mark, FieldInfo) else (mark,)


def _named(annotation: Any, marks: list[Any]) -> str:
    readers = {mark.func for mark in marks if isinstance(mark, BeforeValidator)}
    if parse_duration in readers:
        return "duration"
    if parse_size in readers:
        return "size"
    origin, parts = get_origin(annotation), get_args(annotation)
    if readers and annotation is not HostPort:
        schema = next((m.json_schema for m in marks if isinstance(m, WithJsonSchema)), None)
        if schema:
            return _of_schema(schema)
    if origin is Union or origin is types.UnionType:
        forms = dict.fromkeys(form(part) for part in parts if part is not type(None))
        return _either(list(forms))
    if origin is Literal:
        return _either([_literal(part) for part in parts])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of names to {form(parts[1])}"
    if origin is not None:
        return f"list of {form(parts[0])}" if parts else "list"
    return _class(annotation)


def _class(annotation: Any) -> str:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if not isinstance(annotation, type):
        return "any value"
    if issubclass(annotation, Enum):
        return _either([_literal(member.value) for member in annotation])
    return next((name for cls, name in _CLASSES if issubclass(annotation, cls)), "text")


def _of_schema(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", "string")
    names = [_JSON.get(kind, "text") for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    items = schema.get("items")
    if names == ["list"] and items:
        parts = [_of_schema(part) for part in items.get("anyOf", [items])]
        return f"list of {_either(parts)}"
    return _either(names)


def _literal(value: object) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _size(bound: float) -> str:
    return str(format_size(int(bound)))


def _bounds(marks: list[Any]) -> str:
    """Return the limits of a number: `, 0 to 5`, `, more than 0`."""
    readers = {mark.func for mark in marks if isinstance(mark, BeforeValidator)}
    written = (
        format_duration if parse_duration in readers
        else _size if parse_size in readers
        else "{:.10g}".format
    )  # fmt: skip
    found = {
        cls: written(bound)
        for mark in marks
        for cls in _BOUNDS
        if isinstance(mark, cls)
        and isinstance(bound := getattr(mark, cls.__name__.lower()), int | float)
    }
    if found.keys() == {Ge, Le}:
        return f", {found[Ge]} to {found[Le]}"
    return (
        f", {' and '.join(f'{_BOUNDS[cls]} {bound}' for cls, bound in found.items())}"
        if found
        else ""
    )
