"""The JSON Schema of the whole file, for editors and reviews."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from probed.config.settings import (
    CheckSettings,
    CommonSettings,
    ServiceSettings,
    TelemetrySettings,
)
from probed.fields import format_duration
from probed.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/"
_DURATION = r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"
_INTERPOLATED = {"$ref": f"{_REF}Interpolated"}
_NARROW = ("pattern", "enum", "const", "maxLength", "minLength", "format")
_UNKNOWN = "A kind of probe that is not installed."


class _Generator(GenerateJsonSchema):
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema (2020-12) of the configuration file, with the kinds that are installed."""
    kinds = {kind: registry.load(kind) for kind in registry.kinds()}
    sections = (ServiceSettings, TelemetrySettings, CommonSettings, CheckSettings)
    models: list[type[BaseModel]] = [*sections, *kinds.values()]
    found, generated = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Generator
    )
    definitions = {name: _written(part) for name, part in generated["$defs"].items()}
    names = {model: ref["$ref"].removeprefix(_REF) for (model, _), ref in found.items()}
    common = names[CheckSettings]
    check = definitions[common]
    for kind, model in kinds.items():
        name = names[model]
        definitions[name] = _of_kind(kind, definitions[name], check, common)
        definitions[name]["description"] = inspect.getdoc(model) or kind
    definitions[common] = _any_check(check, {kind: names[model] for kind, model in kinds.items()})
    return {
        "$schema": DIALECT,
        "title": "probed",
        "description": "The configuration file of probed.",
        "type": "object",
        "required": ["checks"],
        "additionalProperties": False,
        "properties": {
            "service": _section(names[ServiceSettings]),
            "telemetry": _section(names[TelemetrySettings]),
            "defaults": _section(names[CommonSettings]),
            "checks": {
                "type": "array", "minItems": 1, "maxItems": 50_000,
                "items": {"$ref": _REF + common},
            },
        },
        "$defs": {**definitions, **_OURS},
    }  # fmt: skip


def _one_key(name: str, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {name: {"type": "string", "minLength": 1}},
        "required": [name],
        "additionalProperties": False,
    }


_OURS: Mapping[str, Any] = {
    "Interpolated": {
        "type": "string",
        "pattern": r"\$\{[A-Za-z_]",
        "description": "Text with ${NAME}, ${NAME:-default} or ${NAME:?message} in it.",
    },
    "Secret": {
        "description": "Where the secret is; it never stands in the file itself.",
        "anyOf": [
            _one_key("env", "The environment variable that holds the secret."),
            _one_key("file", "The file that holds the secret."),
            _one_key("credential", "The systemd credential that holds the secret."),
            _INTERPOLATED,
        ],
    },
    "SecretOrText": {
        "description": "Where the secret is, or text that is none.",
        "anyOf": [{"$ref": f"{_REF}Secret"}, {"type": "string"}],
    },
}


def _section(name: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": _REF + name}, {"type": "null"}]}


def _of_kind(
    kind: str, own: dict[str, Any], check: Mapping[str, Any], common: str
) -> dict[str, Any]:
    """A check of one kind: the kind's settings, and by reference those that every check has."""
    shared = {key: {"$ref": f"{_REF}{common}/properties/{key}"} for key in check["properties"]}
    return {
        **own,
        "properties": {"probe": {"const": kind}, **own.get("properties", {}), **shared},
        "required": ["name", "probe", *own.get("required", [])],
        "additionalProperties": False,
    }


def _any_check(check: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Any check: its `probe` says what else it may hold."""
    chosen = [
        {
            "if": {"properties": {"probe": {"const": kind}}, "required": ["probe"]},
            "then": {"$ref": _REF + name},
        }
        for kind, name in kinds.items()
    ]
    return {
        "title": "Check",
        "description": check["description"],
        "type": "object",
        "properties": {
            **check["properties"],
            "probe": {"enum": list(kinds), "description": "The kind of the probe."},
        },
        "required": ["name", "probe"],
        **({"allOf": chosen} if chosen else {}),
    }


def _written(part: Any, *, entry: bool = False) -> Any:
    """A part of pydantic's schema, changed to how values are written in the file."""
    if isinstance(part, list):
        return [_written(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("writeOnly") and part.get("format") == "password":
        return _moved(part, {"$ref": f"{_REF}{'SecretOrText' if entry else 'Secret'}"})
    done = {key: _inner(key, value) for key, value in part.items()}
    default = done.get("default")
    if isinstance(default, float) and done.get("pattern") == _DURATION:
        done["default"] = format_duration(default)
    return _moved(done, {"anyOf": [_bare(done), _INTERPOLATED]}) if _is_narrow(done) else done


def _inner(key: str, value: Any) -> Any:
    if key in {"properties", "$defs", "patternProperties"}:
        return {name: _written(item) for name, item in value.items()}
    if key in {"default", "enum", "const", "required", "examples", "propertyNames"}:
        return value
    return _written(value, entry=key == "additionalProperties")


def _is_narrow(part: Mapping[str, Any]) -> bool:
    """Whether it is of a scalar, and would refuse text with a variable in it."""
    kind = part.get("type")
    if kind == "string":
        return any(name in part for name in _NARROW)
    if kind is None:
        return "enum" in part or "const" in part
    return kind not in ("object", "array", "null")


_ABOUT = ("title", "description", "default", "examples", "deprecated")


def _bare(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in _ABOUT}


def _moved(part: Mapping[str, Any], into: dict[str, Any]) -> dict[str, Any]:
    """What is said about a part, said of the schema that takes its place."""
    return {**{key: copy.copy(part[key]) for key in _ABOUT if key in part}, **into}
