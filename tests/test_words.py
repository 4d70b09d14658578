"""The words of the code and of its documents: one name for one thing, and plain sentences.

Names that were replaced do not come back, nor do sentences that nobody would say, nor docstrings that
begin with "What" or go on from their neighbour's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("probed", "probes", "benchmarks", "config")
DOCUMENTS = (".css", ".html", ".js", ".json", ".md", ".service", ".svg", ".timer", ".toml", ".txt",
             ".yaml", ".yml")  # fmt: skip
ONE_OF_EACH = ("Check", "Memory", "Settings", "Verdict")
"""Classes of which there may be one."""

REPLACED = {
    r"take|take_.*": "record, apply, enqueue, write, as it is",
    r"keep|keep_(?!alive|firing).*|keeper|(.*_)?kept(_.*)?": "saved, sampled, pooled, as it is",
    r"own": "daemon_metrics, or what it is",
    r"likeness": "suggest",
    r"wording": "humanize",
    r"together": "correlate",
    r"sheets?": "verdicts",
    r"(degraded|failed)_above": "degraded, failed",
}
"""Names in code, lower case and without leading underscores, and what to write instead."""
REPLACED_CLASSES = {"Kind", "Family", "Kept", "Keeper"}
REPLACED_MEMBERS = {
    "Run": {"ask", "attempt", "_once"},
    "Runner": {"ask", "attempt", "_once"},
    "CheckState": {"failed", "poor", "fair", "good", "unjudged"},
}

SENTENCES = (
    "goes not with",
    "is taken again",
    "it is put aside as",
    "checks begin anew",
    "could not be handed over at the end",
    "nobody may: set",
    "not from another page",
    "It flaps.",
    "No check is like that.",
    "The event loop stood still for",
    "not the peer's time",
    "Finding out took more queries than one run may send",
    "SPF comes to none",
    "nothing listens there",
    "While a check above it fails",
    "a check's alert is held",
    "as the machine's neighbours let it",
    "without a right, on a root that is only read",
    "what the locations' voices are counted by",
    "of which nobody is told",
    "is told of only when those had a whole interval",
    "so many must wait so long",
    "Held back: it depends on",
    "What it measures of itself",
)
"""Parts of sentences that no text holds."""

REMAINING: dict[str, set[str]] = {}
"""Places by test that are still to be changed: this may only shrink."""


class Name(NamedTuple):
    """A name that the code gives: `place` is where, `of` the class that it is a member of."""

    name: str
    place: str
    of: str = ""
    is_class: bool = False


def sources() -> Iterator[Path]:
    for folder in SOURCES:
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def parsed() -> list[tuple[str, ast.Module]]:
    """Each module's path and syntax tree."""
    return [
        (str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sources()
    ]


def names(place: str, tree: ast.Module) -> Iterator[Name]:
    """Modules, classes, functions, attributes and parameters; no variables of functions."""
    path = Path(place)
    yield Name(path.parent.name if path.stem == "__init__" else path.stem, place)
    yield from _names(tree.body, place, "")


def _names(body: list[ast.stmt], place: str, of: str) -> Iterator[Name]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            inside = f"{place}::{node.name}"
            yield Name(node.name, place, is_class=True)
            yield from _names(node.body, inside, node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Name(node.name, place, of)
            yield from _of_function(node, f"{place}::{node.name}", of)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield Name(target.id, place, of)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from _names(node.body, place, of)


def _of_function(
    function: ast.FunctionDef | ast.AsyncFunctionDef, place: str, of: str
) -> Iterator[Name]:
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield Name(node.arg, place)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield Name(node.attr, place, of)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node is not function:
            yield Name(node.name, place)
        elif isinstance(node, ast.ClassDef):
            yield Name(node.name, place, is_class=True)


def replaced(name: Name) -> bool:
    """Whether another name was chosen for what this one names."""
    plain = name.name.lower().strip("_")
    return (
        any(re.fullmatch(pattern, plain) for pattern in REPLACED)
        or (name.is_class and name.name in REPLACED_CLASSES)
        or name.name in REPLACED_MEMBERS.get(name.of, ())
    )


def texts(tree: ast.Module) -> Iterator[str]:
    """All strings; `…` stands where a value goes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Strings that are statements: of modules, classes and functions, and below attributes."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


def plain(text: str) -> str:
    return " ".join(text.split())


def documents() -> Iterator[Path]:
    yield from sorted(ROOT.glob("*.md"))
    for folder in (*SOURCES, "docs", "systemd"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in DOCUMENTS and path.is_file():
                yield path


def check(test: str, found: set[str]) -> None:
    """The places found are those that remain, no more and no fewer."""
    remaining = REMAINING.get(test, set())
    assert sorted(found - remaining) == [], "write other words"
    assert sorted(remaining - found) == [], "these are clean: take them out of REMAINING"


def test_no_replaced_name_is_in_the_code() -> None:
    found = {
        f"{name.place}: {name.name}"
        for place, tree in parsed()
        for name in names(place, tree)
        if replaced(name)
    }
    check("names", found)


def test_one_class_has_the_name() -> None:
    classes: dict[str, set[str]] = {}
    for place, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in ONE_OF_EACH:
                classes.setdefault(node.name, set()).add(f"{place}: {node.name}")
    check("classes", {each for places in classes.values() if len(places) > 1 for each in places})


def test_no_replaced_sentence_is_in_a_text() -> None:
    found = set()
    for place, tree in parsed():
        for text in texts(tree):
            found |= {f"{place}: {each}" for each in SENTENCES if each in plain(text)}
    for path in documents():
        text = plain(path.read_text(encoding="utf-8", errors="replace"))
        place = str(path.relative_to(ROOT))
        found |= {f"{place}: {each}" for each in SENTENCES if each in text}
    check("sentences", found)


def test_docstrings_begin_with_what_the_thing_does() -> None:
    found = {
        f"{place}: {' '.join(text.split()[:6])}"
        for place, tree in parsed()
        for text in docstrings(tree)
        if re.match(r"What\s|\.\.\.|…", text.lstrip()) or re.search(r"(\.\.\.|…)$", text.rstrip())
    }
    check("docstrings", found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class A:\n    def take(self): ...", {"take"}),
        ("def f(kept): ...", {"kept"}),
        ("def f(self):\n    self._own = 1", {"_own"}),
        ("class Kind: ...", {"Kind"}),
        ("class Run:\n    async def ask(self): ...\nclass Other:\n    def ask(self): ...", {"ask"}),
        ("class CheckState:\n    poor: int = 0\nclass Other:\n    poor = 0", {"poor"}),
        ("failed_above: int", {"failed_above"}),
        ("keep_alive = 1\ndef takes(): ...\ndef owner(kind): ...", set()),
    ],
)
def test_replaced_names_are_found(source: str, expected: set[str]) -> None:
    found = {name.name for name in names("probed/a.py", ast.parse(source)) if replaced(name)}
    assert found == expected
