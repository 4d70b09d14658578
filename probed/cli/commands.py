"""The commands: options here, work in the modules that they import when they run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

if TYPE_CHECKING:
    from probed.config import Config
    from probed.engine.shard import Shard

config_option = click.option(
    "-c", "--config", "path", metavar="FILE",
    help="Configuration; else $PROBED_CONFIG, ./probed.yaml, /etc/probed/probed.yaml.",
)  # fmt: skip
socket_option = click.option(
    "--socket", "path", metavar="PATH",
    help="The daemon's control socket; else $PROBED_CONTROL, or the usual places.",
)  # fmt: skip
tag_option = click.option(
    "--tag", "tags", multiple=True, metavar="TAG",
    help="Only checks with this tag. May be repeated: checks with any of the tags.",
)  # fmt: skip
shard_option = click.option(
    "--shard", metavar="INDEX/TOTAL", envvar="PROBED_SHARD", show_envvar=True,
    help="Only the checks of one of several daemons, such as 2/5, counted from 0; auto/5 goes by "
    "$PROBED_POD_INDEX, or by the number that the host's name ends in.",
)  # fmt: skip
replicas_option = click.option(
    "--replicas", type=click.IntRange(min=1), default=1, envvar="PROBED_REPLICAS", show_envvar=True,
    help="With --shard: how many of the daemons run each check.",
)  # fmt: skip
BAD_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h: a service manager must not restart on it."""


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Run every check that is enabled.")
@tag_option
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="FORMAT[=FILE]",
    help="Output format: text, json, jsonl, junit, nagios or github; to standard output, or to a "
    "file. May be repeated.",
)  # fmt: skip
@click.option(
    "--until", type=click.Choice(["ok"]),
    help="Repeat checks that are not ok, once a second, until they are or the deadline has passed.",
)  # fmt: skip
@click.option(
    "--deadline", metavar="DURATION", help="With --until: such as 90s or 2m (the default)."
)
@click.option("-v", "--verbose", is_flag=True, help="Show phases, evidence and measures.")
@click.option(
    "--dump-shapes", "shapes", is_flag=True,
    help="Print the shape of the peers' replies as JSON (keys and types, no values); judge nothing.",
)  # fmt: skip
@click.option(
    "--daemon", is_flag=True,
    help="Run the checks in the running daemon, with its configuration; it records the results.",
)  # fmt: skip
@click.option("--socket", metavar="PATH", help="With --daemon: its control socket.")
@config_option
def check(
    names: tuple[str, ...],
    *,
    everything: bool,
    tags: tuple[str, ...],
    outputs: tuple[str, ...],
    until: str | None,
    deadline: str | None,
    verbose: bool,
    shapes: bool,
    daemon: bool,
    socket: str | None,
    path: str | None,
) -> int:
    """Run checks once, as the daemon would, and print the results.

    A NAME may be a pattern, such as 'gateway*'. Where both are given, those of the names and those
    of the tags are run.
    """
    from probed.cli.outputs import parse_outputs  # noqa: PLC0415

    if not daemon:
        if socket is not None:
            raise click.UsageError("--socket needs --daemon")
        config = _load(path, code=3)
    if not names and not tags and not everything:
        raise click.UsageError("name the checks to run, or use --tag or --all")
    parsed = parse_outputs(outputs)
    if daemon:
        if shapes:
            raise click.UsageError("--dump-shapes cannot be combined with --daemon")
        if path is not None or until is not None:
            raise click.UsageError("--daemon cannot be combined with -c or --until")
        from probed.cli import control  # noqa: PLC0415

        return control.check(
            socket, names, tags, everything=everything, outputs=parsed, verbose=verbose
        )
    if deadline is not None and until is None:
        raise click.UsageError("--deadline needs --until ok")
    from probed.cli import checking  # noqa: PLC0415

    if shapes:
        return checking.dump_shapes(
            config, checking.select(config, names, tags, everything=everything)
        )
    patience = 0.0 if until is None else checking.parse_deadline(deadline or "2m")
    selected = checking.select(config, names, tags, everything=everything)
    return checking.run(config, selected, outputs=parsed, verbose=verbose, patience=patience)


@click.command()
@click.argument("name")
def explain(*, name: str) -> None:
    """Explain a probe kind, the settings of all checks (check), a section of the configuration such
    as service, a reason such as connect.refused, or an area of reasons.
    """
    from probed.cli import explaining  # noqa: PLC0415

    explaining.explain(name)


@click.command()
@shard_option
@replicas_option
@config_option
def run(*, path: str | None, shard: str | None, replicas: int) -> int:
    """Run the daemon until SIGTERM or SIGINT."""
    from probed.cli import daemon  # noqa: PLC0415

    part = _shard(shard, replicas)
    config = _load(path, code=BAD_CONFIGURATION)
    return daemon.run(config, path, refused=BAD_CONFIGURATION, shard=part)


@click.command()
@socket_option
@click.option(
    "--force", is_flag=True, help="Reload also where more than half of the checks are removed."
)
def reload(*, path: str | None, force: bool) -> int:
    """Make the daemon reload its configuration. A bad one changes nothing and exits with 3."""
    from probed.cli import control  # noqa: PLC0415

    return control.reload(path, force=force)


@click.command()
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@socket_option
def status(*, output: str, path: str | None) -> int:
    """Show the daemon's checks that are not up. The exit code is that of the worst."""
    from probed.cli import control  # noqa: PLC0415

    return control.status(path, output)


