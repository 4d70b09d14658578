"""One reply of an SMTP server (RFC 5321 section 4.2), read strictly and within bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_LIMIT = 8192
REPLY_LIMIT = 32 * 1024
TEXT_LIMIT = 256
"""Characters of a reply that are shown."""

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\Z", re.DOTALL)
_BEGIN = re.compile(rb"[2-5](?:\d(?:\d(?:[ \-\r\n].*)?)?)?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|\Z)")
_BEFORE_ADDRESS = re.compile(r"[\s<>\"(),:;\[\]\\=]")
_LOCAL_PART = 128
_ENCODED = re.compile(r"[A-Za-z0-9+/=]{16,}")
_GUESSES = (
    (b"SSH-", "SSH"), (b"HTTP/", "HTTP"), (b"<!", "HTTP"), (b"<html", "HTTP"), (b"* OK", "IMAP"),
    (b"* BYE", "IMAP"), (b"* PREAUTH", "IMAP"), (b"+OK", "POP3"), (b"-ERR", "POP3"),
    (b"\x15\x03", "TLS"), (b"\x16\x03", "TLS"), (b"RFB ", "VNC"), (b"@RSYNCD", "rsync"),
)  # fmt: skip


class NotAReply(Exception):  # noqa: N818  # what it is not
    """The text is not an SMTP reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `code` is the last line's, `lines` what follows the codes, as bytes.

    `mixed` holds the codes where they differ; `odd` says that it is not all printable UTF-8.
    """

    code: int
    lines: tuple[bytes, ...]
    mixed: tuple[int, ...] = ()
    odd: bool = False

    @property
    def text(self) -> str:
        return " / ".join(line.decode("utf-8", "replace").strip() for line in self.lines)

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 2034) of the last line; None where it has none."""
        match = _ENHANCED.match(self.lines[-1].decode("utf-8", "replace").lstrip())
        return match[0] if match else None

    @property
    def subject(self) -> tuple[int, int] | None:
        """Subject and detail of the enhanced status: `(7, 1)` of 5.7.1."""
        enhanced = self.enhanced
        if enhanced is None:
            return None
        _, subject, detail = enhanced.split(".")
        return int(subject), int(detail)


def may_begin(begin: bytes) -> bool:
    """Whether a reply line can begin so."""
    return not begin or _BEGIN.match(begin[:4]) is not None


def parse_line(line: bytes) -> tuple[int, bool, bytes]:
    """Code, whether more lines follow, and text of a line without its end. Raises NotAReply."""
    match = _LINE.match(line)
    if match is None:
        raise NotAReply
    return int(match[1]), match[2] == b"-", match[3] or b""


def reply_of(lines: list[tuple[int, bytes]]) -> Reply:
    """The reply of these codes and texts."""
    codes = tuple(dict.fromkeys(code for code, _ in lines))
    texts = tuple(text for _, text in lines)
    return Reply(lines[-1][0], texts, codes if len(codes) > 1 else (), _is_odd(texts))


def _is_odd(texts: tuple[bytes, ...]) -> bool:
    try:
        return not all(text.decode().replace("\t", " ").isprintable() for text in texts)
    except UnicodeDecodeError:
        return True


def guess(begin: bytes) -> str | None:
    """Protocols other than SMTP, by the beginning of their greeting."""
    return next((name for mark, name in _GUESSES if begin.startswith(mark)), None)


def without_people(text: str) -> str:
    """The text without the local parts of mail addresses: they are somebody's."""
    before, *rest = text.split("@")
    shown = []
    for part in rest:
        shown.append(_without_local_part(before) if part[:1].strip("<>") else before)
        before = part
    return "@".join([*shown, before])


def _without_local_part(text: str) -> str:
    # By hand: a pattern that must end at an @ takes the square of the time where there is none.
    start = len(text) - _LOCAL_PART if len(text) > _LOCAL_PART else 0
    for mark in _BEFORE_ADDRESS.finditer(text, start):
        start = mark.end()
    return text[:start] + "[redacted]" if start < len(text) else text


def without_secrets(text: str, spoken: list[str]) -> str:
    """The text without what we said to log in, whole or cut, in any case."""
    for part in spoken:
        text = re.sub(re.escape(part), "[redacted]", text, flags=re.IGNORECASE)
    return _ENCODED.sub("[redacted]", text) if spoken else text
