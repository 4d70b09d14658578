"""How a regular expression is written: `re`'s syntax, as far as a search in one pass can follow it.

Single characters and sets are left to `re` itself, which says which characters match them.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

PATTERN_LIMIT = 1000
DEPTH_LIMIT = 30

_COUNT = r"\{(?:(\d{1,4})(,(\d{0,4}))?|(),(\d{1,4}))\}"
_FLAGS = r"\(\?([ims]+)\)"
_GROUP = r"\((?:\?(?:P<[A-Za-z_]\w*>|([ims]*):))?"
_SET = r"(?s)\[\^?\]?(?:[^\]\\]|\\.)*\]"
_ESCAPE = r"(?s)\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[dDwWsSnrtfva]|[^A-Za-z0-9])"
_BITS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class Atom(NamedTuple):
    """One character that `test` matches."""

    test: re.Pattern[str]
    literal: str | None


class Edge(NamedTuple):
    """A place and no character: `^ $ b B`, `A` and `Z`; `^` and `$` of lines are `m^` and `m$`."""

    kind: str


class Cat(NamedTuple):
    parts: tuple[Node, ...]


class Alt(NamedTuple):
    ways: tuple[Node, ...]


class Rep(NamedTuple):
    part: Node
    low: int
    high: int | None


Node: TypeAlias = "Atom | Edge | Cat | Alt | Rep"


class _Reader:
    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_LIMIT:
            raise ValueError(f"a pattern has at most {PATTERN_LIMIT} characters")
        self.text = text
        self.at = 0
        self.bits = 0
        self.depth = 0

    def read(self) -> Node:
        flags = self._next(_FLAGS)
        if flags is not None:
            self.at = flags.end()
            self._flag(flags[1])
        node = self._ways()
        if self.at < len(self.text):
            raise self._error("a ) without its (")
        return node

    def _flag(self, letters: str) -> None:
        for letter in letters:
            self.bits |= _BITS[letter]

    def _error(self, what: str) -> ValueError:
        return ValueError(f"{what}, at character {self.at + 1}")

    def _ways(self) -> Node:
        ways = [self._cat()]
        while self.text.startswith("|", self.at):
            self.at += 1
            ways.append(self._cat())
        return ways[0] if len(ways) == 1 else Alt(tuple(ways))

    def _cat(self) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self._repeated(self._one()))
        return parts[0] if len(parts) == 1 else Cat(tuple(parts))

    def _repeated(self, node: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        if isinstance(node, Edge):
            raise self._error("there is nothing to repeat")
        if self.text.startswith("?", self.at):
            self.at += 1  # lazy or not: whether there is a match is the same
        elif self.text.startswith("+", self.at):
            raise self._error("possessive repeats are not supported")
        if self._bounds() is not None:
            raise self._error("a repeat of a repeat: put the first in ( )")
        return Rep(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        sign = self.text[self.at : self.at + 1]
        if sign in _REPEATS:
            self.at += 1
            return _REPEATS[sign]
        count = self._next(_COUNT)
        if count is None:
            return None
        low = int(count[1] or 0)
        high = count[5] or (count[3] if count[2] else count[1])
        if high and int(high) < low:
            raise self._error("the greater number stands first")
        self.at = count.end()
        return low, int(high) if high else None

    def _one(self) -> Node:
        sign = self.text[self.at]
        if sign == "(":
            return self._group()
        if sign in _REPEATS or self._next(_COUNT):
            raise self._error("there is nothing to repeat")
        if sign in "^$":
            self.at += 1
            return Edge("m" + sign if self.bits & re.MULTILINE else sign)
        if sign == "\\" and self.text[self.at + 1 : self.at + 2] in {"A", "Z", "b", "B"}:
            self.at += 2
            return Edge(self.text[self.at - 1])
        return self._atom(sign)

    def _group(self) -> Node:
        start = self._next(_GROUP)
        assert start is not None
        if self.text.startswith("?", start.end()):
            raise self._error(
                "look-around, back-references and the like are not supported: they need a second look"
            )
        if self.depth >= DEPTH_LIMIT:
            raise self._error("too many ( in one another")
        before, self.bits = self.bits, self.bits
        self._flag(start[1] or "")
        self.depth += 1
        opened, self.at = self.at, start.end()
        node = self._ways()
        if not self.text.startswith(")", self.at):
            self.at = opened
            raise self._error("a ( without its )")
        self.at += 1
        self.depth -= 1
        self.bits = before
        return Cat((node,)) if isinstance(node, Edge) else node

    def _atom(self, sign: str) -> Atom:
        written, literal = sign, None
        if sign == "[":
            written = self._matched(_SET, "a [ without its ]")
            if re.search(r"(?<!\\)\[|--|&&|\|\||~~", written[1:]):
                raise self._error(r"write \[ \- \& \| \~ for these signs in a set")
        elif sign == "\\":
            written = self._matched(_ESCAPE, "this escape is not supported")
            literal = written[1] if not written[1].isalnum() else None
        elif sign != ".":
            literal = sign
        source = re.escape(sign) if literal == written else written
        try:
            test = re.compile(source, self.bits & ~re.MULTILINE)
        except re.error as error:
            raise self._error(str(error.msg)) from None
        self.at += len(written)
        return Atom(test, None if self.bits & re.IGNORECASE else literal)

    def _next(self, what: str) -> re.Match[str] | None:
        return re.compile(what).match(self.text, self.at)  # `re` keeps what it has compiled

    def _matched(self, what: str, otherwise: str) -> str:
        match = self._next(what)
        if match is None:
            raise self._error(otherwise)
        return match[0]


def read(text: str) -> Node:
    """The pattern as a tree. Raises ValueError, which says what is wrong and where."""
    return _Reader(text).read()
