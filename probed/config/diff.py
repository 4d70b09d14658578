"""The difference between two configurations, for people and for a reload, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from probed.config.model import Check, Config
from probed.config.section import RELOADABLE, Section
from probed.config.settings import CheckSettings
from probed.config.shape import fields_of, key_of
from probed.config.show import View
from probed.fields import Settings
from probed.text.redact import MASK, Redactor, sanitize

HIDDEN = "(secret)"
CHANGED = "(secret, changed)"
_NONE = "(none)"
_TEXT = 80


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting by its path, and how it is written in both; None where it is not set. A running
    daemon adopts a change of what is `reloadable`; others need a restart.
    """

    path: str
    old: str | None
    new: str | None
    reloadable: bool = True


@dataclass(frozen=True, slots=True)
class Changed:
    """A check that is in both, and not the same."""

    name: str
    old: Check
    new: Check
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """Added, removed and changed checks, in the order of the configurations. `settings` are those of
    the sections. False where nothing differs.
    """

    added: tuple[Check, ...] = ()
    removed: tuple[Check, ...] = ()
    changed: tuple[Changed, ...] = ()
    settings: tuple[Difference, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.settings)


def compare(old: Config, new: Config) -> Changes:
    """Return the difference. Two checks are equal if all that their runs and their telemetry depend
    on is equal, secrets included. Their place in the files does not matter.
    """
    view = _View(_Both(old.redactor, new.redactor))
    before = {check.name: check for check in old.checks}
    after = {check.name: check for check in new.checks}
    changed = [
        Changed(name, before[name], check, differences)
        for name, check in after.items()
        if name in before and (differences := tuple(_of_checks(view, before[name], check)))
    ]
    return Changes(
        added=tuple(check for name, check in after.items() if name not in before),
        removed=tuple(check for name, check in before.items() if name not in after),
        changed=tuple(changed),
        settings=tuple(
            difference
            for section in new.known.all()
            for difference in _of_section(view, old.section(section), new.section(section))
        ),
    )


def lines(changes: Changes) -> list[str]:
    """Return a line for each change: `+ name  kind target`, `- name`, `~ name: timeout 10s -> 5s`."""
    told = [f"~ {_change(difference)}" for difference in changes.settings]
    told += [f"+ {check.name}  {check.probe.kind} {check.target}" for check in changes.added]
    told += [f"- {check.name}" for check in changes.removed]
    for each in changes.changed:
        told += [f"~ {each.name}: {_change(difference)}" for difference in each.differences]
    return told


def _change(difference: Difference) -> str:
    old, new = (
        _NONE if text is None else sanitize(text, _TEXT)
        for text in (difference.old, difference.new)
    )
    restart = "" if difference.reloadable else "  (needs a restart)"
    return f"{difference.path} {old} -> {new}{restart}"


@dataclass(frozen=True, slots=True, repr=False)
class _Hidden:
    """A value that is told apart from others, but not shown as it is."""

    value: str
    shown: str


class _View(View):
    def hide(self, value: str, shown: str) -> Any:
        return _Hidden(value, HIDDEN if shown == MASK else shown)


class _Both(Redactor):
    """Blanks out the secrets of both configurations."""

    def __init__(self, *redactors: Redactor) -> None:
        super().__init__()
        self._redactors = redactors

    def redact(self, text: str) -> str:
        for redactor in self._redactors:
            text = redactor.redact(text)
        return text


def _of_checks(view: _View, old: Check, new: Check) -> Iterator[Difference]:
    raw = _raw(old), _raw(new)
    if old.probe.kind != new.probe.kind:
        yield Difference("probe", old.probe.kind, new.probe.kind)
    elif raw[0] == raw[1]:
        return  # most are the same, and writing one costs 0.2 ms of the event loop's time
    shown = view.check(old), view.check(new)
    for key in dict.fromkeys((*raw[0], *raw[1])):
        yield from _of_values(raw, shown, key, key)


def _of_section(view: _View, old: Section, new: Section) -> Iterator[Difference]:
    model = type(new)
    shown = view.settings(old, model), view.settings(new, model)
    raw = _fields(old, model), _fields(new, model)
    for key in model.model_fields:
        for difference in _of_values(raw, shown, key, key):
            reloadable = is_reloadable(model, difference.path.split("."))
            path = f"{model.key}.{difference.path}"
            yield replace(difference, path=path, reloadable=reloadable)


def is_reloadable(model: type[BaseModel], path: Sequence[str]) -> bool:
    """Return whether a running daemon adopts a change of the setting at a path."""
    for name, info in model.model_fields.items():
        if key_of(name, info) == path[0]:
            inner = fields_of((model,))[path[0]].models
            return RELOADABLE in info.metadata or (
                len(path) > 1 and any(is_reloadable(each, path[1:]) for each in inner)
            )
    return False


def _of_values(
    raw: tuple[Mapping[str, Any], Mapping[str, Any]],
    shown: tuple[Mapping[str, Any], Mapping[str, Any]],
    key: str,
    path: str,
) -> Iterator[Difference]:
    """Yield the differences of one setting. A difference that cannot be shown is marked as changed."""
    if key in raw[0] and key in raw[1] and raw[0][key] == raw[1][key]:
        return
    found = list(_of_shown(shown[0].get(key), shown[1].get(key), path))
    if found:
        yield from found
    elif key in raw[0] and key in raw[1]:
        yield Difference(path, HIDDEN, CHANGED)


def _of_shown(old: Any, new: Any, path: str) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _of_shown(old.get(key), new.get(key), f"{path}.{key}")
    elif old != new:
        texts = _text(old), _text(new)
        yield Difference(path, *(texts if texts[0] != texts[1] else (HIDDEN, CHANGED)))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, _Hidden):
        return value.shown
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(str(_text(item)) for item in value) + "]"
    return str(value)


def _raw(check: Check) -> dict[str, Any]:
    """The settings of a check by the keys that they are written under."""
    own = {key_of(name, info): getattr(check.probe, name)
           for name, info in type(check.probe).model_fields.items()}  # fmt: skip
    return own | _fields(check, CheckSettings)


def _fields(record: Any, model: type[Settings]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in model.model_fields}
