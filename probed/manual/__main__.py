"""`python -m probed.manual docs`: write the generated pages of the documentation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from probed.manual import credentials, reasons, settings

PAGES: Mapping[str, Callable[[], str]] = {
    "credentials.md": credentials.page,
    "reasons.md": reasons.page,
    "settings.md": settings.page,
}
"""Each generated page, and the function that returns its text."""


def main(folder: Path) -> None:
    """Write each page into `folder`."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
