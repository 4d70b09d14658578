"""`include`: the other files of the configuration, found and read.

The main file may include whatever it names; an included file only what is in its folder or below,
so that who may write one file of `conf.d` cannot make the daemon read another.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from probed.config.model import Glob
from probed.config.reading import is_glob, matches, read_text
from probed.config.shape import Shape
from probed.config.source import Node, Source
from probed.config.values import Values
from probed.text.redact import sanitize

DEPTH = 8
FILES_LIMIT = 1000
TOTAL_LIMIT = 16 << 20
"""Bytes in all included files."""
_NAME = "must be the name of a file, or a pattern"
_SAMPLE = "write conf.d/*.yaml"


class Includes:
    """Reads what files include. Each file is read once, however often it is named."""

    def __init__(self, values: Values, main: Path | None) -> None:
        self._values = values
        self._files = values.files
        self._left = TOTAL_LIMIT
        real = "" if main is None else os.path.realpath(main)
        self._seen = {real}
        self._main = real

    def read(self) -> None:
        """Read all that the main file includes, and they in turn; what is wrong is noted."""
        self._follow(self._files.sources[0], (self._main,))

    def _follow(self, source: Source, chain: tuple[str, ...]) -> None:
        root = source.root.value if source.root is not None else None
        node = root.get("include") if isinstance(root, dict) else None
        if node is None or (node.value is None and node.plain):
            return
        items = node.value if isinstance(node.value, list) else [node]
        for at, item in enumerate(items):
            path = "include" if item is node else f"include[{at}]"
            name = self._values.data(item, Shape(scalar="text"), path)
            if self._values.is_wrong(item):
                continue
            if not name or not isinstance(name, str) or "\0" in name:
                self._values.wrong(item, path, _NAME, _SAMPLE)
            else:
                self._find(source, item, path, name, chain)

    def _find(
        self, source: Source, node: Node, path: str, name: str, chain: tuple[str, ...]
    ) -> None:
        if source.number and (name.startswith("/") or ".." in PurePosixPath(name).parts):
            self._values.wrong(
                node, path, "an included file may include only what is in its folder or below",
                f"write it in {self._files.sources[0].name}",
            )  # fmt: skip
            return
        folder = (self._files.folder(node.start) or Path()).absolute()
        if not is_glob(name):
            self._add(source, node, path, folder / name, name, chain)
            return
        glob = Glob(folder, name)
        self._files.globs.append(glob)
        try:
            found = matches(glob)
        except ValueError as error:
            self._missing(node, path, str(error))
            return
        if not found:
            line = self._files.line(node.start)
            self._values.warnings[f"{line}: {path}: the pattern matches no file"] = None
        elif len(found) > FILES_LIMIT:
            self._missing(
                node, path, f"matches {len(found)} files; at most {FILES_LIMIT} can be included"
            )
        else:
            for each in found:
                if os.path.realpath(folder / each) not in chain:
                    self._add(source, node, path, folder / each, each, chain)

    def _add(
        self, source: Source, node: Node, path: str, full: Path, name: str, chain: tuple[str, ...]
    ) -> None:
        real = os.path.realpath(full)
        shown = sanitize(str(Path(source.name).parent / name), 4096)
        if real in chain:
            told = [Path(each).name for each in (*chain[chain.index(real) :], real)]
            circle = sanitize(" -> ".join(told), 4096)
            self._values.wrong(node, path, f"includes itself: {circle}", "take it out")
        elif real in self._seen or not self._files.room:
            return
        elif len(chain) > DEPTH:
            self._missing(node, path, f"files include each other more than {DEPTH} deep")
        elif len(self._files.sources) > FILES_LIMIT:
            self._missing(node, path, f"at most {FILES_LIMIT} files can be included")
        else:
            self._seen.add(real)
            self._read(node, path, full, shown, (*chain, real))

    def _read(self, node: Node, path: str, full: Path, shown: str, chain: tuple[str, ...]) -> None:
        self._files.read[full] = None
        try:
            text = read_text(full)
        except ValueError as error:
            self._missing(node, path, f"{shown} {error}")
            return
        self._left -= len(text.encode())
        if self._left < 0:
            self._missing(
                node, path, f"the included files are larger than {TOTAL_LIMIT >> 20} MiB together"
            )
            return
        source = self._files.add(text, shown, full.parent)
        if source.valid and (
            source.root is None or (source.root.value is None and source.root.plain)
        ):
            self._values.warnings[f"{shown}: is empty"] = None
        self._follow(source, chain)

    def _missing(self, node: Node, path: str, message: str) -> None:
        self._files.lacks = True
        self._values.wrong(node, path, message)
