"""`probed list` and `probed config`: what the configuration holds."""

from __future__ import annotations

import json

import click

from probed.config import Config, schema
from probed.fields import format_duration
from probed.registry import Registry


def show(config: Config, output: str) -> None:
    """A line for each check, or a JSON document."""
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "checks": [
                        {
                            "check": check.name,
                            "probe": check.probe.kind,
                            "target": check.probe.target,
                            "interval_s": check.interval,
                            "timeout_s": check.timeout,
                            "severity": check.severity.value,
                            "labels": dict(check.labels),
                            "enabled": check.enabled,
                        }
                        for check in config.checks
                    ]
                },
                indent=2,
            )
        )
        return
    width = max(len(check.name) for check in config.checks)
    kinds = max(len(check.probe.kind) for check in config.checks)
    for check in config.checks:
        every = "disabled" if not check.enabled else f"every {format_duration(check.interval)}"
        click.echo(
            f"{check.name:<{width}}  {check.probe.kind:<{kinds}}  {every:<10}  "
            f"{check.severity.value}  {check.probe.target}"
        )


def valid(config: Config) -> None:
    enabled = sum(check.enabled for check in config.checks)
    rate = sum(1 / check.interval for check in config.checks if check.enabled)
    click.echo(f"valid: {len(config.checks)} checks, {enabled} enabled, {rate:.2f} runs per second")


def print_schema() -> None:
    click.echo(json.dumps(schema(Registry()), indent=2))
