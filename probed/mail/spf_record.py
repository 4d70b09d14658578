"""SPF records as they are written (RFC 7208 sections 4.6, 5, 6 and 7.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

from probed.text.redact import sanitize

TERMS = 512
"""Terms of one record that are read."""
_PLAIN = r"[!-$&-~]"
_EXPAND = r"%(?:\{[slodiphv][0-9]*r?[.\-+,/_=]*\}|[%_-])"
_EXPAND_TEXT = r"%(?:\{[slodiphvcrt][0-9]*r?[.\-+,/_=]*\}|[%_-])"
_MACROS = re.compile(rf"(?i)(?:{_PLAIN}|{_EXPAND})*\Z")
_MACROS_TEXT = re.compile(rf"(?i)(?: |{_PLAIN}|{_EXPAND_TEXT})*\Z")
_ENDS_IN_MACRO = re.compile(rf"(?i){_EXPAND}\Z")
_ZERO = re.compile(r"%\{[A-Za-z]0+(?![0-9])")
_TERM = re.compile(r"([+\-?~]?)([A-Za-z][A-Za-z0-9._-]*)(.*)\Z", re.DOTALL)
_CIDR = re.compile(r"(.*?)(?:/([0-9]{1,9}))?(?://([0-9]{1,9}))?\Z", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")


class SpfResult(StrEnum):
    """RFC 7208 section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SpfCause(StrEnum):
    """Why an evaluation could not come to its end."""

    SYNTAX = "syntax"
    MULTIPLE = "multiple"
    INCLUDE_NONE = "include_none"
    REDIRECT_NONE = "redirect_none"
    TERMS = "terms"
    VOIDS = "voids"
    MX = "mx"
    QUERIES = "queries"
    DNS = "dns"


QUALIFIERS = {
    "+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL,
}  # fmt: skip
_MODIFIERS = ("redirect", "exp")


class SpfSyntaxError(ValueError):
    """The record is none by the grammar; the text names the term."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism with its qualifier. `domain` is a domain-spec, macros and all; empty means the
    current domain. `v4` and `v6` are prefix lengths.
    """

    text: str
    result: SpfResult
    name: str
    domain: str = ""
    v4: int = 32
    v6: int = 128
    network: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """A record by its terms, in their order. `redirect` and `exp` are domain-specs."""

    text: str
    directives: tuple[Directive, ...]
    redirect: str | None = None
    exp: str | None = None
    modifiers: tuple[tuple[str, str], ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """For comparing: each term in lower case, a `+` left out."""
        written = [directive.text.lower().removeprefix("+") for directive in self.directives]
        return (*written, *(f"{name}={value}".lower() for name, value in self.modifiers))


def is_spf(text: bytes) -> bool:
    """Whether a TXT record is an SPF record at all (section 4.5)."""
    return text[:6].lower() == b"v=spf1" and text[6:7] in {b"", b" "}


def parse_spf(text: str) -> SpfRecord:
    """The record's terms. Raises SpfSyntaxError (section 4.6)."""
    if not text.isascii():
        raise SpfSyntaxError("the record holds characters that are not ASCII")
    terms = text[6:].split(" ")
    if len(terms) > TERMS:
        raise SpfSyntaxError(f"the record has more than {TERMS} terms")
    directives: list[Directive] = []
    modifiers: dict[str, str] = {}
    unknown: list[tuple[str, str]] = []
    for term in filter(None, terms):
        match = _TERM.match(term)
        if match is None:
            raise _wrong(term)
        sign, name, rest = match.groups()
        name = name.lower()
        if not rest.startswith("="):
            directives.append(_directive(term, sign, name, rest))
            continue
        if sign or name in modifiers:
            raise _wrong(term)
        if name in _MODIFIERS:
            modifiers[name] = _domain_spec(rest[1:], term)
        elif not _MACROS_TEXT.match(rest[1:]) or _ZERO.search(rest):
            raise _wrong(term)
        else:
            unknown.append((name, rest[1:]))
    return SpfRecord(
        text,
        tuple(directives),
        modifiers.get("redirect"),
        modifiers.get("exp"),
        (*modifiers.items(), *unknown),
    )


def _wrong(term: str) -> SpfSyntaxError:
    return SpfSyntaxError(f"the term '{sanitize(term, 80)}' is not understood")


def _directive(term: str, sign: str, name: str, rest: str) -> Directive:
    result = QUALIFIERS[sign or "+"]
    if name == "all":
        if rest:
            raise _wrong(term)
        return Directive(term, result, name)
    if name in {"include", "exists"}:
        if not rest.startswith(":"):
            raise _wrong(term)
        return Directive(term, result, name, _domain_spec(rest[1:], term))
    if name == "ptr":
        if rest and not rest.startswith(":"):
            raise _wrong(term)
        return Directive(term, result, name, _domain_spec(rest[1:], term) if rest else "")
    if name in {"ip4", "ip6"}:
        return Directive(term, result, name, network=_network(name, rest, term))
    if name in {"a", "mx"}:
        match = _CIDR.match(rest)
        assert match is not None  # it matches anything
        spec, v4, v6 = match.groups()
        if spec and not spec.startswith(":"):
            raise _wrong(term)
        domain = _domain_spec(spec[1:], term) if spec else ""
        return Directive(term, result, name, domain, _prefix(v4, 32, term), _prefix(v6, 128, term))
    raise _wrong(term)


def _prefix(digits: str | None, most: int, term: str) -> int:
    if digits is None:
        return most
    if (digits[0] == "0" and digits != "0") or int(digits) > most:
        raise _wrong(term)
    return int(digits)


def _network(name: str, rest: str, term: str) -> IPv4Network | IPv6Network:
    address, slash, digits = rest[1:].partition("/")
    most = 32 if name == "ip4" else 128
    if not rest.startswith(":") or "%" in rest or (slash and not re.match(r"[0-9]{1,3}\Z", digits)):
        raise _wrong(term)
    prefix = _prefix(digits if slash else None, most, term)
    try:
        network = ip_network(f"{address}/{prefix}", strict=False)
    except ValueError:
        raise _wrong(term) from None
    if network.max_prefixlen != most:
        raise _wrong(term)
    return network


def _domain_spec(text: str, term: str) -> str:
    """A domain-spec that ends as one must: in a macro, or in a top label after a dot."""
    if not text or not _MACROS.match(text) or _ZERO.search(text):
        raise _wrong(term)
    if _ENDS_IN_MACRO.search(text[-40:]):
        return text
    _, dot, label = text.removesuffix(".").rpartition(".")
    if not dot or not _LABEL.match(label) or label.isdigit():
        raise _wrong(term)
    return text


def is_explanation(text: str) -> bool:
    """Whether it is an explain-string (section 6.2)."""
    return bool(_MACROS_TEXT.match(text)) and not _ZERO.search(text)
