"""Which checks are meant: by name, by pattern, by tag, or all of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from typing import NamedTuple

from probed.config.model import Check, Config
from probed.text.suggest import closest

_LISTED = 50


class SelectionError(ValueError):
    """A name, pattern or tag that stands for nothing, or nothing that can be run."""


class Selection(NamedTuple):
    """The checks in the order of the configuration; the warning is for the person who asked."""

    checks: tuple[Check, ...]
    warning: str = ""


def select(
    config: Config,
    names: Sequence[str] = (),
    *,
    tags: Sequence[str] = (),
    everything: bool = False,
) -> Selection:
    """The checks of these names and patterns (`gateway*`) and those that have any of the tags, or
    all that are enabled. A disabled check is selected by its name only. Raises SelectionError.
    """
    if everything and tags:
        raise SelectionError("either all checks or those with a tag can be selected, not both")
    known = {check.name: check for check in config.checks}
    wanted = {name for name in names if name in known}
    matched = set(known) if everything else with_tags(config, tags)
    for name in names:
        if name not in wanted:
            matched.update(_of_pattern(name, known))
    left_out = [n for n in known if n in matched - wanted and not known[n].enabled]
    chosen = [c for c in config.checks if c.name in wanted or (c.name in matched and c.enabled)]
    if not chosen:
        why = "every check is disabled" if left_out else "name checks or tags, or select all"
        raise SelectionError(f"nothing is selected: {why}")
    warning = f"not run, disabled in the configuration: {', '.join(left_out)}" if left_out else ""
    return Selection(tuple(chosen), warning)


def with_tags(config: Config, tags: Sequence[str]) -> set[str]:
    """The names of the checks that have any of the tags, also of the disabled. Raises SelectionError
    for a tag that no check has.
    """
    known = sorted({tag for check in config.checks for tag in check.tags})
    for tag in tags:
        if tag not in known:
            there = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
            hint = f"there are {there}" if known else "no check has any"
            raise SelectionError(f"no check has the tag {tag!r}; {hint}")
    asked = set(tags)
    return {check.name for check in config.checks if not asked.isdisjoint(check.tags)}


def _of_pattern(name: str, known: Collection[str]) -> Sequence[str]:
    found = fnmatch.filter(known, name) if set(name) & set("*?[") else []
    if not found:
        close = closest(name, known)
        hint = f" (did you mean {close!r}?)" if close else "; see `probed list`"
        raise SelectionError(f"there is no check {name!r}{hint}")
    return found
