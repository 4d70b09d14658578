"""The commands `probed list` and `probed config`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from probed.config import Config, SelectionError
from probed.config.diff import compare, lines
from probed.config.schema import schema
from probed.config.selection import with_tags
from probed.config.show import show as show_config
from probed.engine.places import remarks
from probed.engine.shard import Shard, cut
from probed.fields import format_duration
from probed.probe import Probe
from probed.registry import Registry
from probed.text.suggest import closest


def show(config: Config, output: str, tags: Sequence[str] = (), shard: Shard | None = None) -> None:
    """Print a line for each check, or a JSON document. Raises click.UsageError for a tag of no check."""
    try:
        tagged = with_tags(config, tags)
    except SelectionError as error:
        raise click.UsageError(str(error)) from None
    checks = [check for check in cut(config, shard).checks if not tags or check.name in tagged]
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "checks": [
                        {
                            "check": check.name,
                            "probe": check.probe.kind,
                            "target": check.target,
                            "interval_s": check.interval,
                            "timeout_s": check.timeout,
                            "severity": check.severity.value,
                            "labels": dict(check.labels),
                            "tags": list(check.tags),
                            "enabled": check.enabled,
                        }
                        for check in checks
                    ]
                },
                indent=2,
            )
        )
        return
    width = max((len(check.name) for check in checks), default=0)
    kinds = max((len(check.probe.kind) for check in checks), default=0)
    for check in checks:
        every = "disabled" if not check.enabled else f"every {format_duration(check.interval)}"
        click.echo(
            f"{check.name:<{width}}  {check.probe.kind:<{kinds}}  {every:<10}  "
            f"{check.severity.value}  {check.target}"
        )


def valid(config: Config) -> None:
    disabled = sum(not check.enabled for check in config.checks)
    rate = 60 * sum(1 / check.interval for check in config.checks if check.enabled)
    many = "1 check" if len(config.checks) == 1 else f"{len(config.checks)} checks"
    off = f", {disabled} disabled" if disabled else ""
    click.echo(f"valid: {many}{off}, {rate:.1f} runs a minute")
    for remark in remarks(config):
        click.echo(config.redactor.clean(remark))
    kinds: dict[type[Probe], list[tuple[str, Probe, float]]] = {}
    for check in config.checks:
        if check.enabled:
            kinds.setdefault(type(check.probe), []).append(
                (check.name, check.probe, check.interval)
            )
    for kind, checks in kinds.items():
        for remark in kind.remarks(checks):
            click.echo(config.redactor.clean(remark))


def effective(config: Config, name: str | None, *, origins: bool) -> None:
    """Print the effective configuration, or one check of it."""
    if name is not None and name not in {check.name for check in config.checks}:
        close = closest(name, [check.name for check in config.checks])
        hint = f" (did you mean {close!r}?)" if close else "; see `probed list`"
        raise click.UsageError(f"there is no check {name!r}{hint}")
    click.echo(show_config(config, name=name, origins=origins), nl=False)


def difference(old: Config, new: Config) -> int:
    """Print what differs between the two; return 1 if anything does."""
    return differing(lines(compare(old, new)))


def differing(found: Sequence[str]) -> int:
    """Print the differences; return 1 if there are any."""
    for line in found:
        click.echo(line)
    return 1 if found else 0


def print_schema() -> None:
    click.echo(json.dumps(schema(Registry()), indent=2))
