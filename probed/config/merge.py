"""Values that several checks share, and what a check makes of them: later ones win.

Mappings merge key by key. Lists and scalars replace what was there, and so does a mapping that says
where a secret is: `{env: A}` over `{file: B}` is `{env: A}`.
"""

from __future__ import annotations

from probed.config.shape import ANY, Shape
from probed.config.source import Node, Written
from probed.config.values import is_reference


def share(node: Node, path: str, words: str) -> int:
    """Remember where a value and its parts were written; returns how many they are.

    What an alias stands for keeps the place where it is itself.
    """
    start, end, size = node.start, node.end, 0
    waiting = [(node, path)]
    while waiting:
        part, where = waiting.pop()
        size += 1
        if start <= part.start <= end:
            part.shared = Written(where, words)
        value = part.value
        if isinstance(value, dict):
            waiting += ((child, f"{where}.{key}") for key, child in value.items())
        elif isinstance(value, list):
            waiting += ((child, f"{where}[{at}]") for at, child in enumerate(value))
    return size


def merge(low: Node, high: Node, shape: Shape = ANY) -> Node:
    """The second over the first. It stands where the second does."""
    below, above = low.value, high.value
    if not isinstance(below, dict) or not isinstance(above, dict):
        return high
    if shape.secret and (is_reference(below, shape) or is_reference(above, shape)):
        return high
    fields, values = shape.fields, shape.values
    merged = dict(below)
    for key, node in above.items():
        under = below.get(key)
        merged[key] = (
            node if under is None else merge(under, node, fields.get(key) or values or ANY)
        )
    made = Node(merged, high.start, high.end)
    made.keys = low.keys | high.keys
    made.shared = high.shared
    return made
