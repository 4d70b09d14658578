"""The JSON Schema of the whole file, for editors and reviews."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import ModelSchema

from probed.config.docs import field_docs
from probed.config.section import RELOADABLE, Section, Sections
from probed.config.settings import (
    NAME,
    NAME_LIMIT,
    CheckSettings,
    CommonSettings,
)
from probed.config.shape import key_of
from probed.config.templates import USE_LIMIT
from probed.fields import format_duration
from probed.registry import Registry

KNOWN = Sections()
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/"
_DURATION = r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"
_INTERPOLATED = {"$ref": f"{_REF}Interpolated"}
_NAMED = {"type": "string", "minLength": 1}
_NARROW = ("pattern", "enum", "const", "maxLength", "minLength", "format")
_UNKNOWN = "A kind of probe that is not installed."


class _Generator(GenerateJsonSchema):
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """With the docstrings of its fields."""
        found = super().model_schema(schema)
        model = schema["cls"]
        docs = field_docs(model)
        for name, info in model.model_fields.items():
            said = docs.get(name, "")
            if issubclass(model, Section) and RELOADABLE not in info.metadata:
                said = f"{said} A change needs a restart.".strip()
            if said:
                found["properties"][key_of(name, info)]["description"] = said
        return found


def schema(registry: Registry, known: Sections = KNOWN) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration file, with the kinds that are installed."""
    kinds = {kind: registry.load(kind) for kind in registry.kinds()}
    sections = known.all()
    models: list[type[BaseModel]] = [*sections, CommonSettings, CheckSettings, *kinds.values()]
    found, generated = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Generator
    )
    definitions = {name: _written(part) for name, part in generated["$defs"].items()}
    names = {model: ref["$ref"].removeprefix(_REF) for (model, _), ref in found.items()}
    common = names[CheckSettings]
    check = definitions[common]
    defaults = definitions[names[CommonSettings]]
    shared = tuple(defaults["properties"])
    required: dict[str, list[str]] = {}
    for kind, model in kinds.items():
        name = names[model]
        definition = definitions[name]
        definition["description"] = inspect.getdoc(model) or kind
        required[kind] = definition.get("required", [])
        definitions[name] = _of_kind(kind, definition, check, common)
        definitions[f"{name}Defaults"] = _of_defaults(kind, definition, shared, name)
    named = {kind: names[model] for kind, model in kinds.items()}
    definitions[common] = _any_check(check, named)
    definitions["Template"] = _template(check, named, common)
    defaults["properties"] |= {kind: _or_null(f"{name}Defaults") for kind, name in named.items()}
    checks = {"type": "array", "maxItems": 50_000, "items": {"$ref": _REF + common}}
    return {
        "$schema": DIALECT,
        "title": "probed",
        "description": "The configuration file of probed, or a file that it includes.",
        "type": "object",
        "anyOf": [
            {"required": ["checks"], "properties": {"checks": {"minItems": 1, "type": "array"}}},
            {"required": ["include"]},
            {"required": ["templates"]},
        ],
        "additionalProperties": False,
        "properties": {
            "include": {
                "description": "Files with more templates and checks, such as conf.d/*.yaml.",
                "anyOf": [_NAMED, {"type": "array", "items": _NAMED}, {"type": "null"}],
            },
            **{section.key: _or_null(names[section]) for section in sections},
            "defaults": _or_null(names[CommonSettings]),
            "templates": {
                "description": "Settings shared by the checks that `use` the template of that name.",
                "type": ["object", "null"],
                "propertyNames": {"pattern": NAME, "maxLength": NAME_LIMIT},
                "additionalProperties": {"$ref": f"{_REF}Template"},
            },
            "checks": {"anyOf": [checks, {"type": "null"}]},
        },
        **_all_of([_required_of(kind, keys) for kind, keys in required.items() if keys]),
        "$defs": {**definitions, **_OURS},
    }


def _required_of(kind: str, keys: list[str]) -> dict[str, Any]:
    """Return the required keys of a check, where neither templates nor defaults can hold them."""
    of_kind = {"properties": {"probe": {"const": kind}}, "required": ["probe"]}
    defaults = {"type": "object", "required": [kind]}
    return {
        "if": {"not": {"properties": {"defaults": defaults}, "required": ["defaults"]}},
        "then": {
            "properties": {
                "checks": {
                    "items": {
                        "if": {**of_kind, "not": {"required": ["use"]}},
                        "then": {"required": keys},
                    }
                }
            }
        },
    }


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


def _or_null(name: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": _REF + name}, {"type": "null"}]}


def _of_kind(
    kind: str, definition: dict[str, Any], check: Mapping[str, Any], common: str
) -> dict[str, Any]:
    """A check of one kind: the kind's settings, and by reference those that every check has."""
    shared = {
        key: {"$ref": f"{_REF}{common}/properties/{key}"} for key in (*check["properties"], "use")
    }
    return {
        **{key: value for key, value in definition.items() if key != "required"},
        "properties": {"probe": {"const": kind}, **definition.get("properties", {}), **shared},
        "additionalProperties": False,
    }


def _of_defaults(
    kind: str, definition: Mapping[str, Any], shared: Sequence[str], name: str
) -> dict[str, Any]:
    """Settings for all checks of one kind."""
    keys = (*definition.get("properties", {}), *shared)
    return {
        "title": f"Defaults of {kind}",
        "description": f"Defaults of all checks of the kind {kind}.",
        "type": "object",
        "properties": {key: {"$ref": f"{_REF}{name}/properties/{key}"} for key in keys},
        "additionalProperties": False,
    }


def _template(check: Mapping[str, Any], kinds: Mapping[str, str], common: str) -> dict[str, Any]:
    """Return the schema of a template, for its kind if it names one."""
    keys = (*(key for key in check["properties"] if key != "name"), "probe", "use")
    return {
        "title": "Template",
        "description": "Settings shared by the checks that `use` it.",
        "type": "object",
        "properties": {
            **{key: {"$ref": f"{_REF}{common}/properties/{key}"} for key in keys},
            "name": False,
        },
        **_chosen(kinds),
    }


def _chosen(kinds: Mapping[str, str]) -> dict[str, Any]:
    return _all_of([
        {
            "if": {"properties": {"probe": {"const": kind}}, "required": ["probe"]},
            "then": {"$ref": _REF + name},
        }
        for kind, name in kinds.items()
    ])  # fmt: skip


def _all_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"allOf": parts} if parts else {}  # the dialect refuses an empty list


def _any_check(check: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Any check: its `probe` says what else it may hold."""
    return {
        "title": "Check",
        "description": check["description"],
        "type": "object",
        "properties": {
            **check["properties"],
            "probe": {"enum": list(kinds), "description": "The kind of the probe."},
            "use": {
                "description": "Templates for what is not written here; later ones win.",
                "anyOf": [_NAMED, {"type": "array", "items": _NAMED, "maxItems": USE_LIMIT}],
            },
        },
        "required": ["name"],
        "anyOf": [{"required": ["probe"]}, {"required": ["use"]}],
        **_chosen(kinds),
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
    """Return whether the part is of a scalar, and would refuse text with a variable in it."""
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
    """Return `into` with the description of the part that it replaces."""
    return {**{key: copy.copy(part[key]) for key in _ABOUT if key in part}, **into}
