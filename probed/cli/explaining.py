"""`probed explain`: a kind, a section, the settings of all checks, or the meaning of a reason."""

from __future__ import annotations

import inspect
import shutil
from textwrap import fill, indent

import click

from probed.manual import reasons, settings
from probed.model import Measure
from probed.probe import Probe
from probed.reasons import Reasons
from probed.registry import Registry
from probed.text.suggest import closest

WIDTH = 100


def explain(name: str) -> None:
    """Print what is known of a kind, a section, the settings of all checks (`check`), or a reason.
    Raises click.UsageError for any other name.
    """
    registry = Registry()
    if name in registry.kinds():
        click.echo(_kind(registry.load(name)))
    elif name in settings.names():
        click.echo(settings.explain(name, _width()))
    else:
        click.echo(_reasons_named(name, registry))


def _kind(probe: type[Probe]) -> str:
    about = " ".join((inspect.getdoc(probe) or "").split())
    parts = [
        fill(f"{probe.kind}: {about}", _width()),
        settings.terminal(probe, _width()),
        "`probed explain check` lists the settings that checks of all kinds share.",
    ]
    if probe.measures:
        parts.append("Measures\n" + "\n".join(map(_measure, probe.measures)))
    if probe.reasons is not None:
        parts.append("Reasons of this kind\n" + "\n".join(map(_reason, probe.reasons)))
    if probe.notes:
        parts.append(probe.notes.rstrip())
    return "\n\n".join(parts)


def _width() -> int:
    """Return the width to fill: that of the terminal, within reason."""
    return max(40, min(shutil.get_terminal_size().columns, WIDTH))


def _reasons_named(asked: str, registry: Registry) -> str:
    """Return the text of a reason, or the list of an area. Raises click.UsageError."""
    entries = reasons.catalogue(registry)
    kinds = (*registry.kinds(), *settings.names())
    found = reasons.find(asked, entries)
    if found:
        return reasons.terminal(found)
    close = closest(asked, kinds) or reasons.suggestion(asked, entries)
    hint = f"did you mean {close!r}?" if close else f"the kinds are {', '.join(kinds)}"
    raise click.UsageError(f"there is no kind or reason {asked!r}; {hint}")


def _measure(measure: Measure) -> str:
    unit = f"  [{measure.unit}]" if measure.unit else ""
    return f"  {measure.name}{unit}\n{_text(measure.help)}"


def _reason(reason: Reasons) -> str:
    return f"  {reason.value}\n{_text(f'{reason.sentence} {reason.remedy}'.strip())}"


def _text(text: str) -> str:
    return indent(fill(" ".join(text.split()), _width() - 6), " " * 6)
