"""The commands: options here, work in the modules that they import when they run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

if TYPE_CHECKING:
    from probed.config import Config

config_option = click.option(
    "-c", "--config", "path", metavar="FILE",
    help="Configuration; else $PROBED_CONFIG, ./probed.yaml, /etc/probed/probed.yaml.",
)  # fmt: skip
BAD_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h: a service manager must not restart on it."""


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Run every check that is enabled.")
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="FORMAT[=FILE]",
    help="How results are written: text, json, jsonl, junit, nagios or github; to standard output, "
    "or to a file. May be repeated.",
)  # fmt: skip
@click.option(
    "--until", type=click.Choice(["ok"]),
    help="Repeat what is not ok until it is, each second, for at most the deadline.",
)  # fmt: skip
@click.option(
    "--deadline", metavar="DURATION", help="With --until: such as 90s or 2m (the default)."
)
@click.option("-v", "--verbose", is_flag=True, help="Show phases, evidence and measures.")
@config_option
def check(
    names: tuple[str, ...],
    *,
    everything: bool,
    outputs: tuple[str, ...],
    until: str | None,
    deadline: str | None,
    verbose: bool,
    path: str | None,
) -> int:
    """Run checks once, as the daemon would, and say what was found.

    A NAME may be a pattern, such as 'gateway*'.
    """
    from probed.cli import checking  # noqa: PLC0415
    from probed.cli.outputs import parse_outputs  # noqa: PLC0415

    config = _load(path, code=3)
    if not names and not everything:
        raise click.UsageError("name the checks to run, or say --all")
    parsed = parse_outputs(outputs)
    if deadline is not None and until is None:
        raise click.UsageError("--deadline goes with --until ok")
    patience = 0.0 if until is None else checking.parse_deadline(deadline or "2m")
    selected = checking.select(config, names, everything=everything)
    return checking.run(config, selected, outputs=parsed, verbose=verbose, patience=patience)


@click.command()
@config_option
def run(*, path: str | None) -> int:
    """Run the daemon until SIGTERM or SIGINT."""
    from probed.cli import daemon  # noqa: PLC0415

    return daemon.run(_load(path, code=BAD_CONFIGURATION), refused=BAD_CONFIGURATION)


@click.command(name="list")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@config_option
def list_checks(*, output: str, path: str | None) -> None:
    """List the checks of the configuration."""
    from probed.cli import listing  # noqa: PLC0415

    listing.show(_load(path, code=3), output)


@click.group()
def config() -> None:
    """Look at the configuration without running it."""


@config.command(name="check")
@config_option
def config_check(*, path: str | None) -> None:
    """Say whether the configuration is valid, and if not, every mistake and its remedy."""
    from probed.cli import listing  # noqa: PLC0415

    listing.valid(_load(path, code=3))


@config.command(name="show")
@config_option
def config_show(*, path: str | None) -> None:
    """Print the effective configuration, defaults applied and secrets masked."""
    from probed.config import show  # noqa: PLC0415

    click.echo(show(_load(path, code=3)), nl=False)


@config.command(name="schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from probed.cli import listing  # noqa: PLC0415

    listing.print_schema()


@click.command()
@click.option(
    "--break", "broken", multiple=True, metavar="NAME",
    help="Break a peer, to see the failure: gateway, upstream, tls, slow. May be repeated.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=1), help="Stop after so many seconds.")
def demo(*, broken: tuple[str, ...], seconds: float | None) -> int:
    """Start embedded peers and the daemon on them, and watch."""
    from probed.cli import demonstration  # noqa: PLC0415

    return demonstration.run(broken, seconds)


def _load(path: str | None, *, code: int) -> Config:
    """The configuration; with a bad one, every mistake on standard error and the exit code."""
    from pathlib import Path  # noqa: PLC0415

    from probed.config import ConfigError, find_config, load  # noqa: PLC0415
    from probed.registry import (  # noqa: PLC0415
        Registry,
        RegistryError,
        check_foreign_probes_package,
    )

    given = None if path is None else Path(path)
    try:
        if code == BAD_CONFIGURATION:
            # Once at the start of a long life; it costs more than a one-shot check does.
            check_foreign_probes_package()
        config = load(find_config(given, os.environ, Path.cwd()), Registry())
    except (ConfigError, RegistryError) as error:
        click.echo(str(error), err=True)
        raise Exit(code) from None
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    return config
