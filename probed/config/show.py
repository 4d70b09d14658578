"""The effective configuration as YAML: defaults applied, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any

import yaml
from pydantic import BaseModel, PlainSerializer, SecretStr

from probed.config.excerpt import names_secret
from probed.config.interpolate import escape
from probed.config.model import Check, Config, Origin
from probed.config.scalars import resolve
from probed.config.settings import CheckSettings
from probed.config.shape import ANY, Shape, fields_of, key_of
from probed.config.source import yaml_loader
from probed.fields import Private, Settings, format_duration, format_size
from probed.text.redact import MASK, Redactor, redact_url, sanitize

_NEVER = 1 << 30
"""A width at which no line is broken: a comment could not follow a value that goes on."""
_BREAKS = re.compile(r"[\x85\u2028\u2029\ufeff]")


def show(config: Config, *, name: str | None = None, origins: bool = False) -> str:
    """Return the effective configuration, or one check of it. It can be loaded again, but for secrets.

    With `origins` a comment after each value names its place; `config` must be loaded with origins.
    """
    view = View(config.redactor)
    chosen = [check for check in config.checks if name in {None, check.name}]
    document: dict[str, Any] = {}
    if name is None:
        for section in config.known.all():
            document[section.key] = view.settings(config.section(section), section)
    document["checks"] = [view.check(check) for check in chosen]
    text = _dump(document, width=_NEVER if origins else 100)
    if not origins:
        return text
    return _commented(text, config.origins, [check.name for check in chosen])


def _dump(document: Any, *, width: int) -> str:
    return str(
        yaml.dump(
            document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width,
            default_flow_style=False,
        )
    )  # fmt: skip


def _commented(text: str, origins: Mapping[str, Mapping[str, Origin]], names: Sequence[str]) -> str:
    lines = text.split("\n")
    for path, end in _leaves(yaml.compose(text, Loader=yaml_loader()), ()):
        key, inner = ("", path)
        if path[0] == "checks":
            key, inner = names[int(path[1])], path[2:]
        where = _written(origins.get(key, {}), inner)
        lines[end] += f"  # {sanitize(where, 4096)}"
    return "\n".join(lines)


def _leaves(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The paths of the values that hold no others, and the lines in which they end."""
    if node.id == "mapping" and node.value:
        for key, value in node.value:
            yield from _leaves(value, (*path, key.value))
    elif node.id == "sequence" and node.value:
        for at, value in enumerate(node.value):
            yield from _leaves(value, (*path, at))
    else:
        yield path, node.end_mark.line


def _written(places: Mapping[str, Origin], path: tuple[str | int, ...]) -> str:
    """Return the place of a value, or of the value that it is derived from: `2xx` becomes a list."""
    for length in range(len(path), 0, -1):
        text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path[:length])
        place = places.get(text.removeprefix("."))
        if place is not None:
            return "built in" if place.mapping and length < len(path) else place.where
    return "built in"


class View:
    """The effective settings as plain values. `hide` replaces each secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def hide(self, value: str, shown: str) -> Any:  # noqa: ARG002
        """Return what is shown for a value that is secret, or holds a secret."""
        return shown

    def check(self, check: Check) -> dict[str, Any]:
        """Name and kind, then the kind's settings, then those that every check has."""
        common = self.settings(check, CheckSettings)
        own = self.model(check.probe, check.written or None)
        return {"name": common.pop("name"), "probe": check.probe.kind, **own, **common}

    def settings(self, record: Any, model: type[Settings]) -> dict[str, Any]:
        """A frozen record by the model that it was read by; what is not set is left out."""
        shapes = fields_of((model,))
        shown: dict[str, Any] = {}
        for name in model.model_fields:
            value = getattr(record, name)
            if models := shapes[name].models:
                shown[name] = self.settings(value, models[0])  # type: ignore[arg-type]
            elif value is not None and value not in ((), {}):
                shown[name] = self.value(value, shapes[name], name)
        return {name: value for name, value in shown.items() if value != {}}

    def model(self, record: BaseModel, written: Any = None) -> dict[str, Any]:
        """A model's settings; where only its validators know how, as they were written."""
        kind = type(record)
        shapes = fields_of((kind,))
        source = written if isinstance(written, Mapping) else {}
        unwritten: Any = None if written is None else {}
        shown: dict[str, Any] = {}
        for name, info in kind.model_fields.items():
            value, key = getattr(record, name), key_of(name, info)
            if any(isinstance(part, PlainSerializer) for part in info.metadata):
                # The kind says itself how it is written.
                dumped = record.model_dump(mode="json", include={name}, by_alias=True)[key]
                shown[key] = self.value(dumped, ANY, key)
            elif shapes[key].custom and written is not None:
                if key in source:
                    shown[key] = self.value(source[key], ANY, key)
            elif value is not None or info.default is not None:
                shown[key] = self.value(value, shapes[key], key, source.get(key, unwritten))
        return shown

    def value(self, value: Any, shape: Shape, key: str = "", written: Any = None) -> Any:
        if isinstance(value, SecretStr):
            return self.hide(value.get_secret_value(), MASK)
        if isinstance(value, Private):
            return self.hide(value.text, str(value))
        if isinstance(value, BaseModel):
            return self.model(value, written)
        if isinstance(value, Mapping):
            inner = shape.values or ANY
            source = written if isinstance(written, Mapping) else {}
            return {
                self._text(str(name)): self.value(item, inner, str(name), source.get(name))
                for name, item in value.items()
            }
        if isinstance(value, set | frozenset):
            return sorted((self.value(item, shape.items or ANY, key) for item in value), key=str)
        if isinstance(value, list | tuple):
            known = isinstance(written, list) and len(written) == len(value)
            items = written if known else [written] * len(value)
            return [
                self.value(item, shape.items or ANY, key, source)
                for item, source in zip(value, items, strict=True)
            ]
        return self._scalar(value, shape, key)

    def _scalar(self, value: Any, shape: Shape, key: str) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if shape.scalar == "size":
                return format_size(int(value))
            return format_duration(value) if shape.scalar == "duration" else value
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        text = str(value)
        if names_secret(key) and not isinstance(value, PurePath):
            return self.hide(text, MASK)
        plain = text
        if "://" in text and text[:8].lower().startswith(("http://", "https://")):
            plain = redact_url(text, 4096)
        shown = self._text(plain)
        return shown if shown == escape(text) else self.hide(text, shown)

    def _text(self, text: str) -> str:
        return escape(self._redactor.redact(text))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes what YAML 1.2 would take for something else than text; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent(dumper: Any, text: str) -> Any:
    plain = isinstance(resolve(text), str) and not _BREAKS.search(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent)
