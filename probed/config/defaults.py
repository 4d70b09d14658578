"""The section `defaults`: settings for all checks, and for those of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from probed.config.kinds import Kinds
from probed.config.settings import WRITTEN, CommonSettings
from probed.config.source import Node
from probed.config.templates import judge_part
from probed.config.values import Values
from probed.registry import RegistryError

_CHECK_ONLY = WRITTEN - frozenset(CommonSettings.model_fields)
"""Keys that belong to a check or its templates, never to `defaults`."""
_KIND = "must be a mapping: settings of the kind, and those that every check has"


class Defaults(NamedTuple):
    """`common` holds for all; `nodes` are its values as they were written, `kinds` those by kind."""

    common: CommonSettings = CommonSettings.model_construct()
    nodes: Mapping[str, Node] = MappingProxyType({})
    kinds: Mapping[str, Node] = MappingProxyType({})


def read_defaults(values: Values, node: Node | None, kinds: Kinds) -> Defaults:
    """The section; what is wrong with it is noted, whether a check needs it or not."""
    if node is None or (node.value is None and node.plain):
        return Defaults()
    written = node.value if isinstance(node.value, dict) else {}
    others = frozenset(written) - frozenset(CommonSettings.model_fields)
    offered = frozenset(kinds.names()) if others else frozenset[str]()
    found = {
        name: part for name in others & offered if (part := _of_kind(values, written, name, kinds))
    }
    common = values.model(
        node, CommonSettings, "defaults", leave_out=others & offered, also_known=offered
    )
    nodes = {name: part for name, part in written.items() if name not in others}
    return Defaults(common or Defaults().common, nodes, found)


def _of_kind(values: Values, written: Mapping[str, Node], name: str, kinds: Kinds) -> Node | None:
    node, path = written[name], f"defaults.{name}"
    if node.value is None and node.plain:
        return None
    if not isinstance(node.value, dict):
        values.wrong(node, path, _KIND)
        return None
    kind = kinds.find(name)
    if isinstance(kind, RegistryError):
        message, _, remedy = str(kind).partition("; ")
        values.wrong(node, path, message, remedy)
        return None
    judge_part(values, node, path, CommonSettings, kind)
    shared = Node(
        {key: n for key, n in node.value.items() if key not in _CHECK_ONLY}, node.start, node.end
    )
    shared.keys = node.keys
    return shared
