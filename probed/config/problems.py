"""Problems of a configuration: place, key, message and remedy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from probed.config.model import Position

PRINTED = 100
"""Problems that are printed; the others are counted."""


class Problem(NamedTuple):
    """One thing that is wrong. `excerpt` is the source line and a caret, free of secrets."""

    position: Position
    key: str
    message: str
    remedy: str = ""
    excerpt: str = ""

    @property
    def line(self) -> str:
        where = f"{self.position}: {self.key}" if self.key else str(self.position)
        return f"{where}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")

    def __str__(self) -> str:
        return f"{self.line}\n{self.excerpt}" if self.excerpt else self.line


class ConfigError(Exception):
    """A configuration that cannot be used. All its problems, in the order of the files, the main
    one first; `files` are those that were read or looked for.
    """

    def __init__(self, problems: Iterable[Problem], files: Iterable[Path] = ()) -> None:
        told: dict[Problem, Problem] = {}
        for problem in problems:
            told.setdefault(problem._replace(excerpt=""), problem)
        self.problems = list(told.values())
        self.files = tuple(files)
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:PRINTED]]
        more = len(self.problems) - PRINTED
        if more > 0:
            lines.append(f"and {more} more")
        return "\n".join(lines)
