"""`probed check`: run the selected checks once, write the results, and exit as they say."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence

import anyio
import click

from probed.cli.outputs import Output, Writer, places_of
from probed.cli.terminal import Progress
from probed.config import Check, Config, SelectionError
from probed.config import select as config_select
from probed.engine.executor import Executor
from probed.engine.runner import Runner
from probed.fields import parse_duration
from probed.model import Outcome, Result
from probed.reasons import ProbeError, Reason, classify

_EXIT = {Outcome.OK: 0, Outcome.DEGRADED: 1, Outcome.FAILED: 2, Outcome.UNKNOWN: 3}

PAUSE = 1.0
"""Seconds between two runs of a check that is waited for."""


def select(
    config: Config, names: Sequence[str], tags: Sequence[str] = (), *, everything: bool
) -> Sequence[Check]:
    """The checks that are meant; see `probed.config.select`. Raises click.UsageError."""
    try:
        selection = config_select(config, names, tags=tags, everything=everything)
    except SelectionError as error:
        raise click.UsageError(str(error)) from None
    if selection.warning:
        click.echo(selection.warning, err=True)
    return selection.checks


def parse_deadline(text: str) -> float:
    """Seconds of a duration. Raises click.UsageError, which says how to write one."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--deadline {text!r}: {error}") from None


def run(
    config: Config,
    checks: Sequence[Check],
    *,
    outputs: Sequence[Output],
    verbose: bool,
    patience: float = 0.0,
) -> int:
    """Run them, for `patience` seconds again and again what is not ok; write the results; return
    the exit code.
    """
    writer = Writer(places_of(checks), outputs, verbose=verbose)
    started_at, begun = time.time(), time.monotonic()
    progress = Progress(len(checks))

    def on_result(result: Result) -> None:
        progress.clear()
        writer.write(result)
        progress.show(result.check)

    gc.freeze()  # what was imported is no garbage: the first search need not look through it
    gc.enable()
    with progress:
        try:
            anyio.run(run_all, config, checks, on_result, patience)
        except ExceptionGroup as errors:
            if errors.split(BrokenPipeError)[1] is None:
                raise BrokenPipeError from None
            raise
    report = writer.finish(started_at, time.monotonic() - begun)
    return _EXIT[report.outcome]


def dump_shapes(config: Config, checks: Sequence[Check]) -> int:
    """Print what the peers of the checks reply: keys and types. 3 where one could not be asked."""
    runner = Runner.of(config)
    found: dict[str, object] = {}
    code = 0
    for check in checks:
        try:
            shapes = anyio.run(runner.shapes, check)
        except TimeoutError:
            found[check.name], code = Reason.TIMEOUT_RUN.sentence, 3
        except (ProbeError, OSError) as error:
            found[check.name], code = str(classify(error)[0]), 3
        else:
            found[check.name] = "replies of this kind have no shapes" if shapes is None else shapes
    click.echo(config.redactor.redact(json.dumps(found, indent=2)))
    return code


async def run_all(
    config: Config,
    checks: Sequence[Check],
    on_result: Callable[[Result], None],
    patience: float = 0.0,
) -> None:
    """Run each of the checks as the daemon would, once, or until it is ok or `patience` seconds are
    over.
    """
    ends = time.monotonic() + patience
    executor = Executor.of(config)

    async def run_one(check: Check) -> None:
        while True:
            result = (await executor.run(check)).result
            if result.outcome is Outcome.OK or time.monotonic() + PAUSE >= ends:
                break
            await anyio.sleep(PAUSE)
        on_result(result)

    async with anyio.create_task_group() as tasks:
        for check in checks:
            tasks.start_soon(run_one, check)
