r"""Regular expressions over what a peer sends, in time that grows with the text and no faster.

Python's `re` tries one way after the other: with `\d+x`, 64 KiB of digits hold the event loop for
12 seconds. Here all ways are followed at once (Thompson 1968), as states that are made when they
are needed and kept. So there is what RE2 has, with the meaning that it has in `re`; what needs a
second look at the text (look-around, back-references) is refused. All searches in one answer share
an `Effort` (0.1 s), and are given up where it is spent.

Why not a library: RE2's bindings come late for a new Python and not at all for musl, and take 0.7 s
for 64 KiB with `\pL{1,200}\d`; `regex`, with a time limit, gives up on 64 KiB with `foo.*bar`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from probes.gateway.grammar import PATTERN_LIMIT, Alt, Atom, Cat, Edge, Node, Rep, read

TEXT_LIMIT = 1 << 17
"""Characters that are searched. Where the pattern is plain text, all are."""
WORK = 250_000
"""Instructions that may be followed for one answer, in steps that are not known yet."""
STATE_LIMIT = 50_000
"""Steps and places that one pattern keeps: some 5 MiB."""
_STEP_COST = 4
"""Cost of a new step, in addition to the instructions that it follows."""
_KNOWN_COST = 32
"""Characters that may be passed in known steps for the cost of one instruction."""
PROGRAM_LIMIT = 1000

_Kind: TypeAlias = Literal["text", "line", "word", "other"]
"""The context of a position: start or end of the text or of a line, a word character, or another."""


class TooHard(Exception):  # noqa: N818  # it says what the search is, not what went wrong
    """The search would take too long, and was given up."""


class Effort:
    """The remaining effort for one response."""

    __slots__ = ("left",)

    def __init__(self, work: int = WORK) -> None:
        self.left = work

    def spend(self, work: int) -> None:
        """Raises TooHard where there was not so much left."""
        self.left -= work
        if self.left < 0:
            raise TooHard


class _Op(NamedTuple):
    """One instruction: pass a character, pass an edge, or go on at each of `to`; else: matched."""

    atom: Atom | None = None
    edge: str | None = None
    to: tuple[int, ...] | None = None


def _compile(node: Node, program: list[_Op]) -> None:
    if len(program) > PROGRAM_LIMIT:
        raise ValueError("the pattern is too large: its counts make too many copies")
    if isinstance(node, Atom):
        program.append(_Op(atom=node))
    elif isinstance(node, Edge):
        program.append(_Op(edge=node.kind))
    elif isinstance(node, Cat):
        for part in node.parts:
            _compile(part, program)
    elif isinstance(node, Alt):
        _compile_ways(node, program)
    else:
        _compile_rep(node, program)


def _compile_ways(node: Alt, program: list[_Op]) -> None:
    ends: list[int] = []
    for way in node.ways[:-1]:
        fork = len(program)
        program.append(_Op())
        _compile(way, program)
        ends.append(len(program))
        program.append(_Op())
        program[fork] = _Op(to=(fork + 1, len(program)))
    _compile(node.ways[-1], program)
    for end in ends:
        program[end] = _Op(to=(len(program),))


def _compile_rep(node: Rep, program: list[_Op]) -> None:
    for _ in range(node.low):
        before = len(program)
        _compile(node.part, program)
        if len(program) == before:
            return  # nothing, however often
    if node.high is None:
        fork = len(program)
        program.append(_Op())
        _compile(node.part, program)
        program.append(_Op(to=(fork,)))
        program[fork] = _Op(to=(fork + 1, len(program)))
        return
    forks: list[int] = []
    for _ in range(node.high - node.low):
        forks.append(len(program))
        program.append(_Op())
        _compile(node.part, program)
    for fork in forks:
        program[fork] = _Op(to=(fork + 1, len(program)))


class _State(dict[str, "_State"]):
    """Where a search stands: the instructions to go on at, and what was before. By the next
    character (a last line's end is two, the text's end none) it leads to another.
    """

    __slots__ = ("before", "pattern", "places")

    def __init__(self, pattern: SafePattern, places: frozenset[int], before: _Kind) -> None:
        self.pattern = pattern
        self.places = places
        self.before = before

    def __missing__(self, sign: str) -> _State:
        state = self.pattern._step(self, sign)  # noqa: SLF001  # its own states
        self[sign] = state
        return state


class SafePattern:
    """A pattern that was read. Raises ValueError for one that cannot be."""

    __slots__ = ("_effort", "_found", "_literal", "_program", "_states", "_stored", "text")

    def __init__(self, text: str) -> None:
        node = read(text)
        self.text = text
        self._literal = _literal(node)
        self._program: list[_Op] = []
        _compile(node, self._program)
        self._program.append(_Op())
        self._states: dict[tuple[frozenset[int], _Kind], _State] = {}
        self._found = _State(self, frozenset(), "text")
        self._stored = 0
        self._effort = Effort()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"SafePattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SafePattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def covers(self, text: str) -> bool:
        """Whether all of the text is searched."""
        return self._literal is not None or len(text) <= TEXT_LIMIT

    def search(self, text: str, effort: Effort) -> bool:
        """Whether it matches somewhere. Raises TooHard."""
        effort.spend(1 + min(len(text), TEXT_LIMIT) // _KNOWN_COST)
        if self._literal is not None:
            return self._literal in text
        self._effort = effort
        state = self._state(frozenset((0,)), "text")
        # What ends where the limit is can be seen at the character after it.
        whole = len(text) <= TEXT_LIMIT
        last = whole and text.endswith("\n")
        for sign in text[:-1] if last else text[: TEXT_LIMIT + 1]:
            state = state[sign]
            if state is self._found:
                return True
        if last:
            state = state["\n\n"]
        return whole and (state is self._found or state[""] is self._found)

    def _state(self, places: frozenset[int], before: _Kind) -> _State:
        key = places, before
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State(self, places, before)
            self._stored += len(places)
        return state

    def _step(self, state: _State, sign: str) -> _State:
        if state is self._found:
            return state
        if self._stored >= STATE_LIMIT:
            for known in self._states.values():
                known.clear()
            self._states.clear()
            self._stored = 0
        self._stored += 1
        reached = self._reach(state.places, state.before, sign)
        if reached is None:
            return self._found
        places = {0}
        for at in reached:
            atom = self._program[at].atom
            assert atom is not None
            if atom.test.match(sign[:1]):
                places.add(at + 1)
        return self._state(frozenset(places), _kind(sign))

    def _reach(self, places: frozenset[int], before: _Kind, sign: str) -> list[int] | None:
        """The characters that may come next; None where the pattern has matched."""
        followed = _STEP_COST
        after = _kind(sign)
        seen = set(places)
        pending = list(places)
        characters: list[int] = []
        while pending:
            at = pending.pop()
            followed += 1
            op = self._program[at]
            if op.atom is not None:
                characters.append(at)
                continue
            if op.edge is not None:
                onward: tuple[int, ...] = (at + 1,) if _holds(op.edge, before, after, sign) else ()
            elif op.to is not None:
                onward = op.to
            else:
                return None
            for target in onward:
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        self._effort.spend(followed)
        return characters


def _kind(sign: str) -> _Kind:
    if sign[:1] == "\n":
        return "line"
    if not sign:
        return "text"
    return "word" if sign.isalnum() or sign == "_" else "other"


def _holds(edge: str, before: _Kind, after: _Kind, sign: str) -> bool:
    if edge in {"b", "B"}:
        return ((before == "word") != (after == "word")) == (edge == "b")
    if edge in {"^", "A"}:
        return before == "text"
    if edge == "m^":
        return before in {"text", "line"}
    if edge == "Z":
        return after == "text"
    return after == "text" or (after == "line" if edge == "m$" else sign == "\n\n")


def _literal(node: Node) -> str | None:
    """The text that the pattern is, if it is nothing but text."""
    parts = node.parts if isinstance(node, Cat) else (node,)
    signs = [part.literal if isinstance(part, Atom) else None for part in parts]
    return None if None in signs else "".join(filter(None, signs))


def _read(value: object) -> SafePattern:
    if isinstance(value, SafePattern):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("pattern", "write a regular expression, as text")
    try:
        return SafePattern(value)
    except ValueError as error:
        why = {"why": str(error)}
        raise PydanticCustomError("pattern", "not a regular expression: {why}", why) from None


Regex = Annotated[
    SafePattern, PlainValidator(_read), PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "regex", "maxLength": PATTERN_LIMIT}),
]  # fmt: skip
"""A regular expression that is searched for, in time that no peer can stretch."""
