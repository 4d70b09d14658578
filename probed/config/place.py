"""The place in the file of one of pydantic's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from probed.config.shape import ANY, Shape, fields_of

if TYPE_CHECKING:
    from probed.config.source import Mark, Node


class Place(NamedTuple):
    """A node, its shape and path; `owner` is the mapping that holds it under `key`, and becomes one
    of the `models`.
    """

    node: Node
    shape: Shape
    path: str
    owner: Node | None = None
    models: tuple[type[BaseModel], ...] = ()
    key: str = ""
    is_key: bool = False

    @property
    def mark(self) -> Mark:
        return self.key_mark if self.is_key else self.node.start

    @property
    def key_mark(self) -> Mark:
        keys = self.owner.keys if self.owner is not None else {}
        return keys.get(self.key, self.node.start)

    @property
    def written(self) -> Mapping[str, Node]:
        value = self.owner.value if self.owner is not None else None
        return value if isinstance(value, dict) else {}

    @property
    def siblings(self) -> Mapping[str, Shape]:
        """The shapes of all keys that the owner may have."""
        return fields_of(self.models)

    @property
    def hint(self) -> str | None:
        """The remedy for an unknown key, where a model of the owner has one."""
        for model in self.models:
            hints: Mapping[str, str] = getattr(model, "hints", {})
            if self.key in hints:
                return hints[self.key]
        return None

    @property
    def write(self) -> str:
        """The remedy for a missing key."""
        return f"write `{self.key}: {self.shape.sample or '…'}`"


def locate(root: Place, loc: tuple[int | str, ...]) -> Place:
    """Follow an error's location. What is in no node is the name of a type, and skipped; at the
    end it is a key that is missing.
    """
    place = root
    for at, part in enumerate(loc):
        value, shape = place.node.value, place.shape
        if isinstance(value, dict) and isinstance(part, str):
            inner = shape.fields.get(part) or shape.values or ANY
            path = f"{place.path}.{part}" if place.path else part
            if part in value:
                node = value[part]
                path = path if node.shared is None else node.shared.path
                place = Place(node, inner, path, place.node, shape.models, part)
            elif part == "[key]":
                return place._replace(is_key=True)
            elif at == len(loc) - 1 and part in shape.fields:
                return Place(place.node, inner, path, place.node, shape.models, part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            node = value[part]
            path = f"{place.path}[{part}]" if node.shared is None else node.shared.path
            place = Place(node, shape.items or ANY, path)
    return place
