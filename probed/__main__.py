"""The command `probed`, and `python -m probed`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Entry point."""
    # What is imported is no garbage, and looking for some takes a tenth of a short command's time.
    gc.disable()
    from probed.cli import main as command  # noqa: PLC0415

    try:
        command()
    except SystemExit as end:
        if sys.flags.dev_mode:
            raise  # so that what was left open is told of
        # All is closed and written: to free every object by itself would only take time.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)


if __name__ == "__main__":
    main()
