"""Capabilities of the terminal: colours, characters, and a progress line."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Self, TextIO

from probed.output import Style


def style_for(stream: TextIO, *, verbose: bool = False, name_width: int = 12) -> Style:
    """Return the style for a stream. NO_COLOR and FORCE_COLOR take precedence over what the stream is."""
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return Style(
        colour=_coloured(stream),
        unicode=encoding.startswith("utf"),
        verbose=verbose,
        name_width=name_width,
    )


def _coloured(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """A progress line on standard error, on a terminal only."""

    def __init__(self, total: int) -> None:
        dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("CI"))
        self._live = sys.stderr.isatty() and not dumb
        self._total = total
        self._done = 0

    def __enter__(self) -> Self:
        self._write(f"running {self._total} checks")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def show(self, name: str) -> None:
        self._done += 1
        self._write(f"{self._done} of {self._total} done, last {name}")

    def clear(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
