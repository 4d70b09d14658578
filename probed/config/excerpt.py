"""The source line of a problem with a caret below, free of secrets."""

from __future__ import annotations

import re
from functools import lru_cache

from probed.text.redact import MASK, Redactor, sanitize

_BREAK = r"\r\n|[\n\r\x85\u2028\u2029]"
_WORDS = "key|token|secret|passw|pwd|passphrase|credential|authori[sz]ation|cookie|dsn"
_SECRET = re.compile(_WORDS, re.IGNORECASE)
_AFTER_KEY = rf"(?i)(?:{_WORDS})[\w-]*[\"']?\s*:\s"
_QUERY = r"(?<=[?&])([^\s=&?\"']+=)[^\s&\"'#]+"
_REFERENCE = r"\{(?=\s*(?:env|file|credential)\s*:)"
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

        In a file that is not valid YAML all that follows a secret-looking key is masked.
        """
        row, column = mark
        line = self._line(row).replace("\t", " ")
        if not line.strip():
            return ""
        before, after = self._masked(row, line, column)
        if not valid:
            before, after = _cut(before, after)
        before, after = _clean(before, redactor), _clean(after, redactor)
        if len(before) > _BEFORE:
            before = "…" + before[-_BEFORE:]
        shown = before + after
        shown = shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"
        return f"    {shown.rstrip()}\n    {' ' * len(before)}^"

    def _line(self, row: int) -> str:
        if self._lines is None:
            self._lines = re.split(_BREAK, self._text)
        return self._lines[row] if 0 <= row < len(self._lines) else ""

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


def _clean(part: str, redactor: Redactor) -> str:
    # `password: {env: NAME}` says where the secret is, and is not to be taken for one.
    shielded = re.sub(_REFERENCE, "}\0", part)
    clean = re.sub(_QUERY, rf"\1{MASK}", redactor.redact(shielded))
    return sanitize(clean.replace("}\0", "{"), 4096)


def _cut(before: str, after: str) -> tuple[str, str]:
    match = re.search(_AFTER_KEY, before + after + " ")
    if match is None:
        return before, after
    if match.end() < len(before):
        return before[: match.end()] + MASK, ""
    return before, after[: match.end() - len(before)] + MASK
