"""`-o FORMAT[=FILE]`: where results go, and in which of the formats."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import click

from probed.cli.terminal import style_for
from probed.model import Result
from probed.output import (
    FORMATS,
    Report,
    Style,
    json_line,
    render,
    render_result,
    render_summary,
)
from probed.text.suggest import closest

if TYPE_CHECKING:
    from probed.config import Check


Place: TypeAlias = tuple[str, int]
"""File and line of a check in the configuration."""


def places_of(checks: Sequence[Check]) -> dict[str, Place | None]:
    """Return the checks' names, and where each is written."""
    return {
        check.name: None if check.position is None else (check.position.file, check.position.line)
        for check in checks
    }


class Output(NamedTuple):
    """A format, and the file that it goes to; without one, standard output."""

    format: str
    path: Path | None = None


def parse_outputs(given: Sequence[str]) -> list[Output]:
    """Parse the values of `-o`. Standard output gets text if no other format goes there.

    Raises click.UsageError for a format that there is not, for two on standard output, and for a
    file that cannot be written.
    """
    found: list[Output] = []
    for text in given:
        name, equals, path = text.partition("=")
        if name not in FORMATS:
            close = closest(name, FORMATS)
            hint = f"did you mean {close!r}?" if close else f"there are {', '.join(FORMATS)}"
            raise click.UsageError(f"there is no output format {name!r}; {hint}")
        if equals and not path:
            raise click.UsageError(f"write a file behind the = of -o {name}=")
        found.append(Output(name, _writable(Path(path)) if equals else None))
    on_standard_output = [output.format for output in found if output.path is None]
    if len(on_standard_output) > 1:
        both = " and ".join(on_standard_output)
        raise click.UsageError(f"only one format can go to standard output, not {both}")
    return found if on_standard_output else [Output("text"), *found]


def _writable(path: Path) -> Path:
    """The path, if it can be written: better known before all checks have run than after."""
    try:
        target = path if path.exists() else path.parent
        usable = not path.is_dir() and target.exists() and os.access(target, os.W_OK)
    except (OSError, ValueError):  # a folder that may not be looked into; a NUL
        usable = False
    if not usable:
        raise click.UsageError(f"the file {path} cannot be written")
    return path


class Writer:
    """Writes results: as text in the order of the configuration, each as soon as those before it
    are done; as JSON lines, in the order in which they end; in other formats, at the end. `places`
    has the names of the checks in their order, and where each stands in the configuration.
    """

    def __init__(
        self, places: Mapping[str, Place | None], outputs: Sequence[Output], *, verbose: bool
    ) -> None:
        self._places = places
        self._waiting = list(places)
        self._outputs = outputs
        self._live = next(output.format for output in outputs if output.path is None)
        self._results: dict[str, Result] = {}
        width = min(40, max(len(name) for name in places))
        self._style = style_for(sys.stdout, verbose=verbose, name_width=width)

    def write(self, result: Result) -> None:
        """Print the result as soon as its format allows."""
        self._results[result.check] = result
        if self._live == "jsonl":
            _print(json_line(result))
        while self._live == "text" and self._waiting and self._waiting[0] in self._results:
            _print(render_result(self._results[self._waiting.pop(0)], self._style))

    def finish(self, started_at: float, duration_s: float) -> Report:
        """Write what is left. Raises click.ClickException where a file cannot be written."""
        report = Report(
            [self._results[name] for name in self._places if name in self._results],
            started_at,
            duration_s,
            {name: place for name, place in self._places.items() if place is not None},
        )
        if self._live == "text":
            _print(render_summary(report.results, duration_s, self._style))
        elif self._live != "jsonl":
            _print(render(self._live, report, self._style))
        for output in self._outputs:
            if output.path is not None:
                plain = Style(verbose=self._style.verbose, name_width=self._style.name_width)
                write(output.path, render(output.format, report, plain) + "\n")
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary and any(output.format == "github" for output in self._outputs):
            from probed.output.github import render_markdown  # noqa: PLC0415

            write(Path(summary), render_markdown(report), append=True)
        return report


def _print(text: str) -> None:
    click.echo(text, color=True)  # the style has decided about colours already
    sys.stdout.flush()


def write(path: Path, text: str, *, append: bool = False) -> None:
    """Write a new file whole or not at all; what is added to, a pipe or a device, as it is."""
    try:
        if append or (path.exists() and not path.is_file()):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(text)
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
