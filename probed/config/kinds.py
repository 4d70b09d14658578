"""The probe kinds that a file may name. Each is loaded and judged once."""

from __future__ import annotations

from probed.config.settings import WRITTEN
from probed.config.shape import Shape, fields_of
from probed.config.source import Node
from probed.config.values import Values
from probed.probe import Probe
from probed.registry import Registry, RegistryError


class Kinds:
    """The installed kinds, loaded on demand."""

    def __init__(self, values: Values, registry: Registry) -> None:
        self._values = values
        self._registry = registry
        self._known: dict[str, type[Probe] | RegistryError] = {}

    def names(self) -> tuple[str, ...]:
        return self._registry.kinds()

    def missing(self, node: Node, path: str) -> None:
        """Note that a check does not say its kind."""
        remedy = f"write `probe:` and {self._one_of()}"
        self._values.files.problem(node.start, f"{path}.probe", "is missing", remedy)

    def named(self, node: Node, path: str) -> type[Probe] | None:
        """Return the kind that a value names; note a problem and return None where there is none."""
        name = self._values.data(node, Shape(scalar="text"), path)
        if not isinstance(name, str) or not name:
            message = "must be the name of a kind" if name else "has no value"
            self._values.wrong(node, path, message, f"write {self._one_of()}")
            return None
        kind = self.find(name)
        if isinstance(kind, RegistryError):
            message, _, remedy = str(kind).partition("; ")
            self._values.wrong(node, path, message, remedy)
            return None
        return kind

    def find(self, name: str) -> type[Probe] | RegistryError:
        """Return the kind of that name, or the error that it gives."""
        kind = self._known.get(name)
        if kind is None:
            kind = self._known[name] = self._load(name)
        return kind

    def _load(self, name: str) -> type[Probe] | RegistryError:
        try:
            kind = self._registry.load(name)
        except RegistryError as error:
            return error
        clash = sorted(fields_of((kind,)).keys() & WRITTEN)
        if clash:
            return RegistryError(
                f"the kind has a setting named {clash[0]}, which every check has; "
                "report it to the author of the kind"
            )
        if name in WRITTEN:  # `defaults` could not tell them apart
            return RegistryError(
                "the kind has the name of a setting that every check has; "
                "report it to the author of the kind"
            )
        return kind

    def _one_of(self) -> str:
        kinds = self._registry.kinds()
        return f"one of {', '.join(kinds)}" if kinds else "install a package with a kind"
