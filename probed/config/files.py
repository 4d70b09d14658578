"""All files of one configuration, the main one first. A mark says by its number which it is in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from probed.config.model import Glob, Position
from probed.config.problems import PRINTED, ConfigError, Problem
from probed.config.source import NODE_LIMIT, Mark, Source
from probed.text.redact import Redactor


class Files:
    """The files read, and their problems. `count` are the problems noted here, `read` and
    `globs` what was read or looked for on disk, `room` how many values more there may be. `lacks`
    is set where a file could not be had.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.count = 0
        self.read: dict[Path, None] = {}
        self.globs: list[Glob] = []
        self.room = NODE_LIMIT
        self.lacks = False
        self._folders: list[Path | None] = []

    @property
    def complete(self) -> bool:
        """Whether all files could be read. If not, what seems to be missing may be in the rest."""
        return not self.lacks and all(source.valid for source in self.sources)

    def add(self, text: str, name: str, folder: Path | None) -> Source:
        """One more file. Relative paths in it count from the folder."""
        source = Source(text, name, number=len(self.sources), room=self.room)
        self.room -= min(source.size, self.room)
        self.sources.append(source)
        self._folders.append(folder)
        return source

    def folder(self, mark: Mark) -> Path | None:
        return self._folders[mark[0]]

    def position(self, mark: Mark) -> Position:
        return self.sources[mark[0]].position(mark)

    def place(self, mark: Mark, seen_from: Mark) -> str:
        """Return the place of a mark as seen from another one: `line 3`, `web.yaml:3`."""
        return f"line {mark[1] + 1}" if mark[0] == seen_from[0] else self.line(mark)

    def line(self, mark: Mark) -> str:
        return f"{self.sources[mark[0]].name}:{mark[1] + 1}"

    def problem(
        self, mark: Mark, path: str, message: str, remedy: str = "", *, foreign: bool = False
    ) -> None:
        self.count += 1
        self.sources[mark[0]].problem(mark, path, message, remedy, foreign=foreign)

    def hide(self, start: Mark, end: Mark) -> None:
        """Mask what stands between two marks in what is shown of the file."""
        self.sources[start[0]].excerpts.hide(start[1:], end[1:])

    def error(self, redactor: Redactor, read: Iterable[Path]) -> ConfigError | None:
        """All that was noted, file by file, if there is anything; long lists get no excerpts."""
        problems: list[Problem] = []
        for source in self.sources:
            problems += source.problems(redactor, PRINTED - len(problems))
        return ConfigError(problems, read) if problems else None
