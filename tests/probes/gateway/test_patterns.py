"""Patterns mean what they mean to `re`, and no text of a peer makes them slow."""

from __future__ import annotations

import re
import time
import warnings

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from probes.gateway.patterns import STATE_LIMIT, TEXT_LIMIT, Effort, SafePattern, TooHard


def search(pattern: str, text: str) -> bool:
    return SafePattern(pattern).search(text, Effort())


def read(text: str) -> SafePattern | str:
    """The pattern, or why it is none."""
    try:
        return SafePattern(text)
    except ValueError as why:
        return str(why)


# --- what it means: `re` is the oracle

_ATOMS = st.sampled_from(
    [
        *"abcAB_ 1é.",
        r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\.", r"\n", r"\x41", r"\u00e9", "[ab]", "[^a]", "[]a]",
        "[a-c1]", r"[\d_]", "[^\n]", r"\b", r"\B", r"\A", r"\Z", "^", "$",
    ]
)  # fmt: skip
_REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{0}", "{1,}", "{,2}", "{1,3}", "*?", "+?", "??"])
_EDGES = {r"\b", r"\B", r"\A", r"\Z", "^", "$"}


def _repeat(part: str, times: str) -> str:
    return part if part in _EDGES else f"{part}{times}"


_PATTERNS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "", "(?i)", "(?m)", "(?s)", "(?ims)"]),
    st.recursive(
        st.one_of(_ATOMS, st.builds(_repeat, _ATOMS, _REPEATS)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda ways: f"(?:{'|'.join(ways)})"),
            inner.map("({})".format),
            st.builds("(?:{}){}".format, inner, _REPEATS),
            inner.map("(?P<x>{})".format),
            inner.map("(?i:{})".format),
        ),
        max_leaves=8,
    ),
)
_TEXTS = st.text(st.sampled_from("abcAB_ 1é\n."), max_size=8)


@settings(max_examples=1500, deadline=None, database=None)
@given(pattern=_PATTERNS, text=_TEXTS)
@example(pattern="a$", text="a\n")
@example(pattern="a$", text="a\n\n")
@example(pattern="(?m)^b$", text="a\nb\nc")
@example(pattern=r"a\Z", text="a\n")
@example(pattern="(?s)a.b", text="a\nb")
@example(pattern=r"(|a)*\b", text=" a")
@example(pattern="(?i)É", text="é")
def test_it_matches_where_re_does(pattern: str, text: str) -> None:
    # Until Python 3.14, `re` says that \B does not hold in an empty text.
    assume(text or r"\B" not in pattern)
    try:
        wanted = re.search(pattern, text) is not None
    except re.error:  # a name that stands twice
        assume(False)
    assert search(pattern, text) is wanted


@settings(max_examples=1500, deadline=None, database=None)
@given(pattern=st.text(st.sampled_from("ab01(?:|)[]^$.*+{},\\-dbwZPxi<>=!&~\n é"), max_size=12),
       text=_TEXTS)  # fmt: skip
