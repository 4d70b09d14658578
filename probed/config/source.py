"""A YAML file -> nodes that know where they stand.

The parser's events are counted before anything is built from them: composing a document that is
nested too deep crashes libyaml's composer, and a few aliases can stand for millions of nodes.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from probed.config.excerpt import Excerpts, names_secret
from probed.config.model import Position
from probed.config.problems import PRINTED, ConfigError, Problem
from probed.config.scalars import resolve

if TYPE_CHECKING:
    from probed.model import Scalar
    from probed.redact import Redactor

FILE_LIMIT = 1 << 20
DEPTH_LIMIT = 32
NODE_LIMIT = 200_000
_DIRECTIVE_LIMIT = 16
REFERENCES = ("env", "file", "credential")
"""Keys of a mapping that says where a secret is."""

Mark: TypeAlias = "tuple[int, int]"
"""Line and column, counted from 0."""
FILE: Mark = (-1, -1)
"""The mark of the file as a whole."""
Value: TypeAlias = "Scalar | list[Node] | dict[str, Node]"

# What YAML does not let stand in a file. libyaml says of it neither line nor column.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STR, _SEQ, _MAP = (f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
_REMEDIES = (
    ("mapping values are not allowed", "put a value that holds `: ` in quotes"),
    ("'\\t'", "indent with spaces, not with tabs"),
    ("tab character", "indent with spaces, not with tabs"),
    ("cannot start any token", "put a value that begins with @, % or ` in quotes"),
    ("expected key", "check the indentation of this line and of those before it"),
    ("<block end>", "check the indentation of this line and of those before it"),
    ("'-' indicator", "check the indentation of this line and of those before it"),
    ("node content", "close the bracket or brace that was opened before"),
    ("escape", "write \\\\ for a backslash, or use single quotes"),
    ("unexpected end of stream", "close the quotes that were opened here"),
    ("',' or ']'", "close the bracket that was opened before"),
    ("',' or '}'", "close the brace that was opened before"),
)
_AT_END = ("end of stream", "',' or")
"""Problems that are seen later than where they began."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem, as it is noted: `foreign` text is cleaned of secrets before it is shown."""

    mark: Mark
    path: str
    message: str
    remedy: str = ""
    foreign: bool = False


class Node:
    """A value and where it stands; marks count from 0. `keys` are the marks of a mapping's keys."""

    __slots__ = ("end", "keys", "plain", "start", "value")

    def __init__(self, value: Value, start: Mark, end: Mark, *, plain: bool = False) -> None:
        self.value = value
        self.start = start
        self.end = end
        self.plain = plain
        self.keys: dict[str, Mark] = {}


def read_bounded(path: Path, limit: int) -> tuple[bytes, int]:
    """Content and mode of a regular file. Raises OSError, or ValueError with what is wrong."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would block
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ValueError(f"is {kind}")
        content = b""
        while chunk := os.read(descriptor, limit + 1 - len(content)):
            content += chunk
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise ValueError(f"is larger than {limit // 1024} KiB")
    return content, status.st_mode


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError."""
    try:
        content, _ = read_bounded(path, FILE_LIMIT)
        return content.decode("utf-8-sig")
    except OSError as error:
        message = f"cannot be read: {error.strerror or type(error).__name__}"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        message = f"is not UTF-8 text: byte 0x{error.object[error.start]:02x} in line {line}"
    except ValueError as error:
        message = str(error)
    raise ConfigError([Problem(Position(str(path), 0, 0), "", message)])


