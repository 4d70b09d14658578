"""Macros of SPF (RFC 7208 section 7)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias
from urllib.parse import quote

MACRO = re.compile(r"%(?:\{([A-Za-z])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_SIGNS = {"%": "%", "_": " ", "-": "%20"}
NAME_LIMIT = 253
TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Scene:
    """The values of the macros."""

    ip: IPv4Address | IPv6Address
    local: str
    sender_domain: str
    helo: str
    receiver: str
    now: float


Validated: TypeAlias = Callable[[str], Awaitable[str]]
"""Finds the name of the address (`%{p}`)."""


async def expand(text: str, scene: Scene, domain: str, validated: Validated) -> str:
    """The text with its macros expanded, for the record of `domain`."""
    parts: list[str] = []
    end = 0
    for match in MACRO.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        letter, digits, backwards, delimiters, sign = match.groups()
        if sign:
            parts.append(_SIGNS[sign])
            continue
        value = await _value(letter.lower(), scene, domain, validated)
        if digits or backwards or delimiters:
            value = _transform(value, int(digits[:9] or 0), delimiters or ".", bool(backwards))
        parts.append(quote(value, safe="", errors="replace") if letter.isupper() else value)
        if sum(map(len, parts)) > TEXT_LIMIT:
            break
    parts.append(text[end:])
    return "".join(parts)[-TEXT_LIMIT:]


async def expand_name(text: str, scene: Scene, domain: str, validated: Validated) -> str:
    """The same for a name: of one that is too long, labels on the left are left out."""
    name = (await expand(text, scene, domain, validated)).removesuffix(".")
    while len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT:
        head, dot, rest = name.partition(".")
        if not dot:
            return head
        name = rest
    return name


async def _value(letter: str, scene: Scene, domain: str, validated: Validated) -> str:
    if letter == "p":
        return await validated(domain)
    ip = scene.ip
    values = {
        "s": f"{scene.local}@{scene.sender_domain}",
        "l": scene.local,
        "o": scene.sender_domain,
        "d": domain,
        "i": ".".join(ip.exploded.replace(":", "").upper()) if ip.version == 6 else str(ip),
        "v": "in-addr" if ip.version == 4 else "ip6",
        "h": scene.helo,
        "c": str(ip),
        "r": scene.receiver,
        "t": str(int(scene.now)),
    }
    return values[letter]


def _transform(value: str, count: int, delimiters: str, backwards: bool) -> str:
    parts = re.split("[" + re.escape(delimiters) + "]", value)
    if backwards:
        parts.reverse()
    return ".".join(parts[-count:] if count else parts)
