"""Secrets, URL redaction, and the one sanitizer for foreign text.

Text of a peer passes `clean` on its way into a finding, a fact or a log line. It is then one line
of bounded length that holds no control character, no bidirectional override and no known secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from pydantic import SecretStr

from probed.text.forms import core_of, forms_of

__all__ = ["MASK", "Redactor", "SecretStr", "redact_url", "sanitize"]

MASK = "[redacted]"
TEXT_LIMIT = 512
"""Longest foreign text, in characters."""

# Controls (C0, DEL, C1), surrogates, line separators, zero-width and bidirectional characters.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffc\U000e0000-\U000e0fff]"
)
SHORT, SHORTS = 64, 2048
"""Texts of at most SHORT characters, such as attribute values, are cleaned once and cached, at most
SHORTS of them.
"""

# Always a secret: Stripe keys, bearer and basic credentials, JSON web tokens,
# private keys, user information in a URL, and values of parameters with the name of a secret.
_PATTERNS = (
    re.compile(r"\b(?:sk|rk|pk|whsec)_[A-Za-z0-9_*]{6,}"),
    re.compile(r"(?i)(?<=\bbearer )\S+|(?<=\bbasic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"),
    re.compile(r"(?<=://)[^\s/?#@]+(?=@)"),
    re.compile(
        r"(?i)(?<![a-z])((?:api[_-]?key|access[_-]?token|token|secret|password|passwd|pwd|auth)"
        r"[\"']?\s*[=:]\s*[\"']?)([^\s\"'&;,}]+)"
    ),
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def sanitize(text: str | bytes, limit: int = TEXT_LIMIT) -> str:
    """Return foreign text as one safe line of at most `limit` characters."""
    if type(text) is str and len(text) <= limit and text.isascii() and text.isprintable():
        return text
    cut = text[: limit * 4]
    if isinstance(cut, bytes):
        cut = cut.decode("utf-8", errors="replace")
    line = re.sub(_UNSAFE, _escape, cut[: limit + 1])
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"


def redact_url(url: str, limit: int = TEXT_LIMIT) -> str:
    """Return the URL without user information, query values and fragment.

    >>> redact_url("https://me:pw@example.com/a?key=1&flag#x")
    'https://example.com/a?key=REDACTED&flag'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        name + "=REDACTED" if equals else name
        for name, equals, _ in (item.partition("=") for item in parts.query.split("&"))
    )
    shown = f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path
    return sanitize(shown + ("?" + query if query else ""), limit)


class Redactor:
    """Replaces the secrets of the configuration by a mask, in each form that software makes of them, and
    any text that has the form of a secret. The cost is that of a search for each form (`benchmarks`).
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._former: set[str] = set()
        self._needles: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
        self._cleaned: dict[str, str] = {}
        self.learn(secrets)

    def __repr__(self) -> str:
        return "Redactor()"

    def learn(self, secrets: Iterable[str]) -> None:
        """Add secrets."""
        self._secrets.update(secrets)
        self._cleaned.clear()
        needles: dict[bytes, set[bytes]] = {}
        for secret in self._secrets:
            core = core_of(secret)
            for form in forms_of(secret):
                needles.setdefault(core if core in form else form, set()).add(form)
        self._needles = tuple((needle, tuple(sorted(forms))) for needle, forms in needles.items())

    def succeed(self, new: Redactor) -> None:
        """Adopt the secrets of a new redactor, and keep the previous ones: runs with them may still go on."""
        former, self._former = self._secrets - self._former, set()
        self._secrets = former | new._secrets
        self._former = former - new._secrets
        self.learn(())

    def redact(self, text: str) -> str:
        """Return the text with a mask in the place of each secret."""
        if self._needles:
            text = self._without_known(text)
        for pattern in _PATTERNS:
            text = pattern.sub(_mask, text)
        return text

    def _without_known(self, text: str) -> str:
        # In bytes: lower case has the same length there, and search is fast.
        raw = text.encode("utf-8", "surrogatepass")
        lower = raw.lower()
        spans = [
            span
            for needle, forms in self._needles
            if needle in lower
            for form in forms
            for span in _places(form, lower)
        ]
        if not spans:
            return text
        parts: list[bytes] = []
        end = 0
        for start, stop in sorted(spans):
            if start >= end:
                parts += (raw[end:start], MASK.encode())
            end = max(end, stop)
        return b"".join((*parts, raw[end:])).decode("utf-8", "surrogatepass")

    def clean(self, text: str | bytes, limit: int = TEXT_LIMIT) -> str:
        """Return foreign text, redacted, as one safe line of at most `limit` characters."""
        if len(text) <= SHORT and isinstance(text, str):
            known = self._cleaned.get(text)
            if known is None:
                if len(self._cleaned) >= SHORTS:
                    self._cleaned.clear()
                known = self._cleaned[text] = sanitize(self.redact(text))
            return known if len(known) <= limit else sanitize(known, limit)
        # Redact before cutting: half a secret would not be found.
        head = text[: limit * 4 + 4096]
        if isinstance(head, bytes):
            head = head.decode("utf-8", errors="replace")
        return sanitize(self.redact(head), limit)


def _mask(match: re.Match[str]) -> str:
    return match.group(1) + MASK if match.re.groups else MASK


def _places(form: bytes, text: bytes) -> Iterable[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)