class Source:
    """One file's text, the nodes made of it, and what is wrong with its form."""

    def __init__(self, text: str, name: str, *, loader: Any = None) -> None:
        self.name = name
        self.excerpts = Excerpts(text)
        self.drafts: list[Draft] = []
        self.valid = True
        self.root: Node | None = None
        try:
            self._check_text(text)
            self.root = _Builder(self).build(_events(text, loader or _loader()))
        except _StopError as stop:
            self.valid = False
            self.problem(stop.mark, stop.path, stop.message, stop.remedy)

    def position(self, mark: Mark) -> Position:
        return Position(self.name, mark[0] + 1, mark[1] + 1)

    def problem(
        self, mark: Mark, path: str, message: str, remedy: str = "", *, foreign: bool = False
    ) -> None:
        self.drafts.append(Draft(mark, path, message, remedy, foreign))

    def error(self, redactor: Redactor) -> ConfigError:
        """All that was noted, first things first; long lists of problems get no excerpts."""
        drafts = sorted(dict.fromkeys(self.drafts), key=lambda draft: draft.mark)
        return ConfigError(
            Problem(
                self.position(draft.mark),
                draft.path,
                redactor.clean(draft.message) if draft.foreign else draft.message,
                draft.remedy,
                self.excerpts.show(draft.mark, redactor, valid=self.valid) if at < PRINTED else "",
            )
            for at, draft in enumerate(drafts)
        )

    def _check_text(self, text: str) -> None:
        if len(text) > FILE_LIMIT:
            raise _StopError(FILE, f"is larger than {FILE_LIMIT // 1024} KiB")
        bad = _UNPRINTABLE.search(text)
        if bad is not None:
            before = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text[: bad.start()])
            raise _StopError(
                (len(before) - 1, len(before[-1])),
                f"the character U+{ord(bad.group()):04X} may not stand in a YAML file",
            )
        # libyaml compares each directive with all those before it.
        if text.count("\n%") > _DIRECTIVE_LIMIT:
            raise _StopError(FILE, "has too many lines that begin with %")


class _StopError(Exception):
    """Nothing more can be made of the file."""

    def __init__(self, mark: Mark, message: str, remedy: str = "", path: str = "") -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message
        self.remedy = remedy
        self.path = path


class _Frame:
    """A mapping or list that is still open."""

    __slots__ = ("anchor", "before", "duplicate", "height", "key", "mark", "node", "secret")

    def __init__(self, node: Node, anchor: str | None, before: int, *, secret: bool) -> None:
        self.node = node
        self.anchor = anchor
        self.before = before
        self.secret = secret
        self.height = 1
        self.key: str | None = None
        self.mark: Mark = node.start
        self.duplicate = False


