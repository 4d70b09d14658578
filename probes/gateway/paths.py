"""Paths into a JSON value: a strict subset of RFC 9535 (JSONPath).

`$`, `.name`, `['name']`, `[0]`, `[-1]`, and for all items or members `[*]` and `.*`. No filters, no
slices, no `..`: no value is looked at twice. In quotes nothing is escaped: a name that holds one sort
of quotes is written in the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

FOUND_LIMIT = 1000
"""Values that one step finds at most."""
LENGTH_LIMIT = 500

# Letters, `_` and all beyond ASCII, then digits too. What is not in it is listed: compiling a set of
# a million characters takes 14 ms.
_NAME = r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*"
_STEP = re.compile(
    rf"\.(?P<name>{_NAME})"
    r"|\['(?P<single>[^'\\\x00-\x1f]*)'\]"
    r'|\["(?P<double>[^"\\\x00-\x1f]*)"\]'
    r"|\[(?P<index>0|-?[1-9][0-9]{0,8})\]"
    r"|(?P<all>\.\*|\[\*\])"
)
_HYPHEN = re.compile(rf"\.({_NAME}(?:-[A-Za-z0-9_]+)+)")

_ALL = None
Step: TypeAlias = "str | int | None"


class TooMany(Exception):  # noqa: N818  # it says what the document is, not what went wrong
    """A step finds more than `FOUND_LIMIT` values."""


class JsonPath:
    """A path that was read. `single` says that it can find one value at most."""

    __slots__ = ("single", "steps", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError, which says what cannot be read and where."""
        self.text = text
        self.steps = tuple(_steps(text))
        self.single = _ALL not in self.steps

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"JsonPath({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonPath) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def find(self, value: Any) -> list[Any]:
        """The values there, in the document's order; none where a step leads nowhere.

        Raises TooMany, which a `single` path never does.
        """
        found = [value]
        for step in self.steps:
            inside = (inner for outer in found for inner in _inside(outer, step))
            found = list(islice(inside, FOUND_LIMIT + 1))
            if len(found) > FOUND_LIMIT:
                raise TooMany
        return found


def _steps(text: str) -> Iterator[Step]:
    if not text.startswith("$"):
        raise ValueError("a path begins with $, such as $.status or $.checks[0].state")
    if len(text) > LENGTH_LIMIT:
        raise ValueError(f"a path has at most {LENGTH_LIMIT} characters")
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(_unread(text, at))
        hyphen = _HYPHEN.match(text, at)
        if hyphen is not None:
            raise ValueError(f"write ['{hyphen[1]}'] for a name with a hyphen")
        at = match.end()
        yield _step(match)


def _unread(text: str, at: int) -> str:
    if text.startswith("..", at):
        return "`..` is not supported: say where it is"
    if text.startswith("[?", at):
        return "filters are not supported: write [*] and a comparison for all of them"
    return (
        f"cannot be read from character {at + 1} on; "
        "there may be .name, ['name'], [0], [-1], [*] and .*"
    )


def _step(match: re.Match[str]) -> Step:
    if match["name"] is not None:
        return match["name"]
    if match["index"] is not None:
        return int(match["index"])
    if match["all"] is not None:
        return _ALL
    return match["single"] if match["double"] is None else match["double"]


def _inside(value: Any, step: Step) -> Iterable[Any]:
    if isinstance(value, dict):
        if step is _ALL:
            return value.values()
        return [value[step]] if isinstance(step, str) and step in value else []
    if isinstance(value, list):
        if step is _ALL:
            return value
        if isinstance(step, int) and -len(value) <= step < len(value):
            return [value[step]]
    return []


def _read(value: object) -> JsonPath:
    if isinstance(value, JsonPath):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("path", "write a path as text, such as $.status")
    try:
        return JsonPath(value)
    except ValueError as error:
        raise PydanticCustomError("path", "{why}", {"why": str(error)}) from None


def _single(value: object) -> JsonPath:
    path = _read(value)
    if not path.single:
        raise PydanticCustomError("path", "`*` may not stand here: one value is meant")
    return path


def _member(value: object) -> JsonPath:
    """`name`, `meta.name` or `['my name']`: from each component on."""
    if not isinstance(value, str):
        return _single(value)
    if value.startswith("$"):
        raise PydanticCustomError("path", "write it without $: it begins at each component")
    return _single(f"${value}" if value.startswith("[") else f"$.{value}")


def _written(path: JsonPath) -> str:
    return path.text.removeprefix("$").removeprefix(".")


Path = Annotated[
    JsonPath, PlainValidator(_read), PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^\$", "maxLength": LENGTH_LIMIT}),
]  # fmt: skip
"""A path to any number of values."""
SinglePath = Annotated[
    JsonPath, PlainValidator(_single), PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^\$", "maxLength": LENGTH_LIMIT}),
]  # fmt: skip
"""A path to one value."""
MemberPath = Annotated[
    JsonPath, PlainValidator(_member), PlainSerializer(_written),
    WithJsonSchema({"type": "string", "pattern": r"^[^$]", "maxLength": LENGTH_LIMIT}),
]  # fmt: skip
"""A path inside each component, written without `$`."""
