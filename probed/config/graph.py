"""Rules between checks: names are unique, dependencies exist and form no cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from probed.config.source import Node
from probed.config.values import Values
from probed.text.suggest import closest

_SHOWN = 10


class Named(NamedTuple):
    """A check as far as it could be read; `name` is empty where it could not."""

    path: str
    node: Node
    name: str
    depends_on: tuple[str, ...]

    def part(self, key: str, at: int | None = None) -> Node:
        """The node of a key, or of an item of its list."""
        value = self.node.value
        found = value.get(key, self.node) if isinstance(value, dict) else self.node
        if at is not None and isinstance(found.value, list) and at < len(found.value):
            return found.value[at]
        return found


def check_names(values: Values, checks: Sequence[Named]) -> None:
    """Note names that stand twice, and dependencies that are unknown or go in a circle."""
    known: dict[str, Named] = {}
    for check in checks:
        if not check.name:
            continue
        first = known.setdefault(check.name, check)
        if first is not check:
            node = check.part("name")
            where = values.files.place(first.part("name").start, node.start)
            values.wrong(
                node, f"{check.path}.name", "the name is not unique", f"the check in {where} has it"
            )
    edges: dict[str, list[str]] = {}
    for check in known.values():
        edges[check.name] = [*_known_parents(values, check, known)]
    for cycle in cycles(edges):
        check = known[cycle[0]]
        names = cycle if len(cycle) <= _SHOWN else [*cycle[:_SHOWN], "…"]
        values.wrong(
            check.part("depends_on"), f"{check.path}.depends_on",
            "depends on itself: " + " -> ".join([*names, cycle[0]]),
            "remove one of them",
        )  # fmt: skip


def _known_parents(values: Values, check: Named, known: dict[str, Named]) -> Iterator[str]:
    for at, parent in enumerate(check.depends_on):
        node, path = check.part("depends_on", at), f"{check.path}.depends_on[{at}]"
        if parent in known:
            yield parent
        elif values.files.complete:
            # Likeness costs time, and nobody reads thousands of hints.
            close = closest(parent, known) if values.hints else None
            remedy = f"did you mean `{close}`?" if close else "write the name of another check"
            values.wrong(node, path, "there is no check of that name", remedy)


def cycles(edges: dict[str, list[str]]) -> Iterator[list[str]]:
    """Circles, each from the name that stands first in the file. Chains may be long: no recursion."""
    done: set[str] = set()
    for root, parents in edges.items():
        if root in done:
            continue
        trail: dict[str, Iterator[str]] = {root: iter(parents)}
        while trail:
            name = next(reversed(trail))
            parent = next(trail[name], None)
            if parent is None:
                done.add(name)
                del trail[name]
            elif parent in trail:
                names = list(trail)
                yield names[names.index(parent) :]
            elif parent not in done:
                trail[parent] = iter(edges[parent])
