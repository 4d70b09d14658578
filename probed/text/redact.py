"""Secrets, URL redaction, and the one sanitizer for foreign text.

Text of a peer passes `clean` on its way into a finding, a fact or a log line. It is then one line
of bounded length that holds no control character, no bidirectional override and no known secret.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

__all__ = ["MASK", "Redactor", "SecretStr", "redact_url", "sanitize"]

MASK = "[redacted]"
TEXT_LIMIT = 512
"""Characters of foreign text that are kept."""

# Controls (C0, DEL, C1), surrogates, line separators, zero-width and bidirectional characters.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffc\U000e0000-\U000e0fff]"
)
SHORT, SHORTS = 64, 2048
"""Texts of so many characters, such as the values of attributes, are cleaned once; so many of them
are kept.
"""
_SHORTEST = 4
"""Shorter secrets are not searched for: they would blank out ordinary text."""

# What is a secret wherever it stands: Stripe keys, bearer and basic credentials, JSON web tokens,
# private keys, user information in a URL, and values of parameters that are named as secrets are.
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
    """Foreign text as one safe line of at most `limit` characters."""
    if type(text) is str and len(text) <= limit and text.isascii() and text.isprintable():
        return text
    cut = text[: limit * 4]
    if isinstance(cut, bytes):
        cut = cut.decode("utf-8", errors="replace")
    line = re.sub(_UNSAFE, _escape, cut[: limit + 1])
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"


def redact_url(url: str, limit: int = TEXT_LIMIT) -> str:
    """The URL as it may be shown: no user information, no query values, no fragment.

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
    """Blanks out the secrets that the configuration holds, also as they are written in URLs,
    JSON and base64, and whatever looks like a secret by its form.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._former: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self._cleaned: dict[str, str] = {}
        self.learn(secrets)

    def __repr__(self) -> str:
        return "Redactor()"

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these secrets too."""
        self._secrets.update(secrets)
        self._cleaned.clear()
        forms = {form for secret in self._secrets for form in _forms(secret)}
        ordered = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def succeed(self, new: Redactor) -> None:
        """Know the new one's secrets, and still our own latest: runs with them may go on."""
        former, self._former = self._secrets - self._former, set()
        self._secrets = former | new._secrets
        self._former = former - new._secrets
        self.learn(())

    def redact(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern in _PATTERNS:
            text = pattern.sub(_mask, text)
        return text

    def clean(self, text: str | bytes, limit: int = TEXT_LIMIT) -> str:
        """Foreign text, redacted, then made one safe line of at most `limit` characters."""
        if len(text) <= SHORT and isinstance(text, str):
            known = self._cleaned.get(text)
            if known is None:
                if len(self._cleaned) >= SHORTS:
                    self._cleaned.clear()
                known = self._cleaned[text] = sanitize(self.redact(text))
            return known if len(known) <= limit else sanitize(known, limit)
        # A secret must not be cut in half before it is looked for.
        head = text[: limit * 4 + 4096]
        if isinstance(head, bytes):
            head = head.decode("utf-8", errors="replace")
        return sanitize(self.redact(head), limit)


def _mask(match: re.Match[str]) -> str:
    return match.group(1) + MASK if match.re.groups else MASK


def _forms(secret: str) -> Iterable[str]:
    for part in {secret, secret.strip(), *secret.split("\n")}:
        if len(part) < _SHORTEST:
            continue
        yield part
        yield quote(part, safe="")
        yield json.dumps(part)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield repr(part)[1:-1]
        yield base64.b64encode(part.encode()).decode("ascii").rstrip("=")
