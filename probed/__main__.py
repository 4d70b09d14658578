"""The command `probed`, and `python -m probed`."""

from __future__ import annotations

import gc


def main() -> None:
    """Entry point."""
    # What is imported is no garbage, and looking for some takes a tenth of a short command's time.
    gc.disable()
    from probed.cli import main as command  # noqa: PLC0415

    command()


if __name__ == "__main__":
    main()
