"""The `expect` settings: assertions about headers, the body and values in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from probed import Outcome, Pattern, Settings, check_header
from probes.gateway.paths import Path

Scalar: TypeAlias = "str | bool | int | float | None"
Level: TypeAlias = Literal["degraded", "failed"]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


EXACT = 1 << 53
"""Whole numbers up to here are read by everybody for what they are (RFC 8259, section 6)."""


def _scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("scalar", "JSON has no such number")
    if isinstance(value, int) and abs(value) > EXACT:
        raise PydanticCustomError("scalar", "a whole number in JSON is exact up to 2^53 only")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise PydanticCustomError("scalar", "write text, a number, true, false or null")


# What is written as null is a value to compare with: only a validator of our own sees it as one.
Constant = Annotated[
    Any, PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]  # fmt: skip


class _OrShort:
    """For the JSON Schema: it may be written as one of these types, in short."""

    def __init__(self, *types: str) -> None:
        self.types = types

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": kind} for kind in self.types] + [handler(core)]}


class _Assertion(Settings):
    """Settings that all assertions share."""

    name: Name | None = None
    """Name in findings."""
    level: Level = "failed"
    """Outcome if it does not hold."""

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.level)


class HeaderExpected(_Assertion):
    """Assertions about a header. A bare pattern is `matches`; null means that the header must be absent."""

    matches: Pattern | None = None
    """Regular expression that is searched for in the value."""
    exists: bool = True
    """Whether it must be there at all."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if value is None:
            return {"exists": False}
        return value if isinstance(value, Mapping | cls) else {"matches": value}

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.matches is not None and not self.exists:
            raise ValueError("what must not be there can match nothing")
        return self


class BodyExpected(_Assertion):
    """A pattern for the body. A bare pattern is `matches`."""

    matches: Pattern
    """Regular expression that is searched for in the body."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return value if isinstance(value, Mapping | cls) else {"matches": value}


HeaderEntry = Annotated[HeaderExpected, _OrShort("string", "null")]
BodyEntry = Annotated[BodyExpected, _OrShort("string")]


class JsonExpected(_Assertion):
    """A comparison of the values that a path finds in the body: all of them must hold, for each."""

    path: Path
    """Where to look, such as `$.data.queue` or `$.nodes[*].state`."""
    equals: Constant = None
    """The value it must be."""
    not_equals: Constant = None
    """A value that it must not be."""
    one_of: Annotated[tuple[Constant, ...], Field(min_length=1, max_length=50)] | None = None
    """The values of which it must be one."""
    above: Number | None = None
    """The number must be more than this."""
    below: Number | None = None
    """The number must be less than this."""
    at_least: Number | None = None
    """The number must be this or more."""
    at_most: Number | None = None
    """The number must be this or less."""
    matches: Pattern | None = None
    """Regular expression that is searched for in the text."""
    exists: bool | None = None
    """`false` says that the path must lead nowhere; `true` that it must lead somewhere."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        compared = self.compared
        if not compared and self.exists is None:
            raise ValueError("say what must hold, such as equals: ok, below: 100 or exists: true")
        if compared and self.exists is False:
            raise ValueError("what must not be there cannot be compared")
        return self

    @cached_property
    def compared(self) -> Mapping[str, Any]:
        """The comparisons that were written, by their names."""
        given = self.model_fields_set - {"path", "name", "level", "exists"}
        return {
            name: value
            for name in JsonExpected.model_fields
            if name in given
            and ((value := getattr(self, name)) is not None or name in {"equals", "not_equals"})
        }


class Expect(Settings):
    """Assertions about a response whose status is as expected."""

    headers: Annotated[dict[str, HeaderEntry], Field(max_length=50)] = Field(default_factory=dict)
    """Patterns for the values of headers; null for one that must not be there."""
    body: Annotated[tuple[BodyEntry, ...], Field(max_length=50)] = ()
    """Patterns that must match in the body: in its first 131072 characters. Plain text in all of it."""
    body_not: Annotated[tuple[BodyEntry, ...], Field(max_length=50)] = ()
    """Patterns that must not match there."""
    json_: Annotated[tuple[JsonExpected, ...], Field(max_length=50)] = Field((), alias="json")
    """Comparisons of values in a JSON body; of a key that stands twice the last counts."""

    @field_validator("headers")
    @classmethod
    def _named(cls, headers: dict[str, HeaderExpected]) -> dict[str, HeaderExpected]:
        for name in headers:
            try:
                check_header(name, "")
            except ValueError as error:
                why: dict[str, Any] = {"why": str(error)}
                raise PydanticCustomError("header", "{why}", why) from None
        lower = [name.lower() for name in headers]
        twice = next((name for name in lower if lower.count(name) > 1), None)
        if twice is not None:
            raise PydanticCustomError("header", "{name} is written twice", {"name": twice})
        return headers
