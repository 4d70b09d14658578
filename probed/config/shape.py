"""Shapes: facts about a setting's type that the loader needs before pydantic sees the value.

A shape says where secrets stand, which scalar fits, and what the types of the parts are.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, PlainValidator, SecretStr, WrapValidator
from pydantic.fields import FieldInfo

from probed.fields import Pattern, Private, Url, parse_duration, parse_size

_VALIDATORS = (BeforeValidator, PlainValidator, WrapValidator)
_PATTERN = get_args(Pattern)[1]


class Shape(NamedTuple):
    """`scalar` names the one way in which the value is written, or is empty: `text`, `flag`,
    `whole`, `number`, `duration`, `size`, `path`, `url`, `pattern`, `other`. `custom` is true
    where a validator of the kind's own reads the value, so that only it knows how it is written.
    What is `private` may stand in the file, and is shown nowhere.
    """

    secret: bool = False
    private: bool = False
    custom: bool = False
    scalar: str = ""
    models: tuple[type[BaseModel], ...] = ()
    items: Shape | None = None
    values: Shape | None = None
    sample: str = ""

    @property
    def fields(self) -> Mapping[str, Shape]:
        return fields_of(self.models)


ANY = Shape()
_PLAIN = {
    bool: Shape(scalar="flag", sample="true"),
    int: Shape(scalar="whole", sample="1"),
    float: Shape(scalar="number", sample="1.5"),
    str: Shape(scalar="text", sample='"text"'),
}
_DURATION = Shape(scalar="duration", sample="30s")
_SIZE = Shape(scalar="size", sample="64KiB")


@lru_cache(maxsize=512)
def fields_of(models: tuple[type[BaseModel], ...]) -> Mapping[str, Shape]:
    """The shapes of the keys of a mapping that becomes one of these models."""
    found: dict[str, Shape] = {}
    for model in models:
        for name, info in model.model_fields.items():
            shape = _shape(info.annotation, info.metadata)
            if name in _read_by_validators(model):
                shape = shape._replace(scalar="", custom=True)
            key = key_of(name, info)
            found[key] = _either(found[key], shape) if key in found else shape
    return found


def _read_by_validators(model: type[BaseModel]) -> set[str]:
    """Fields that a validator of the class sees before pydantic does."""
    validators = model.__pydantic_decorators__.field_validators.values()
    return {name for v in validators if v.info.mode != "after" for name in v.info.fields}


def key_of(name: str, info: FieldInfo) -> str:
    """Return the key that a field is written under."""
    alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
    return alias or name


def shape_of(model: type[BaseModel]) -> Shape:
    return Shape(models=(model,), sample="{…}")


def _shape(annotation: Any, metadata: Any = ()) -> Shape:
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = (*more, *metadata)
    for item in metadata:
        if isinstance(item, _VALIDATORS):
            return _validated(annotation, item)
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        return _union([_shape(part) for part in get_args(annotation) if part is not type(None)])
    if origin is Literal:
        return Shape(scalar="" if _mixed(annotation) else "other", sample=_first(annotation))
    if origin is not None:
        return _generic(origin, get_args(annotation))
    if hasattr(annotation, "__value__"):  # type X = …
        return _shape(annotation.__value__)
    return _class(annotation)


def _validated(annotation: Any, validator: Any) -> Shape:
    if validator.func is parse_duration:
        return _DURATION
    if validator.func is parse_size:
        return _SIZE
    if validator == _PATTERN:
        return Shape(scalar="pattern", sample="'^220 '")
    return _shape(annotation)._replace(scalar="", custom=True)


def _class(annotation: Any) -> Shape:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if not isinstance(annotation, type):
        return ANY
    if issubclass(annotation, SecretStr):
        return Shape(secret=True, sample="{env: NAME}")
    if issubclass(annotation, BaseModel):
        return shape_of(annotation)
    if issubclass(annotation, Path):
        return Shape(scalar="path", sample="/path/to/file")
    if issubclass(annotation, Private):
        return Shape(scalar="text", private=True, sample="me@example.com")
    if issubclass(annotation, Enum):
        return Shape(scalar="other", sample=str(next(iter(annotation)).value))
    if annotation in {list, tuple, set, frozenset}:
        return Shape(items=ANY, sample="[…]")
    example = getattr(annotation, "_example", "")
    return Shape(scalar="url" if issubclass(annotation, Url) else "other", sample=example)


def _generic(origin: Any, parts: tuple[Any, ...]) -> Shape:
    if not isinstance(origin, type):
        return ANY
    if issubclass(origin, Mapping):
        return Shape(values=_shape(parts[1]), sample="{…}")
    if issubclass(origin, str) or not hasattr(origin, "__iter__"):
        return ANY
    shapes = [_shape(part) for part in parts if part is not Ellipsis]
    return Shape(items=_union(shapes) if shapes else ANY, sample="[…]")


def _union(shapes: list[Shape]) -> Shape:
    result = shapes[0]
    for shape in shapes[1:]:
        result = _either(result, shape)
    return result


def _either(one: Shape, other: Shape) -> Shape:
    return Shape(
        secret=one.secret or other.secret,
        private=one.private or other.private,
        custom=one.custom or other.custom,
        scalar=one.scalar if one.scalar == other.scalar or _file_of(one, other) else "",
        models=tuple(dict.fromkeys((*one.models, *other.models))),
        items=one.items or other.items,
        values=one.values or other.values,
        sample=one.sample,
    )


def _file_of(one: Shape, other: Shape) -> bool:
    """Return whether text means a file, and a secret is written as a reference."""
    return one.scalar == "path" and other.secret


def _mixed(literal: Any) -> bool:
    return not all(isinstance(value, str) for value in get_args(literal))


def _first(literal: Any) -> str:
    return str(get_args(literal)[0])
