"""Rules and groups as Prometheus reads them, and their YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

DOCS = "docs/alerting.md"


class Recording(NamedTuple):
    """A recording rule: the series `name` gets the result of `expr`, with `labels`."""

    name: str
    expr: str
    labels: Mapping[str, str] = {}

    def document(self) -> dict[str, Any]:
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": self.name, "expr": self.expr, **labels}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule: it fires when `expr` has returned series for `wait`, and `keep_firing` longer.

    `severity` is P0 to P3, `none` for an alert that is not delivered, or a template. An empty label
    in `more` removes the label of the expression. `runbook` adds the runbook of the check.
    """

    name: str
    expr: str
    severity: str
    summary: str
    description: str
    wait: str = ""
    keep_firing: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    runbook: bool = False

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.wait:
            found["for"] = self.wait
        if self.keep_firing:
            found["keep_firing_for"] = self.keep_firing
        found["labels"] = {"severity": self.severity, **self.more}
        notes = {"summary": self.summary, "description": self.description}
        if self.runbook:
            notes |= {"impact": "{{ $labels.impact }}", "runbook_url": "{{ $labels.runbook }}"}
        found["annotations"] = notes | {"documentation": f"{DOCS}#{self.name.lower()}"}
        return found


class Group(NamedTuple):
    """A group of rules, evaluated in order and at the same timestamp."""

    name: str
    rules: Sequence[Recording | Alert]
    interval: str = ""

    def document(self) -> dict[str, Any]:
        interval = {"interval": self.interval} if self.interval else {}
        return {"name": self.name, **interval, "rules": [rule.document() for rule in self.rules]}


def text(groups: Sequence[Group], head: str) -> str:
    """Return the rule file as YAML; each line of `head` becomes a comment."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    document = {"groups": [group.document() for group in groups]}
    return comment + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1 << 20,
                               allow_unicode=True)  # fmt: skip


class _Dumper(yaml.SafeDumper):
    """Dumper that writes multi-line strings as blocks and repeats shared values."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent)