@example(pattern=r"\\)", text="")
@example(pattern=r"\\?", text="")
@example(pattern=r"[\\[]", text="[")
def test_any_text_is_a_pattern_as_in_re_or_one_clear_error(pattern: str, text: str) -> None:
    safe = read(pattern)
    if isinstance(safe, str):
        assert re.search(r"at character \d+\Z", safe)
        return
    assume(text or r"\B" not in pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = re.search(pattern, text) is not None
    assert safe.search(text, Effort()) is wanted


@settings(max_examples=300, deadline=None, database=None)
@given(pattern=st.text(max_size=60), text=st.text(max_size=60))
def test_any_text_at_all_ends_and_never_raises_but_what_it_says(pattern: str, text: str) -> None:
    safe = read(pattern)
    assert safe if isinstance(safe, str) else safe.search(text, Effort()) in {True, False}


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("(", "a ( without its ), at character 1"),
        ("a)", "a ) without its (, at character 2"),
        ("[a", "a [ without its ], at character 1"),
        ("*a", "there is nothing to repeat, at character 1"),
        ("^*", "there is nothing to repeat, at character 3"),
        ("a**", "a repeat of a repeat: put the first in ( ), at character 4"),
        ("a*+", "possessive repeats are not supported, at character 3"),
        ("a{3,2}", "the greater number stands first, at character 2"),
        ("(?=a)", "look-around, back-references and the like are not supported"),
        ("(?<!a)b", "look-around, back-references and the like are not supported"),
        (r"(a)\1", "this escape is not supported, at character 4"),
        (r"\p{L}", "this escape is not supported, at character 1"),
        ("[b-a]", "bad character range b-a, at character 1"),
        ("[[a]", r"write \[ \- \& \| \~ for these signs in a set, at character 1"),
        ("a\\", "this escape is not supported, at character 2"),
        ("x" * 1001, "a pattern has at most 1000 characters"),
        ("(" * 31 + ")" * 31, "too many ( in one another, at character 31"),
        ("(a{100}){100}", "the pattern is too large: its counts make too many copies"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_with_the_place(pattern: str, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        SafePattern(pattern)
    assert str(caught.value).startswith(error)


# --- how long it takes

HARD = [
    r"\d+x", "(a+)+b", "(a|a)*b", "(a|aa)+$", "(.*)(.*)(.*)(.*)z", r"(\w+\s?)*z$", "(x+x+)+y",
    "(?:a?){300}a{300}b", "[01]*1[01]{400}x", r"\bfoo\b.*bar", "((((a*)*)*)*)*b", ".*.*=.*",
]  # fmt: skip
TEXTS = {
    "digits": "1" * 200_000,
    "a": "a" * 200_000,
    "a-": "a " * 100_000,
    "x": "x" * 200_000,
    "foo": "foo " * 50_000,
    # No two windows of it are alike: the states that it leads to are always new.
    "counted": "".join(format(number, "b") for number in range(12_000)),
    "many signs": "".join(map(chr, range(0x4E00, 0x9E00))) * 6,
}


@pytest.mark.parametrize("pattern", HARD)
def test_no_text_holds_it_up(pattern: str) -> None:
    """A hundred times what it should take on a slow machine; `re` would take years for most."""
    safe = SafePattern(pattern)
    for text in TEXTS.values():
        began = time.process_time()
        try:
            assert safe.search(text, Effort()) in {True, False}
        except TooHard:
            pass
        assert time.process_time() - began < 5


def test_the_searches_in_one_answer_share_what_may_be_spent() -> None:
    hard, effort = SafePattern("[01]*1[01]{400}x"), Effort()
    with pytest.raises(TooHard):
        hard.search(TEXTS["counted"], effort)
    with pytest.raises(TooHard):
        SafePattern("a+b").search("aab", effort)
    assert SafePattern("a+b").search("aab", Effort())


def test_a_search_that_was_given_up_is_not_remembered_wrongly() -> None:
    pattern = SafePattern("[ab]*b[ab]{6}c")
    text = "".join(format(number, "b") for number in range(200)).translate({48: "a", 49: "b"})
    for work in range(0, 4000, 50):
        try:
            assert pattern.search(text, Effort(work)) is False
            assert pattern.search(text + "bababaac", Effort(work)) is True
        except TooHard:
            continue
    assert pattern.search(text, Effort()) is False


def test_what_a_pattern_keeps_is_bounded() -> None:
    hard = SafePattern("[01]*1[01]{400}x")
    for start in range(30):
        try:
            hard.search(TEXTS["counted"][start * 1000 :], Effort())
        except TooHard:
            pass
        kept = len(hard._states) + sum(
            len(state.places) + len(state) for state in hard._states.values()
        )
        assert kept < 2 * STATE_LIMIT


def test_only_so_much_is_searched_unless_the_pattern_is_plain_text() -> None:
    late = "x" * TEXT_LIMIT + "end"
    for pattern, matched, covered in (
        ("end", True, True),
        (r"\.end", False, True),
        ("e+nd", False, False),
    ):
        assert SafePattern(pattern).search(late, Effort()) is matched
        assert SafePattern(pattern).covers(late) is covered
    assert search("x$", "x" * TEXT_LIMIT)
    assert search("x$", "x" * (TEXT_LIMIT - 1) + "x\n") is False
    assert search(r"x\b", "x" * TEXT_LIMIT + "x") is False


def test_a_pattern_is_its_text() -> None:
    assert SafePattern("a+") == SafePattern("a+") != SafePattern("a*")
    assert len({SafePattern("a+"), SafePattern("a+")}) == 1
    assert str(SafePattern("a+")) == "a+"
