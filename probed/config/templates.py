"""`templates`, `use`, and the defaults of a kind: what a check is put together from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from probed.config.graph import cycles
from probed.config.kinds import Kinds
from probed.config.merge import merge, share
from probed.config.settings import CheckSettings, CommonSettings, is_name
from probed.config.shape import Shape
from probed.config.source import Node
from probed.config.values import Values
from probed.probe import Probe
from probed.text.suggest import closest

USE_LIMIT = 20
DEPTH = 8
"""How deep templates may use others."""
SHARED_LIMIT = 1_000_000
"""Values in all checks that templates and the defaults of kinds stand for."""
_APART = frozenset({"name", "probe", "use"})
_USE = "write the name of a template, or a list of them"
_TEMPLATE = "must be a mapping: what the checks that use it have in common"


class Used(NamedTuple):
    """The templates that something uses; `known` is false where one of them is not to be had."""

    names: tuple[str, ...] = ()
    known: bool = True


class _Template:
    """`size` counts its values with those of the templates that it uses."""

    def __init__(self, name: str, node: Node, key: Node, size: int) -> None:
        self.name = name
        self.node = node
        self.key = key
        self.size = size
        self.uses = Used()
        self.probe: Node | None = None
        self.used = False


class Templates:
    """The templates of all files, and the defaults by kind."""

    def __init__(self, values: Values, kinds: Kinds, defaults: Mapping[str, Node]) -> None:
        self._values = values
        self._kinds = kinds
        self._defaults = defaults
        self._sizes = {
            kind: share(node, f"defaults.{kind}", "defaults") for kind, node in defaults.items()
        }
        self._known: dict[str, _Template] = {}
        self._flat: dict[tuple[type[Probe] | None, str], Node] = {}
        self._bases: dict[tuple[type[Probe] | None, tuple[str, ...]], Node | None] = {}
        self._left = SHARED_LIMIT

    def read(self, sections: Sequence[Node]) -> None:
        """Take the `templates` of each file; what is wrong with any is noted, used or not."""
        for section in sections:
            for name, key, node in self._items(section):
                self._add(name, key, node)
        for template in self._known.values():
            node = template.node
            template.uses = self.uses(node, f"templates.{template.name}")
        self._untangle()
        for template in self._known.values():
            self._judge(template)

    def uses(self, node: Node, path: str) -> Used:
        """The templates that a mapping uses, as far as there are such."""
        written = node.value.get("use") if isinstance(node.value, dict) else None
        if written is None:
            return Used()
        where = f"{path}.use"
        items = written.value if isinstance(written.value, list) else [written]
        if len(items) > USE_LIMIT:
            self._values.wrong(written, where, f"must have at most {USE_LIMIT} items")
            return Used((), known=False)
        found: list[str] = []
        for at, item in enumerate(items):
            inner = where if item is written else f"{where}[{at}]"
            name = self._values.data(item, Shape(scalar="text"), inner)
            if isinstance(name, str) and name in self._known:
                found.append(name)
            elif not isinstance(name, str):
                if name is None or isinstance(name, dict | list):
                    self._values.wrong(item, inner, "must be the name of a template", _USE)
            elif self._values.files.complete:
                self._values.wrong(
                    item, inner, "there is no template of that name", self._hint(name)
                )
        known = len(found) == len(items) and all(self._known[name].uses.known for name in found)
        return Used(tuple(found), known)

    def probe(self, names: Sequence[str]) -> Node | None:
        """Where the last of the templates to say so names the kind."""
        found = (self._known[name].probe for name in reversed(names))
        return next((node for node in found if node is not None), None)

    @property
    def spent(self) -> bool:
        """Whether more was asked for than there may be, which was noted."""
        return self._left < 0

    def complete(
        self, node: Node, path: str, kind: type[Probe] | None, names: tuple[str, ...]
    ) -> Node:
        """The check over its templates, and these over the defaults of its kind."""
        size = sum(self._known[name].size for name in names)
        if kind is not None:
            size += self._sizes.get(kind.kind, 0)
        if not size or self.spent:
            return node
        self._left -= size
        if self._left < 0:
            self._values.wrong(
                node, path,
                f"more than {SHARED_LIMIT} values in all checks, counting what templates and the "
                "defaults of kinds stand for",
            )  # fmt: skip
            return node
        base = self._base(kind, names)
        return node if base is None else merge(base, node, _shape(kind))

    def warn(self) -> None:
        """Say which templates no check uses."""
        for template in self._known.values():
            if not template.used:
                where = self._values.files.line(template.key.start)
                warning = f"{where}: no check uses the template `{template.name}`"
                self._values.warnings[warning] = None

    def _items(self, section: Node) -> Iterator[tuple[str, Node, Node]]:
        if section.value is None and section.plain:
            return
        if not isinstance(section.value, dict):
            self._values.wrong(
                section, "templates", "must be a mapping of names to templates",
                "write a name, and below it what checks have in common",
            )  # fmt: skip
            return
        for name, node in section.value.items():
            mark = section.keys[name]
            yield name, Node(name, mark, mark), node

    def _add(self, name: str, key: Node, node: Node) -> None:
        path = f"templates.{name}"
        if not is_name(name):
            self._values.wrong(
                key, path, "the name of a template must begin with a letter or digit and hold only "
                "letters, digits and . _ / -, at most 100",
            )  # fmt: skip
            return
        if not isinstance(node.value, dict):
            self._values.wrong(node, path, _TEMPLATE)
            return
        first = self._known.get(name)
        if first is not None:
            where = self._values.files.place(first.key.start, key.start)
            remedy = f"the template in {where} has it"
            self._values.wrong(key, path, "the name is not unique", remedy)
            return
        size = share(node, path, f"template {name}")
        self._known[name] = _Template(name, node, key, size)

    def _hint(self, name: str) -> str:
        close = closest(name, self._known) if self._values.hints else None
        if close is not None:
            return f"did you mean `{close}`?"
        return _listed(self._known) if self._known else "there are no `templates`"

    def _untangle(self) -> None:
        """Take out what goes in a circle or too deep; find sizes and kinds, those used first."""
        known = self._known
        for circle in cycles({name: list(t.uses.names) for name, t in known.items()}):
            told = " -> ".join(
                [*(circle if len(circle) <= DEPTH else [*circle[:DEPTH], "…"]), circle[0]]
            )
            self._wrong_use(known[circle[0]], f"uses itself: {told}")
            for name in circle:
                known[name].uses = Used((), known=False)
        waiting, done = list(known.values()), set[str]()
        for _ in range(DEPTH):
            ready = [t for t in waiting if done.issuperset(t.uses.names)]
            waiting = [t for t in waiting if not done.issuperset(t.uses.names)]
            for template in ready:
                written = template.node.value
                template.probe = written.get("probe") if isinstance(written, dict) else None
                names, whole = template.uses
                template.uses = Used(names, whole and all(known[n].uses.known for n in names))
                template.probe = template.probe or self.probe(names)
                template.size += sum(known[name].size for name in names)
            done.update(template.name for template in ready)
        for template in waiting:
            if done.issuperset(template.uses.names):
                self._wrong_use(template, f"templates use each other more than {DEPTH} deep")
            template.uses = Used((), known=False)

    def _wrong_use(self, template: _Template, message: str) -> None:
        written = template.node.value
        node = written["use"] if isinstance(written, dict) else template.node
        self._values.wrong(node, f"templates.{template.name}.use", message, "remove one of them")

    def _judge(self, template: _Template) -> None:
        """Note what is wrong with a template, as far as it can be told without a check."""
        node, path = template.node, f"templates.{template.name}"
        written = node.value
        assert isinstance(written, dict)
        if "name" in written:
            self._values.files.problem(
                node.keys["name"], f"{path}.name", "a template has no name of a check",
                "write it where the template is used",
            )  # fmt: skip
        kind = None
        if template.probe is not None:
            kind = self._kinds.named(template.probe, f"{path}.probe")
        judge_part(self._values, node, path, CheckSettings, kind, apart=_APART)

    def _base(self, kind: type[Probe] | None, names: tuple[str, ...]) -> Node | None:
        """Return the settings below a check of that kind with these templates."""
        if (kind, names) not in self._bases:
            parts = [self._flatten(kind, name) for name in names]
            if kind is not None and kind.kind in self._defaults:
                parts.insert(0, self._defaults[kind.kind])
            self._bases[kind, names] = _merged(parts, kind) if parts else None
        return self._bases[kind, names]

    def _flatten(self, kind: type[Probe] | None, name: str) -> Node:
        """A template over those that it uses. It is used, then."""
        flat = self._flat.get((kind, name))
        if flat is None:
            template = self._known[name]
            template.used = True
            parts = [*(self._flatten(kind, used) for used in template.uses.names), template.node]
            flat = self._flat[kind, name] = _merged(parts, kind)
        return flat


def judge_part(
    values: Values,
    node: Node,
    path: str,
    common: type[CommonSettings],
    kind: type[Probe] | None,
    *,
    apart: frozenset[str] = frozenset(),
) -> None:
    """Note what is wrong with a part of a check. Keys `apart` are read elsewhere; without a kind
    nothing is said of keys that may be its.
    """
    if not isinstance(node.value, dict):
        return
    known = frozenset(common.model_fields) | apart
    values.model(
        node, common, path, leave_out=(frozenset(node.value) - known) | apart, partial=True
    )
    if kind is not None:
        values.model(node, kind, path, leave_out=known, also_known=known - {"name"}, partial=True)


def _merged(parts: Sequence[Node], kind: type[Probe] | None) -> Node:
    shape = _shape(kind)
    return reduce(lambda low, high: merge(low, high, shape), parts)


def _shape(kind: type[Probe] | None) -> Shape:
    return Shape(models=(CheckSettings,) if kind is None else (CheckSettings, kind))


def _listed(names: Mapping[str, object]) -> str:
    shown = sorted(names)[:20]
    return f"there are {', '.join(shown)}" + (", …" if len(names) > len(shown) else "")
