"""The place of each value of the configuration, for `probed config show --origin`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probed.config.defaults import Defaults
from probed.config.files import Files
from probed.config.model import Config, Origin
from probed.config.source import Node


def origins_of(
    files: Files, root: Node, defaults: Defaults, config: Config, nodes: Sequence[Node]
) -> Mapping[str, Mapping[str, Origin]]:
    """Return the places by the name of the check, and by the path below it. Those of the sections
    have no name. `nodes` are the checks', in their order.
    """
    sections: dict[str, Origin] = {}
    written = root.value if isinstance(root.value, dict) else {}
    for section in config.known.names():
        if section in written:
            _walk(files, written[section], section, "", sections)
    found: dict[str, Mapping[str, Origin]] = {"": sections}
    for check, node in zip(config.checks, nodes, strict=True):
        places: dict[str, Origin] = {}
        for key, value in defaults.nodes.items():
            _walk(files, value, key, "defaults", places)
        _walk(files, node, "", "", places)
        found[check.name] = places
    return found


def _walk(files: Files, node: Node, path: str, words: str, found: dict[str, Origin]) -> None:
    value = node.value
    where = files.line(node.start)
    if node.shared is not None:
        words = node.shared.words
    if path:
        found[path] = Origin(f"{words}, {where}" if words else where, isinstance(value, dict))
    if isinstance(value, dict):
        for key, child in value.items():
            _walk(files, child, f"{path}.{key}" if path else key, words, found)
    elif isinstance(value, list):
        for at, child in enumerate(value):
            _walk(files, child, f"{path}[{at}]", words, found)
