"""A YAML file -> nodes that know where they stand.

The parser's events are counted before anything is built from them: composing a document that is
nested too deep crashes libyaml's composer, and a few aliases can stand for millions of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from probed.config.excerpt import Excerpts, names_secret
from probed.config.model import Position
from probed.config.problems import Problem
from probed.config.reading import FILE_LIMIT
from probed.config.scalars import resolve

if TYPE_CHECKING:
    from probed.model import Scalar
    from probed.text.redact import Redactor

DEPTH_LIMIT = 32
NODE_LIMIT = 200_000
_DIRECTIVE_LIMIT = 16
REFERENCES = ("env", "file", "credential")
"""Keys of a mapping that says where a secret is."""

Mark: TypeAlias = "tuple[int, int, int]"
"""The file's number, line and column, counted from 0. Line -1 is the file as a whole."""
Value: TypeAlias = "Scalar | list[Node] | dict[str, Node]"

# What YAML does not let stand in a file. libyaml says of it neither line nor column.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = "[\ud800-\udfff]"
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


class Draft(NamedTuple):
    """A problem, as it is noted: `foreign` text is cleaned of secrets before it is shown."""

    mark: Mark
    path: str
    message: str
    remedy: str = ""
    foreign: bool = False


class Written(NamedTuple):
    """Where a value that several checks share was written: its path, and that in words."""

    path: str
    words: str


class Node:
    """A value and where it stands; marks count from 0. `keys` are the marks of a mapping's keys.
    `shared` is set where the value is that of a template or of a kind's defaults.
    """

    __slots__ = ("end", "keys", "plain", "shared", "start", "value")

    def __init__(self, value: Value, start: Mark, end: Mark, *, plain: bool = False) -> None:
        self.value = value
        self.start = start
        self.end = end
        self.plain = plain
        self.keys: dict[str, Mark] = {}
        self.shared: Written | None = None


class Source:
    """One file's text, the nodes made of it, and what is wrong with it. `number` is the file's
    place among all, `size` the values in it, of which there may be as many as `room`.
    """

    def __init__(
        self, text: str, name: str, *, number: int = 0, room: int = NODE_LIMIT, loader: Any = None
    ) -> None:
        self.name = name
        self.number = number
        self.room = room
        self.excerpts = Excerpts(text)
        self.drafts: list[Draft] = []
        self._noted: set[tuple[Mark, str, str]] = set()
        self.valid = True
        self.root: Node | None = None
        builder = _Builder(self)
        try:
            self._check_text(text)
            self.root = builder.build(_events(text, loader or yaml_loader()))
        except _StopError as stop:
            self.valid = False
            self.problem(stop.mark, stop.path, stop.message, stop.remedy)
        self.size = builder.size

    @property
    def whole(self) -> Mark:
        """The mark of the file as a whole."""
        return self.number, -1, -1

    def position(self, mark: Mark) -> Position:
        return Position(self.name, mark[1] + 1, mark[2] + 1)

    def problem(
        self, mark: Mark, path: str, message: str, remedy: str = "", *, foreign: bool = False
    ) -> None:
        """Note it; of what is said twice, with other hints, the first counts."""
        if (mark, path, message) not in self._noted:
            self._noted.add((mark, path, message))
            self.drafts.append(Draft(mark, path, message, remedy, foreign))

    def problems(self, redactor: Redactor, excerpts: int) -> Iterator[Problem]:
        """All that was noted, first things first; so many of them get excerpts."""
        for at, draft in enumerate(sorted(self.drafts, key=lambda draft: draft.mark)):
            yield Problem(
                self.position(draft.mark),
                draft.path,
                redactor.clean(draft.message) if draft.foreign else draft.message,
                draft.remedy,
                self.excerpts.show(draft.mark[1:], redactor, valid=self.valid)
                if at < excerpts
                else "",
            )

    def _check_text(self, text: str) -> None:
        if len(text) > FILE_LIMIT:
            raise _StopError(self.whole, f"is larger than {FILE_LIMIT // 1024} KiB")
        bad = _UNPRINTABLE.search(text)
        if bad is not None:
            before = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text[: bad.start()])
            raise _StopError(
                (self.number, len(before) - 1, len(before[-1])),
                f"the character U+{ord(bad.group()):04X} may not stand in a YAML file",
            )
        # libyaml compares each directive with all those before it.
        if text.count("\n%") > _DIRECTIVE_LIMIT:
            raise _StopError(self.whole, "has too many lines that begin with %")


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
        self.number = source.number
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
                            self._mark(event.start_mark), "a second document begins here",
                            "write one document in one file",
                        )  # fmt: skip
        except yaml.MarkedYAMLError as error:
            raise self._not_yaml(error) from None
        return self.root

    def _not_yaml(self, error: yaml.MarkedYAMLError) -> _StopError:
        problem = error.problem or "it cannot be read"
        at_end = any(part in problem for part in _AT_END)
        mark = (error.context_mark if at_end else None) or error.problem_mark
        where = self.source.whole if mark is None else self._mark(mark)
        for frame in self.stack:
            if frame.key == "headers" or self._secret(frame):
                _, row, column = frame.mark
                self.source.excerpts.hide((row, column + len(frame.key or "") + 1), (1 << 30, 0))
        remedy = next((text for part, text in _REMEDIES if part in problem), "")
        if self.source.excerpts.at(where[1:]) == "\t":
            remedy = "indent with spaces, not with tabs"
        return _StopError(where, f"not valid YAML: {problem}", remedy, self._path())

    def _scalar(self, event: Any) -> None:
        start = (self.number, event.start_mark.line, event.start_mark.column)
        text, plain = event.value, event.implicit[0] and event.tag is None
        if event.tag not in {None, "!", _STR}:
            self._tag(start)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is None and isinstance(frame.node.value, dict):
            self._key(frame, resolve(text) if plain else text, start, plain=plain)
            return
        if not text.isascii() and re.search(_SURROGATE, text):
            self._problem(start, "holds half of a character (a surrogate)")
        end = (self.number, event.end_mark.line, event.end_mark.column)
        node = Node(resolve(text) if plain else text, start, end, plain=plain)
        if frame is not None and frame.key not in REFERENCES and self._secret(frame):
            self.source.excerpts.hide(start[1:], end[1:])
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
            remedy = "write what checks have in common under `templates`"
            self._problem(start, "YAML 1.2 has no merge keys", remedy)
            return
        first = frame.node.keys.get(key)
        if first is not None:
            frame.duplicate = True
            self._problem(start, "the key stands twice", f"it stands first in line {first[1] + 1}")
        else:
            frame.node.keys[key] = start

    def _open(self, event: Any, value: Value) -> None:
        start = self._mark(event.start_mark)
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
        frame.node.end = self._mark(event.end_mark)
        self._put(frame.node, frame.anchor, self.size - frame.before, frame.height)

    def _alias(self, event: Any) -> None:
        start = self._mark(event.start_mark)
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
            self.source.excerpts.hide(node.start[1:], node.end[1:])
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
        if self.size > self.source.room:
            raise _StopError(
                mark, f"more than {NODE_LIMIT} values, counting what aliases stand for", "",
                self._path(),
            )  # fmt: skip

    def _mark(self, mark: Any) -> Mark:
        return self.number, mark.line, mark.column

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


def _events(text: str, loader: Any) -> Any:
    parser = loader(text)
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


@lru_cache(maxsize=1)
def yaml_loader() -> Any:
    """libyaml's, where PyYAML has it."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
