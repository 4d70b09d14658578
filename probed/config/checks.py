"""The list of checks: each one's settings, its kind's and those that every check has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probed.config.graph import Named, check_names
from probed.config.model import Check
from probed.config.references import in_urls
from probed.config.settings import COMMON, LABEL_LIMIT, CheckSettings, CommonSettings
from probed.config.shape import Shape, fields_of
from probed.config.source import Node
from probed.config.values import Values
from probed.fields import format_duration
from probed.probe import Probe
from probed.registry import Registry, RegistryError

CHECK_LIMIT = 50_000
_CHECK = "must be a mapping that begins with `- name: …`"
_DEFAULTS = CheckSettings.model_fields


def read_checks(
    values: Values, node: Node, registry: Registry, defaults: CommonSettings
) -> tuple[Check, ...]:
    """The checks; what is wrong is noted, and then they are not to be used."""
    items = node.value
    if items is None or items == []:
        values.wrong(node, "checks", "there is no check", "write one: - name: …")
    elif not isinstance(items, list):
        values.wrong(node, "checks", "must be a list", "begin each check with `- name: …`")
    elif len(items) > CHECK_LIMIT:
        values.wrong(node, "checks", f"must have at most {CHECK_LIMIT} checks")
    else:
        reader = _Reader(values, registry, defaults.written)
        found = [reader.check(item, f"checks[{at}]") for at, item in enumerate(items)]
        check_names(values, reader.named)
        return tuple(check for check in found if check is not None)
    return ()


class _Reader:
    """Reads checks one by one; what is wrong with a kind is found out once."""

    def __init__(self, values: Values, registry: Registry, defaults: Mapping[str, Any]) -> None:
        self.named: list[Named] = []
        self._values = values
        self._registry = registry
        self._defaults = defaults
        self._kinds: dict[str, type[Probe] | RegistryError] = {}

    def check(self, node: Node, path: str) -> Check | None:
        written = node.value
        if not isinstance(written, dict):
            self._values.wrong(node, path, _CHECK)
            return None
        kind = self._kind(node, written, path)
        own = frozenset(written) - COMMON
        common = self._values.model(node, CheckSettings, path, leave_out=own | {"probe"})
        probe, kept = None, dict[str, Any]()
        if kind is not None:
            probe = self._values.model(
                node, kind, path, leave_out=COMMON, also_known=COMMON, keep=kept
            )
        if common is None:
            self.named.append(Named(path, node, _text(written.get("name")), ()))
            return None
        self.named.append(Named(path, node, common.name, common.depends_on))
        settings = self._settings(common, node, written, path)
        if probe is None:
            return None
        for secret in in_urls(probe):
            self._values.secrets.add(secret)
        position = self._values.source.position(node.start)
        return Check(probe=probe, position=position, written=kept, **settings)

    def _settings(
        self, common: CheckSettings, node: Node, written: Mapping[str, Node], path: str
    ) -> dict[str, Any]:
        """The check's own over the defaults, and what must hold of both together."""
        settings = {**self._defaults, **common.written}
        settings["labels"] = {**self._defaults.get("labels", {}), **common.labels}
        if len(settings["labels"]) > LABEL_LIMIT:
            self._values.wrong(
                written.get("labels", node), f"{path}.labels",
                f"must have at most {LABEL_LIMIT} items, with those of `defaults`",
            )  # fmt: skip
        interval = settings.get("interval", _DEFAULTS["interval"].default)
        # A short interval alone must not make the default timeout an error.
        timeout = settings.setdefault("timeout", min(_DEFAULTS["timeout"].default, interval))
        if timeout > interval:
            key = "timeout" if "timeout" in written or "interval" not in written else "interval"
            self._values.wrong(
                written.get(key, node), f"{path}.{key}",
                f"the timeout of {format_duration(timeout)} is longer than the interval of "
                f"{format_duration(interval)}",
                f"write a timeout of at most {format_duration(interval)}",
            )  # fmt: skip
        return settings

    def _kind(self, node: Node, written: Mapping[str, Node], path: str) -> type[Probe] | None:
        where = f"{path}.probe"
        named = written.get("probe")
        if named is None:
            self._values.source.problem(
                node.start, where, "is missing", f"write `probe:` and {_one_of(self._registry)}"
            )
            return None
        name = self._values.data(named, Shape(scalar="text"), where)
        if not isinstance(name, str) or not name:
            message = "must be the name of a kind" if name else "has no value"
            self._values.wrong(named, where, message, f"write {_one_of(self._registry)}")
            return None
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = self._load(name)
        if isinstance(kind, RegistryError):
            message, _, remedy = str(kind).partition("; ")
            self._values.wrong(named, where, message, remedy)
            return None
        return kind

    def _load(self, name: str) -> type[Probe] | RegistryError:
        try:
            kind = self._registry.load(name)
        except RegistryError as error:
            return error
        clash = sorted(fields_of((kind,)).keys() & COMMON)
        if clash:
            return RegistryError(
                f"the kind has a setting named {clash[0]}, which every check has; "
                "report it to the author of the kind"
            )
        return kind


def _one_of(registry: Registry) -> str:
    kinds = registry.kinds()
    return f"one of {', '.join(kinds)}" if kinds else "install a package with a kind"


def _text(node: Node | None) -> str:
    return node.value if node is not None and isinstance(node.value, str) else ""
