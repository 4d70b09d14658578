"""The forms that software makes of a secret when it repeats it: escaped, quoted, encoded."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 4
"""Shorter secrets are not searched for: they would blank out ordinary text."""
SHORTEST_INNER = 8
"""Shorter pieces of base64 stand in too much that is no secret."""
_CREDENTIALS = re.compile(r"\s*(basic|bearer|token|apikey)\s+(\S+)\s*\Z", re.IGNORECASE)
_RUN = re.compile(r"[A-Za-z0-9]+")
_GO = {"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"}
"""Escapes of Go's encoding/json, which is careful about HTML."""


def core_of(secret: str) -> bytes:
    """Return the longest run of letters and digits, in lower case: no escape changes it, so that most
    forms hold it. A NUL where there is no run worth searching for.
    """
    longest = max(_RUN.findall(secret), key=len, default="")
    return longest.lower().encode() if len(longest) >= SHORTEST else b"\0"


def forms_of(secret: str) -> set[bytes]:
    r"""Return the forms of a secret, in lower case: it may also be repeated in another one.

    Raw, per cent and as a form does it (RFC 3986, WHATWG URL), as JSON writes it (also with `\/` and
    Go's `\u0026`), as HTML, as Python's `repr`, and in base64, alone or as a part of something longer such
    as `user:secret`. Of a value for `Authorization`, also what it is made of.
    """
    found = set[bytes]()
    for part in set(_parts(secret)):
        if len(part) < SHORTEST:
            continue
        found.update(form.encode("utf-8", "surrogatepass").lower() for form in _spoken(part))
        found.update(_encoded(part))
    return found


def _parts(secret: str) -> Iterator[str]:
    for line in (secret, *secret.split("\n")):
        yield line
        yield line.strip()
        credentials = _CREDENTIALS.match(line)
        if credentials is None:
            continue
        yield credentials[2]
        if credentials[1].lower() == "basic":
            try:
                pair = base64.b64decode(credentials[2], validate=True).decode()
            except (binascii.Error, ValueError):
                continue
            yield pair
            yield pair.partition(":")[2]


def _spoken(part: str) -> Iterator[str]:
    written = json.dumps(part)[1:-1]
    shown = json.dumps(part, ensure_ascii=False)[1:-1]
    yield part
    for text in (part, written, shown):
        yield quote(text, safe="", errors="surrogatepass")
    yield quote(part, safe="/", errors="surrogatepass")
    yield quote(part, safe="!'()*~", errors="surrogatepass")
    yield quote_plus(part, errors="surrogatepass")
    yield written
    yield shown
    yield written.replace("/", "\\/")
    yield "".join(_GO.get(sign, sign) for sign in written)
    escaped = html.escape(part)
    yield escaped
    yield html.escape(part, quote=False)
    yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    yield escaped.replace("&#x27;", "&apos;")
    yield repr(part)[1:-1]


def _encoded(part: str) -> Iterator[bytes]:
    """Yield the secret in base64, at each of the three places at which it may begin in a longer text."""
    raw = part.encode("utf-8", "surrogatepass")
    for before in range(3):
        text = base64.b64encode(bytes(before) + raw).rstrip(b"=")
        spoiled = -(-before * 8 // 6)
        # The last sign holds bits of what follows.
        whole = (before + len(raw)) * 8 // 6
        inner = text[spoiled:whole]
        if len(inner) >= SHORTEST_INNER or not before:
            lower = inner.lower()
            yield lower
            yield lower.replace(b"+", b"-").replace(b"/", b"_")
