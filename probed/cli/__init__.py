"""The command line. What a command needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.exceptions import Exit

from probed.cli.commands import (
    check,
    config,
    demo,
    drain,
    explain,
    install,
    list_checks,
    reload,
    rules,
    run,
    status,
)
from probed.version import __version__

UNKNOWN = 3

_EPILOG = """\b
Exit codes, for every format:
  0  all ok
  1  degraded at worst
  2  something failed
  3  unknown; nothing selected; usage or configuration error; output that
     cannot be written; a bug
`probed run` exits with 78 on a bad configuration, and with 0 on SIGTERM.
"""


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output went away (`| head`): nothing is left to say. click would
            # exit with 1, which means something else here.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(UNKNOWN) from None


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="probed")
def cli() -> None:
    """The incident playbook, executed all the time."""


cli.add_command(check)
cli.add_command(config)
cli.add_command(demo)
cli.add_command(drain)
cli.add_command(explain)
cli.add_command(install)
cli.add_command(list_checks)
cli.add_command(reload)
cli.add_command(rules)
cli.add_command(run)
cli.add_command(status)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is said. Usage errors exit with 3: 2 would say that a check has failed."""
    # pydantic needs no other packages' plug-ins, for which all that is installed is read through.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code = cli.main(args=arguments, prog_name="probed", standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        sys.exit(UNKNOWN)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    gc.freeze()  # at the very end nothing needs to be looked through either
    sys.exit(code if isinstance(code, int) else 0)
