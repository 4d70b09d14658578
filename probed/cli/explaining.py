"""`probed explain`: the settings, measures and findings of a kind, or the meaning of a reason."""

from __future__ import annotations

import inspect
from textwrap import fill, indent

import click

from probed.config.docs import field_docs
from probed.config.shape import key_of
from probed.manual import reasons
from probed.model import Measure
from probed.probe import Probe
from probed.reasons import Reasons
from probed.registry import Registry
from probed.text.suggest import closest

WIDTH = 100


def explain(kind: str) -> None:
    """Print what is known of a kind or a reason. Raises click.UsageError where it is neither."""
    registry = Registry()
    kinds = list(registry.kinds())
    if kind not in kinds:
        click.echo(_reasons_named(kind, registry))
        return
    probe = registry.load(kind)
    parts = [fill(f"{kind}: {inspect.cleandoc(probe.__doc__ or '')}", WIDTH), _settings(probe)]
    if probe.measures:
        parts.append("Measures\n" + "\n".join(map(_measure, probe.measures)))
    if probe.reasons is not None:
        parts.append(
            "What it finds, beside what all kinds do\n" + "\n".join(map(_reason, probe.reasons))
        )
    if probe.notes:
        parts.append(probe.notes.rstrip())
    click.echo("\n\n".join(parts))


def _reasons_named(asked: str, registry: Registry) -> str:
    """Return the text of a reason, or the list of an area. Raises click.UsageError."""
    kinds, entries = registry.kinds(), reasons.catalogue(registry)
    found = reasons.find(asked, entries)
    if found:
        return reasons.terminal(found)
    close = closest(asked, kinds) or reasons.suggestion(asked, entries)
    hint = f"did you mean {close!r}?" if close else f"the kinds are {', '.join(kinds)}"
    raise click.UsageError(f"there is no kind or reason {asked!r}; {hint}")


def _settings(probe: type[Probe]) -> str:
    lines, docs = ["Settings"], field_docs(probe)
    for name, info in probe.model_fields.items():
        needed = "  (needed)" if info.is_required() else ""
        lines += [f"  {key_of(name, info)}{needed}", _text(docs.get(name, ""))]
    return "\n".join(lines)


def _measure(measure: Measure) -> str:
    unit = f"  [{measure.unit}]" if measure.unit else ""
    return f"  {measure.name}{unit}\n{_text(measure.help)}"


def _reason(reason: Reasons) -> str:
    return f"  {reason.value}\n{_text(f'{reason.sentence} {reason.remedy}'.strip())}"


def _text(text: str) -> str:
    return indent(fill(" ".join(text.split()), WIDTH - 6), " " * 6)
