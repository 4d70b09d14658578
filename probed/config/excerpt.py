"""The source line of a problem with a caret below, free of secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from probed.text.redact import MASK, Redactor, sanitize

_BREAK = r"\r\n|[\n\r\x85\u2028\u2029]"
_WORDS = "key|token|secret|passw|pwd|passphrase|credential|authori[sz]ation|cookie|dsn"
_SECRET = re.compile(_WORDS, re.IGNORECASE)
_KEY = re.compile(rf"{_WORDS}|access|headers")
"""Names of keys whose values, or those below them, are assumed to be secret; in letters alone."""
_KEY_END = re.compile(r"[\w-]*[\"']?\s*[:=]?\s*")
_TOKEN = re.compile(r"[\w+/=-]{8,}")
"""Where it has letters and digits, it is made as keys and tokens are."""
_NO_VALUE = re.compile(r"(?:[|>][-+\d]*|[&!*]\S*|#.*|[\s\[{(\"'-])*")
"""The rest of a line after a key whose value stands in the next lines."""
_INDENT = re.compile(r"(?:\s|-\s)*")
_LOOK_BACK, _LONG = 100, 4096
"""Lines above that may hold the key of a value, and characters of a line that are looked at."""
_QUERY = r"(?<=[?&])([^\s=&?\"']+=)[^\s&\"'#]+"
_BEFORE_HOST = r"(?<=:)[^\s:@/\"']+(?=@)"
"""The password of a URL, also where the URL around it is broken."""
_WIDTH = 100
_BEFORE = 60


@lru_cache(maxsize=4096)
def names_secret(name: str) -> bool:
    """Return whether a key, header or variable of that name is assumed to hold a secret."""
    return _SECRET.search(name) is not None


class Excerpts:
    """Lines of one file. What was hidden is masked where it stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: list[str] | None = None
        self._hidden: set[tuple[tuple[int, int], tuple[int, int]]] = set()

    def hide(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Mask what stands between two marks, the second not included."""
        self._hidden.add((start, end))

    def at(self, mark: tuple[int, int]) -> str:
        """The character at a mark; nothing at the end of a line."""
        return self._line(mark[0])[mark[1] : mark[1] + 1]

    def show(self, mark: tuple[int, int], redactor: Redactor, *, valid: bool = True) -> str:
        """The line and the caret; nothing where the line is empty.

        In a file that is not valid YAML all that follows a secret-looking key is masked, also in the
        lines below it.
        """
        row, column = mark
        line = self._line(row).replace("\t", " ")
        if not line.strip():
            return ""
        if not valid and (len(line) > _LONG or self._continues_secret(row, line)):
            return f"    {MASK}\n    ^"
        before, after = self._masked(row, line, column)
        if not valid:
            before, after = _split(before, after, _cut)
        before, after = _split(before, after, lambda text: _clean(text, redactor))
        before, after = sanitize(before, 4096), sanitize(after, 4096)
        if len(before) > _BEFORE:
            before = "…" + before[-_BEFORE:]
        shown = before + after
        shown = shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"
        return f"    {shown.rstrip()}\n    {' ' * len(before)}^"

    def _line(self, row: int) -> str:
        if self._lines is None:
            self._lines = re.split(_BREAK, self._text)
        return self._lines[row] if 0 <= row < len(self._lines) else ""

    def _continues_secret(self, row: int, line: str) -> bool:
        """Return whether the line may be a part of the value of a secret-looking key above it."""
        indent, nearest = _indent(line), True
        for number in range(row - 1, max(-1, row - 1 - _LOOK_BACK), -1):
            above = self._line(number)[:_LONG].replace("\t", " ")
            if not above.strip():
                continue
            key = _key_end(above)
            rest = "" if key is None else above[key:]
            if any(rest.count(quote) % 2 for quote in "\"'"):
                return True  # a quoted text that goes on
            if key is not None:
                ends = _NO_VALUE.fullmatch(rest) is not None or _key_end(rest) is not None
                if (ends and nearest) or _indent(above) < indent:
                    return True
            indent, nearest = min(indent, _indent(above)), False
        return False

    def _masked(self, row: int, line: str, column: int) -> tuple[str, str]:
        """The line before and from the column, with what is hidden replaced."""
        before, after, done = "", "", 0
        for left, right in self._spans(row, len(line)):
            before += line[done : min(left, column)]
            after += line[max(done, column) : left]
            if left < column:
                before += MASK
            else:
                after += MASK
            done = right
        return before + line[done:column], after + line[max(done, column) :]

    def _spans(self, row: int, length: int) -> list[tuple[int, int]]:
        """Return the hidden ranges of columns of a line, in order and without overlap."""
        spans: list[tuple[int, int]] = []
        for start, end in sorted(s for s in self._hidden if s[0][0] <= row <= s[1][0]):
            left = start[1] if start[0] == row else 0
            right = end[1] if end[0] == row else length
            if right <= left:
                continue
            if spans and left <= spans[-1][1]:
                left, right = spans[-1][0], max(spans.pop()[1], right)
            spans.append((left, right))
        return spans


def _split(before: str, after: str, mask: Callable[[str], str]) -> tuple[str, str]:
    """Mask the whole line, so that the caret cannot part a secret from what makes it one. Within what was
    masked, the caret stands behind it.
    """
    line = before + after
    masked = mask(line)
    if masked == line:
        return before, after
    same = _common(line, masked)
    if len(before) <= same:
        return masked[: len(before)], masked[len(before) :]
    tail = _common(line[same:][::-1], masked[same:][::-1])
    at = len(masked) - min(len(after), tail)
    return masked[:at], masked[at:]


def _common(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _clean(line: str, redactor: Redactor) -> str:
    # `password: {env: NAME}` says where the secret is, and its bracket is not to be taken for one.
    shielded = line.replace("{", "}\0")
    clean = re.sub(_BEFORE_HOST, MASK, re.sub(_QUERY, rf"\1{MASK}", redactor.redact(shielded)))
    return clean.replace("}\0", "{")


def _cut(line: str) -> str:
    """Mask what follows a secret-looking key, and what looks like a token wherever it stands."""
    key = _key_end(line)
    cut = line if key is None or key >= len(line) else line[:key] + MASK
    return _TOKEN.sub(_mask_token, cut)


def _mask_token(match: re.Match[str]) -> str:
    text = match.group()
    mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return MASK if mixed else text


def _key_end(line: str) -> int | None:
    """Return where the value of the first secret-looking key begins, None without such a key.

    Only letters count: the key itself may be broken (`pass"word`, `to: ken`).
    """
    letters = [at for at, character in enumerate(line) if character.isalpha()]
    match = _KEY.search("".join(line[at] for at in letters).lower())
    if match is None:
        return None
    end = _KEY_END.match(line, letters[match.end() - 1] + 1)
    return None if end is None else end.end()


def _indent(line: str) -> int:
    """Return where the text of the line begins; an item of a list is deeper than its dash."""
    match = _INDENT.match(line)
    return 0 if match is None else match.end()