class _Builder:
    """Makes nodes of events; `size` counts them with every alias written out."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        self.size = 0
        self.root: Node | None = None

    def build(self, events: Any) -> Node | None:
        documents = 0
        try:
            for event in events:
                kind = type(event)
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                    self._open(event, {} if kind is yaml.MappingStartEvent else [])
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self._close(event)
                elif kind is yaml.AliasEvent:
                    self._alias(event)
                elif kind is yaml.DocumentStartEvent:
                    documents += 1
                    if documents > 1:
                        raise _StopError(
                            _mark(event.start_mark), "a second document begins here",
                            "write one document in one file",
                        )  # fmt: skip
        except yaml.MarkedYAMLError as error:
            raise self._not_yaml(error) from None
        return self.root

    def _not_yaml(self, error: yaml.MarkedYAMLError) -> _StopError:
        problem = error.problem or "it cannot be read"
        at_end = any(part in problem for part in _AT_END)
        mark = (error.context_mark if at_end else None) or error.problem_mark
        where = FILE if mark is None else _mark(mark)
        for frame in self.stack:
            if frame.key == "headers" or self._secret(frame):
                row, column = frame.mark
                self.source.excerpts.hide((row, column + len(frame.key or "") + 1), (1 << 30, 0))
        remedy = next((text for part, text in _REMEDIES if part in problem), "")
        if self.source.excerpts.at(where) == "\t":
            remedy = "indent with spaces, not with tabs"
        return _StopError(where, f"not valid YAML: {problem}", remedy, self._path())

    def _scalar(self, event: Any) -> None:
        start = (event.start_mark.line, event.start_mark.column)
        text, plain = event.value, event.implicit[0] and event.tag is None
        if event.tag not in {None, "!", _STR}:
            self._tag(start)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is None and isinstance(frame.node.value, dict):
            self._key(frame, resolve(text) if plain else text, start, plain=plain)
            return
        if _SURROGATE.search(text):
            self._problem(start, "holds half of a character (a surrogate)")
        end = (event.end_mark.line, event.end_mark.column)
        node = Node(resolve(text) if plain else text, start, end, plain=plain)
        if frame is not None and frame.key not in REFERENCES and self._secret(frame):
            self.source.excerpts.hide(start, end)
        self._count(start)
        self._put(node, event.anchor, 1, 0)

    def _key(self, frame: _Frame, key: Any, start: Mark, *, plain: bool) -> None:
        self._count(start)
        frame.mark = start
        frame.duplicate = False
        if not isinstance(key, str):
            self._problem(start, "a key must be text", "put the key in quotes")
            frame.key, frame.duplicate = "?", True
            return
        frame.key = key
        if key == "<<" and plain:
            frame.duplicate = True
            remedy = "write what checks have in common under `defaults`"
            self._problem(start, "YAML 1.2 has no merge keys", remedy)
            return
        first = frame.node.keys.get(key)
        if first is not None:
            frame.duplicate = True
            self._problem(start, "the key stands twice", f"it stands first in line {first[0] + 1}")
        else:
            frame.node.keys[key] = start

    def _open(self, event: Any, value: Value) -> None:
        start = _mark(event.start_mark)
        if len(self.stack) >= DEPTH_LIMIT:
            raise _StopError(start, f"nested deeper than {DEPTH_LIMIT} levels", "", self._path())
        if event.tag not in {None, "!", _MAP if isinstance(value, dict) else _SEQ}:
            self._tag(start)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is None and isinstance(frame.node.value, dict):
            raise _StopError(start, "a key must be text", "write the key as one word", self._path())
        secret = frame is not None and self._secret(frame)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self._count(start)
        node = Node(value, start, start)
        self.stack.append(_Frame(node, event.anchor, self.size - 1, secret=secret))

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        frame.node.end = _mark(event.end_mark)
        self._put(frame.node, frame.anchor, self.size - frame.before, frame.height)

    def _alias(self, event: Any) -> None:
        start = _mark(event.start_mark)
        if event.anchor not in self.anchors:
            raise _StopError(start, "the alias has no anchor", "", self._path())
        target = self.anchors[event.anchor]
        if target is None:
            raise _StopError(start, "the alias stands within its own anchor", "", self._path())
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is None and isinstance(frame.node.value, dict):
            raise _StopError(start, "a key must be text", "write out the key", self._path())
        node, size, height = target
        if len(self.stack) + height > DEPTH_LIMIT:
            raise _StopError(start, f"nested deeper than {DEPTH_LIMIT} levels", "", self._path())
        if frame is not None and self._secret(frame):
            self.source.excerpts.hide(node.start, node.end)
        self._count(start, size)
        self._put(node, None, size, height)

    def _put(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = node, size, height
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.height = max(frame.height, height + 1)
        value = frame.node.value
        if isinstance(value, dict):
            if frame.key is not None and not frame.duplicate:
                value[frame.key] = node
            frame.key = None
        elif isinstance(value, list):
            value.append(node)

    def _count(self, mark: Mark, size: int = 1) -> None:
        self.size += size
        if self.size > NODE_LIMIT:
            raise _StopError(
                mark, f"more than {NODE_LIMIT} values, counting what aliases stand for", "",
                self._path(),
            )  # fmt: skip

    def _tag(self, mark: Mark) -> None:
        self._problem(mark, "tags are not used here", "write the value without the tag")

    def _problem(self, mark: Mark, message: str, remedy: str = "") -> None:
        self.source.problem(mark, self._path(), message, remedy)

    def _path(self) -> str:
        path = ""
        for frame in self.stack:
            if isinstance(frame.node.value, list):
                path += f"[{len(frame.node.value)}]"
            elif frame.key is not None:
                path += f".{frame.key}"
        return path.removeprefix(".")

    @staticmethod
    def _secret(frame: _Frame) -> bool:
        return frame.secret or (frame.key is not None and names_secret(frame.key))


def _mark(mark: Any) -> Mark:
    return mark.line, mark.column


def _events(text: str, loader: Any) -> Any:
    parser = loader(text)
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


@lru_cache(maxsize=1)
def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
