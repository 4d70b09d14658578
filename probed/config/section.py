"""The top-level sections of the file. Each is one class, which is all there is to declare."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar, TypeVar, cast

from probed.fields import Settings


class _Mark:
    """A mark on a field, in its `Annotated`; pydantic passes it over."""

    def __repr__(self) -> str:
        return "RELOADABLE"


RELOADABLE = _Mark()
"""Marks a field that a running daemon adopts on reload, with all below it:
`watch: Annotated[bool, RELOADABLE] = False`. A change of any other field needs a restart.
"""
BUILT_IN: Mapping[str, str] = {
    "service": "probed.config.service:Service",
    "telemetry": "probed.config.telemetry:Telemetry",
}
"""Where the class of each section is. It is imported when it is first needed: pydantic's classes
are slow to make, and a one-shot check needs few of them.
"""


class Section(Settings):
    """A top-level section of the file.

    The loader, the schema, `config show` and `diff`, origins, the rules of a reload, `explain` and
    the settings reference follow from the class: its key, its fields with their defaults and
    docstrings, and the mark `RELOADABLE`.
    """

    key: ClassVar[str]
    example: ClassVar[str] = ""
    """The section as it may stand in a file."""


S = TypeVar("S", bound=Section)
_DEFAULTS: dict[type[Section], Section] = {}


def default_of(section: type[S]) -> S:
    """Return the section as it is where the file does not hold it."""
    if section not in _DEFAULTS:
        _DEFAULTS[section] = section.model_construct()
    return cast("S", _DEFAULTS[section])


class Sections:
    """The sections that a file may hold: the built-in ones, and those given."""

    def __init__(self, *more: type[Section]) -> None:
        self._loaded: dict[str, type[Section]] = {section.key: section for section in more}
        self._names = tuple(dict.fromkeys((*BUILT_IN, *self._loaded)))

    def names(self) -> tuple[str, ...]:
        """The keys, in the order of documents. Nothing is imported for it."""
        return self._names

    def load(self, key: str) -> type[Section]:
        """Return the class of a section."""
        section = self._loaded.get(key)
        if section is None:
            module, _, name = BUILT_IN[key].partition(":")
            section = self._loaded[key] = getattr(import_module(module), name)
        return section

    def all(self) -> tuple[type[Section], ...]:
        """Return the classes of all sections."""
        return tuple(map(self.load, self._names))
