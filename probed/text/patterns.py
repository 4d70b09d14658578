r"""Regular expressions over what a peer sends, in time that grows with the text and no faster.

Python's `re` tries one way after the other: with `(a+)+$` a line of 30 characters holds the event loop for
a minute. RE2 follows all ways at once (https://github.com/google/re2/wiki/Syntax); what needs a second
look at the text (look-around, back-references) is refused, with what to write instead. `\d`, `\w`, `\s`
and `\b` are about ASCII.

The dearest text for a pattern costs some 10 ns for each byte and each step of its program. So the longer
the program, the less of a text is searched, and no search takes longer than some 20 ms
(`benchmarks/patterns.py` measures it).
"""

from __future__ import annotations

import re
from typing import Any

PATTERN_LIMIT = 1000
"""Characters of a pattern."""
TEXT_LIMIT = 1 << 16
"""Bytes of a text that are searched at most; where the pattern is plain text, all are."""
WORK = 3 << 19
"""Bytes of the text times steps of the program, at most."""
PROGRAM_LIMIT = 1000
"""Steps of a pattern as RE2 compiles it: at least 1.5 KiB are searched."""
MEMORY = 1 << 17
"""Bytes that RE2 may keep for one pattern. With less it is slow for good texts, with more for bad ones."""

_SIGNS = frozenset("\\.^$*+?{}[]|()")
_OPEN_COUNT = re.compile(r"\{,\d+\}")
_ASIDE = re.compile(r"(?s)\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]")
"""Escapes and sets, in which a brace is a character."""
_REMEDIES = (
    (r"invalid perl operator: \(\?<?[=!]", "look-around is not supported"),
    (r"invalid escape sequence: \\[1-9]", "back-references are not supported"),
    (r"invalid perl operator: \(\?>|bad repetition operator: .*\+\Z", "possessive repeats are not supported"),
    (r"invalid perl operator: \(\?[a-zA-Z]*x", "verbose patterns are not supported"),
    (r"invalid perl operator", "of the groups that begin with (?, write (?:…), (?P<name>…), (?i), (?m) or (?s)"),
    (r"invalid escape sequence: \\Z", r"write \z for the end of the text"),
    (r"invalid escape sequence: \\[uU]", r"write \x{e9} for a character by its number"),
    (r"invalid escape sequence", "this escape is not supported"),
    (r"invalid repetition size", "a repeat counts to 1000 at most, the smaller number first"),
    (r"bad repetition operator", "a repeat of a repeat: put the first in ( )"),
    (r"no argument for repetition", "there is nothing to repeat"),
    (r"missing \)", "a ( without its )"),
    (r"unexpected \)", "a ) without its ("),
    (r"missing \]", "a [ without its ]"),
)  # fmt: skip


class Pattern:
    """A regular expression that is searched for. Raises ValueError, with what to write instead, for text
    that is none, or whose search could take too long. Of a text, the first `limit` bytes are searched.
    """

    __slots__ = ("_compiled", "_plain", "limit", "text")

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_LIMIT:
            raise ValueError(f"a pattern has at most {PATTERN_LIMIT} characters")
        self.text = text
        self._plain = text.encode() if _SIGNS.isdisjoint(text) else None
        self.limit = TEXT_LIMIT
        self._compiled = None
        if self._plain is None:
            self._compiled, steps = _compile(text)
            self.limit = min(TEXT_LIMIT, WORK // steps)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def covers(self, text: str | bytes) -> bool:
        """Return whether all of the text is searched."""
        return self._plain is not None or len(_encoded(text)) <= self.limit

    def search(self, text: str | bytes) -> bool:
        """Return whether the pattern matches somewhere in the text; bytes are UTF-8."""
        text = _encoded(text)
        if self._plain is not None:
            return self._plain in text
        assert self._compiled is not None
        if self._compiled.search(text, 0, self.limit) is not None:
            return True
        # As for `re`, `$` holds before a line end that ends the text.
        if "$" in self.text and text.endswith(b"\n") and len(text) <= self.limit:
            return self._compiled.search(text[:-1]) is not None
        return False


def _encoded(text: str | bytes) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text


def _compile(text: str) -> tuple[Any, int]:
    import re2  # noqa: PLC0415  # 10 ms; not every process has patterns

    if _OPEN_COUNT.search(_ASIDE.sub("", text)):
        raise ValueError("write {0,n} for {,n}")
    options = re2.Options()
    options.max_mem = MEMORY
    options.never_capture = True
    options.log_errors = False
    try:
        compiled = re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(_explained(error)) from None
    except UnicodeEncodeError:
        raise ValueError("the pattern contains a character that is none") from None
    size = max(compiled.programsize, compiled.reverseprogramsize)
    if size > PROGRAM_LIMIT:
        raise ValueError(
            _too_long(f"its counts and sets make {size} steps, and {PROGRAM_LIMIT} are allowed")
        )
    return compiled, size


def _too_long(why: str) -> str:
    return f"a search for it could take too long: {why}"


def _explained(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    for form, remedy in _REMEDIES:
        if re.match(form, text):
            where = text.partition(": ")[2]
            return f"{remedy}: {where}" if where else remedy
    return _too_long("its counts make too many steps") if "too large" in text else text
