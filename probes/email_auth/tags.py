"""Lists of `tag=value;`, as DKIM, DMARC and their kin write them (RFC 6376 section 3.2)."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
TAGS = 64
"""Tags of one record that are read."""


class TagError(ValueError):
    """The text is no list of tags; it says what is wrong."""


def split(text: str) -> list[tuple[str, str]]:
    """Names and values in their order; the values as written, without white space around them.

    Raises TagError for what has no name or no `=`, and for too many tags.
    """
    parts = [part.strip(" \t\r\n") for part in text.split(";", TAGS + 1)]
    if len(parts) > TAGS:
        raise TagError(f"it has more than {TAGS} tags")
    found: list[tuple[str, str]] = []
    for part in filter(None, parts):
        name, equals, value = part.partition("=")
        name = name.rstrip(" \t\r\n")
        if not equals or not _NAME.match(name):
            raise TagError("a part of it is not of the form tag=value")
        found.append((name, value.lstrip(" \t\r\n")))
    return found


def strict(text: str) -> dict[str, str]:
    """The same, where no tag may stand twice (RFC 6376 section 3.2)."""
    pairs = split(text)
    tags = dict(pairs)
    if len(tags) < len(pairs):
        raise TagError("a tag stands twice")
    return tags


def lenient(text: str) -> dict[str, str]:
    """Return the readable tags, names in lower case, the first of each (RFC 9989 section 4.7)."""
    tags: dict[str, str] = {}
    for part in text.split(";", TAGS)[:TAGS]:
        name, equals, value = part.partition("=")
        name = name.strip(" \t")
        if equals and name.isalpha() and name.isascii():
            tags.setdefault(name.lower(), value.strip(" \t"))
    return tags
