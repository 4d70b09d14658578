"""The list of checks: each one's settings, its kind's and those that every check has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from probed.config.defaults import Defaults
from probed.config.graph import Named, check_names
from probed.config.kinds import Kinds
from probed.config.model import Check
from probed.config.references import in_settings
from probed.config.settings import COMMON, LABEL_LIMIT, WRITTEN, CheckSettings, written
from probed.config.source import Node
from probed.config.templates import Templates
from probed.config.values import Values
from probed.fields import format_duration

CHECK_LIMIT = 50_000
_CHECK = "must be a mapping that begins with `- name: …`"
_DEFAULTS = CheckSettings.model_fields


class Checks:
    """Reads checks one by one. `nodes` are those of the checks, with what they are made of."""

    def __init__(
        self, values: Values, kinds: Kinds, defaults: Defaults, templates: Templates
    ) -> None:
        self.nodes: list[Node] = []
        self._values = values
        self._kinds = kinds
        self._defaults = defaults
        self._common = written(defaults.common)
        self._templates = templates
        self._named: list[Named] = []

    def read(self, sections: Sequence[Node]) -> tuple[Check, ...]:
        """The checks of all files; what is wrong is noted, and then they are not to be used."""
        values = self._values
        found: list[Check | None] = []
        count = 0
        for section in sections:
            items = section.value
            if items is None and section.plain:
                continue
            if not isinstance(items, list):
                remedy = "begin each check with `- name: …`"
                values.wrong(section, "checks", "must be a list", remedy)
                count += 1
                continue
            count += len(items)
            if count > CHECK_LIMIT:
                values.wrong(section, "checks", f"must have at most {CHECK_LIMIT} checks")
                return ()
            for at, item in enumerate(items):
                found.append(self._check(item, f"checks[{at}]"))
                if self._templates.spent:
                    return ()
        if not count and values.files.complete:
            values.wrong(sections[0], "checks", "there is no check", "write one: - name: …")
        check_names(values, self._named)
        return tuple(check for check in found if check is not None)

    def _check(self, node: Node, path: str) -> Check | None:
        if not isinstance(node.value, dict):
            self._values.wrong(node, path, _CHECK)
            return None
        use = self._templates.uses(node, path)
        named = node.value.get("probe") or self._templates.probe(use.names)
        kind = None
        if named is not None:
            kind = self._kinds.named(named, f"{path}.probe")
        elif use.known:
            self._kinds.missing(node, path)
        node = self._templates.complete(node, path, kind, use.names)
        found = node.value
        assert isinstance(found, dict)
        partial = not use.known or self._templates.spent
        own = frozenset(found) - COMMON
        common = self._values.model(
            node, CheckSettings, path, leave_out=own | {"probe"}, partial=partial
        )
        probe, as_written = None, dict[str, Any]()
        if kind is not None:
            probe = self._values.model(
                node, kind, path,
                leave_out=WRITTEN, also_known=WRITTEN, values=as_written, partial=partial,
            )  # fmt: skip
        if common is None:
            self._named.append(Named(path, node, _text(found.get("name")), ()))
            return None
        self._named.append(Named(path, node, common.name, common.depends_on))
        settings = self._settings(common, node, found, path)
        if probe is None:
            return None
        for secret in in_settings(probe):
            self._values.secrets.add(secret)
        self.nodes.append(node)
        position = self._values.files.position(node.start)
        return Check(probe=probe, position=position, written=as_written, **settings)

    def _settings(
        self, common: CheckSettings, node: Node, found: Mapping[str, Node], path: str
    ) -> dict[str, Any]:
        """The check's own over the defaults, and what must hold of both together."""
        settings = {**self._common, **written(common)}
        settings["labels"] = {**self._common.get("labels", {}), **common.labels}
        if len(settings["labels"]) > LABEL_LIMIT:
            self._values.wrong(
                found.get("labels", node), f"{path}.labels",
                f"must have at most {LABEL_LIMIT} items, with those of `defaults`",
            )  # fmt: skip
        interval = settings.get("interval", _DEFAULTS["interval"].default)
        # A short interval alone must not make the default timeout an error.
        timeout = settings.setdefault("timeout", min(_DEFAULTS["timeout"].default, interval))
        if timeout > interval:
            self._too_long(node, found, path, timeout, interval)
        return settings

    def _too_long(
        self, node: Node, written: Mapping[str, Node], path: str, timeout: float, interval: float
    ) -> None:
        """Note it where it can be mended: in the check, or else where the values come from."""
        places = {
            key: at for key in ("timeout", "interval") if (at := written.get(key)) is not None
        }
        own = [key for key, at in places.items() if at.shared is None]
        key = next(iter(own or places), "timeout")
        where, place = f"{path}.{key}", places.get(key)
        if place is None:
            where, place = f"defaults.{key}", self._defaults.nodes.get(key, node)
        self._values.wrong(
            place, where,
            f"the timeout of {format_duration(timeout)} is longer than the interval of "
            f"{format_duration(interval)}",
            f"write a timeout of at most {format_duration(interval)}",
        )  # fmt: skip


def _text(node: Node | None) -> str:
    return node.value if node is not None and isinstance(node.value, str) else ""