@click.command()
@click.option("--for", "duration", metavar="DURATION", help="Resume after this time, such as 10m.")
@click.option("--end", is_flag=True, help="Resume.")
@click.option(
    "--at-end", is_flag=True,
    help="Wait for SIGTERM first, then drain: for a container that is stopped with its neighbours.",
)  # fmt: skip
@socket_option
def drain(*, duration: str | None, end: bool, at_end: bool, path: str | None) -> int:
    """Make the daemon run no checks, so that a planned stop does not look like an outage."""
    from probed.cli import control  # noqa: PLC0415

    if end and (at_end or duration is not None):
        raise click.UsageError("--for and --at-end cannot be combined with --end")
    if at_end:
        control.await_end()
    return control.drain(path, duration=duration, end=end)


@click.command(name="list")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@tag_option
@shard_option
@replicas_option
@config_option
def list_checks(
    *, output: str, tags: tuple[str, ...], shard: str | None, replicas: int, path: str | None
) -> None:
    """List the checks of the configuration, or those of a tag or a shard."""
    from probed.cli import listing  # noqa: PLC0415

    listing.show(_load(path, code=3), output, tags, _shard(shard, replicas))


@click.group()
def config() -> None:
    """Check, show and compare configurations."""


@config.command(name="check")
@config_option
def config_check(*, path: str | None) -> None:
    """Validate the configuration: list every mistake, each with its remedy."""
    from probed.cli import listing  # noqa: PLC0415

    listing.valid(_load(path, code=3))


@config.command(name="show")
@click.argument("name", required=False)
@click.option("--origin", "origins", is_flag=True, help="Show where each value was written.")
@config_option
def config_show(*, name: str | None, origins: bool, path: str | None) -> None:
    """Print the effective configuration, or that of one check, defaults applied, secrets masked."""
    from probed.cli import listing  # noqa: PLC0415

    listing.effective(_load(path, code=3, origins=origins), name, origins=origins)


@config.command(name="diff")
@click.option(
    "--against", metavar="FILE", help="The old configuration; else that of the running daemon."
)
@config_option
@click.option(
    "--socket", metavar="PATH",
    help="The daemon's control socket; else $PROBED_CONTROL, or the usual places.",
)  # fmt: skip
def config_diff(*, against: str | None, path: str | None, socket: str | None) -> int:
    """List checks that were added (+), removed (-) or changed (~). Exits with 0 if none, 1 if any.

    Without --against the daemon says what a reload would change; it knows its own file.
    """
    from probed.cli import listing  # noqa: PLC0415

    if against is not None:
        if socket is not None:
            raise click.UsageError("--against cannot be combined with --socket")
        return listing.difference(_load(against, code=3), _load(path, code=3))
    if path is not None:
        raise click.UsageError(
            "-c needs --against FILE: without it, the daemon compares its own file"
        )
    from probed.cli import control  # noqa: PLC0415

    return listing.differing(control.request("diff", socket)["lines"])


@config.command(name="schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from probed.cli import listing  # noqa: PLC0415

    listing.print_schema()


@click.group()
def install() -> None:
    """Install files that run the daemon."""


@install.command(name="systemd")
@click.option(
    "--directory", default="/etc/systemd/system", show_default=True, metavar="DIR",
    help="Where the units are written.",
)  # fmt: skip
@click.option(
    "--config", "path", default="/etc/probed/probed.yaml", show_default=True, metavar="FILE",
    help="Configuration file that the units use.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite existing units.")
@click.option("--dry-run", is_flag=True, help="Write nothing; print what would be written.")
def install_systemd(*, directory: str, path: str, force: bool, dry_run: bool) -> int:
    """Write units for this installation: the daemon, a timer for single checks, and what is told
    when the daemon has failed. Then it says what to do next.
    """
    from pathlib import Path  # noqa: PLC0415

    from probed.cli import installing  # noqa: PLC0415

    return installing.install(Path(directory), Path(path), force=force, dry_run=dry_run)


@click.command()
@click.option(
    "--generic", is_flag=True,
    help="Print rules that fit every configuration: config/prometheus/probed.rules.yml.",
)  # fmt: skip
@click.option(
    "--quorum", type=click.IntRange(min=2, max=100), default=2, show_default=True,
    help="Locations that must see a check down, where that many run it.",
)  # fmt: skip
@config_option
def rules(*, generic: bool, quorum: int, path: str | None) -> None:
    """Print recording and alerting rules for Prometheus, made from the configuration."""
    from probed.cli import ruling  # noqa: PLC0415

    if generic and path is not None:
        raise click.UsageError("--generic cannot be combined with -c")
    ruling.show(None if generic else _load(path, code=3), quorum=quorum)


@click.command()
@click.option(
    "--break", "broken", multiple=True, metavar="NAME",
    help="Break a peer to see the failure; an unknown NAME lists all. May be repeated.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=1), help="Stop after this many seconds.")
def demo(*, broken: tuple[str, ...], seconds: float | None) -> int:
    """Run the daemon against embedded peers, and watch."""
    from probed.cli import demonstration  # noqa: PLC0415

    return demonstration.run(broken, seconds)


def _shard(text: str | None, replicas: int) -> Shard | None:
    if not text:
        return None
    import platform  # noqa: PLC0415

    from probed.engine.shard import parse  # noqa: PLC0415

    try:
        return parse(text, os.environ, platform.node(), replicas=replicas)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _load(path: str | None, *, code: int, origins: bool = False) -> Config:
    """Return the configuration. Print every mistake of a bad one, and exit."""
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
        config = load(find_config(given, os.environ, Path()), Registry(), origins=origins)
    except (ConfigError, RegistryError) as error:
        click.echo(str(error), err=True)
        raise Exit(code) from None
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    return config
