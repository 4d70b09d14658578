"""`probed rules`: recording and alerting rules for Prometheus."""

from __future__ import annotations

import click

from probed import rules
from probed.config import Config


def show(config: Config | None, *, quorum: int) -> None:
    """The rules of a configuration, or without one those for any."""
    made = (
        rules.generic(quorum=quorum) if config is None else rules.for_config(config, quorum=quorum)
    )
    click.echo(made, nl=False)
