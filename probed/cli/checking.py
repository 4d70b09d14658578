"""`probed check`: run the selected checks once, write the results, and exit as they say."""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Callable, Sequence

import anyio
import click

from probed.cli.terminal import Progress, style_for
from probed.config import Check, Config
from probed.model import Outcome, Result
from probed.output import check_document, render_result, render_summary, result_document, worst_of
from probed.runner import Runner

_EXIT = {Outcome.OK: 0, Outcome.DEGRADED: 1, Outcome.FAILED: 2, Outcome.UNKNOWN: 3}


def select(config: Config, names: Sequence[str], *, everything: bool) -> list[Check]:
    """The checks of these names, or all that are enabled, in the order of the configuration.

    Raises click.UsageError for a name that there is not.
    """
    known = {check.name for check in config.checks}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else "; see `probed list`"
            raise click.UsageError(f"there is no check {name!r}{hint}")
    wanted = set(names)
    selected = [c for c in config.checks if c.name in wanted or (everything and c.enabled)]
    disabled = [c.name for c in config.checks if not c.enabled and c.name not in wanted]
    if everything and disabled:
        click.echo(f"not run, disabled in the configuration: {', '.join(disabled)}", err=True)
    if not selected:
        raise click.UsageError("nothing is selected: every check is disabled")
    return selected


def run(config: Config, checks: Sequence[Check], *, output: str, verbose: bool) -> int:
    """Run them and print the results; return the exit code."""
    writer = _Writer(checks, output=output, verbose=verbose)
    started_at, begun = time.time(), time.monotonic()
    progress = Progress(len(checks))

    def on_result(check: Check, result: Result) -> None:
        progress.clear()
        writer.take(check, result)
        progress.show(result.check)

    with progress:
        try:
            anyio.run(run_all, config, checks, on_result)
        except ExceptionGroup as errors:
            if errors.split(BrokenPipeError)[1] is None:
                raise BrokenPipeError from None
            raise
    results = writer.finish(started_at, time.monotonic() - begun)
    return _EXIT[worst_of(results)]


async def run_all(
    config: Config, checks: Sequence[Check], on_result: Callable[[Check, Result], None]
) -> None:
    """Run each of the checks once, as many at the same time as the daemon would."""
    runner = Runner.of(config)
    total = anyio.Semaphore(config.service.concurrency)
    hosts = {c.probe.host: anyio.Semaphore(config.service.concurrency_per_host) for c in checks}

    async def one(check: Check) -> None:
        async with hosts[check.probe.host], total:
            result = await runner.run(check)
        on_result(check, result)

    async with anyio.create_task_group() as tasks:
        for check in checks:
            tasks.start_soon(one, check)


class _Writer:
    """Writes results in the order of the configuration, each as soon as those before it are done;
    as JSON lines, in the order in which they end.
    """

    def __init__(self, checks: Sequence[Check], *, output: str, verbose: bool) -> None:
        self._order = [check.name for check in checks]
        self._results: dict[str, Result] = {}
        self._written = 0
        self._output = output
        width = min(40, max(len(name) for name in self._order))
        self._style = style_for(sys.stdout, verbose=verbose, name_width=width)

    def take(self, check: Check, result: Result) -> None:
        self._results[check.name] = result
        if self._output == "jsonl":
            _write(json.dumps(result_document(result), allow_nan=False))
        while self._output == "text" and self._written < len(self._order):
            ready = self._results.get(self._order[self._written])
            if ready is None:
                return
            _write(render_result(ready, self._style))
            self._written += 1

    def finish(self, started_at: float, duration_s: float) -> list[Result]:
        results = [self._results[name] for name in self._order]
        if self._output == "json":
            document = check_document(results, started_at=started_at, duration_s=duration_s)
            _write(json.dumps(document, indent=2, allow_nan=False))
        elif self._output == "text":
            _write(render_summary(results, duration_s, self._style))
        return results


def _write(text: str) -> None:
    click.echo(text, color=True)  # the style has decided about colours already
    sys.stdout.flush()
