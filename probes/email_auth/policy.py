"""DMARC of RFC 9989: records, the tree walk, the policy that applies, alignment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from probed.mail import Lookup, TempFail
from probes.email_auth.tags import lenient

QUERIES = 8
"""Queries of one tree walk (section 4.10)."""
POLICIES = ("none", "quarantine", "reject")
"""By rising strength."""
_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_NEAR = re.compile(rb"\s*v\s*=\s*dmarc", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z")
_MAILTO = re.compile(r"mailto:[^@\s]+@([A-Za-z0-9.-]{1,253})(?:\?.*)?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class DmarcRecord:
    """A record by its tags, whose names are in lower case."""

    text: str
    tags: dict[str, str]

    def value(self, name: str, allowed: Iterable[str], default: str) -> str:
        """A tag's value in lower case, the default where it is none that is allowed."""
        value = self.tags.get(name, default).lower()
        return value if value in allowed else default

    @cached_property
    def psd(self) -> str:
        return self.value("psd", "ynu", "u")

    @cached_property
    def test_mode(self) -> bool:
        return self.value("t", "yn", "n") == "y"

    def strict(self, mechanism: str) -> bool:
        """Whether alignment is strict of `spf` or `dkim`."""
        return self.value(f"a{mechanism}", "rs", "r") == "s"

    @cached_property
    def rua(self) -> tuple[str, ...]:
        """Where aggregate reports go: the URIs that are ones, without their sizes."""
        parts = (part.strip().partition("!")[0] for part in self.tags.get("rua", "").split(","))
        return tuple(part for part in parts if _is_uri(part))

    @cached_property
    def valid(self) -> bool:
        """Whether its policies are ones (section 4.10.1)."""
        given = [self.tags.get("p", ""), *(self.tags[n] for n in ("sp", "np") if n in self.tags)]
        return all(value.lower() in POLICIES for value in given)

    def policy(self, *, same: bool, exists: bool) -> str | None:
        """Return the policy for a name, before test mode; None if DMARC does not apply. `same` says that
        it is the record's own name, else one below it, which `exists` or not.
        """
        if not self.valid:
            return "none" if self.rua else None
        names = ("p",) if same else ("sp", "p") if exists else ("np", "sp", "p")
        return next(self.tags[name].lower() for name in names if name in self.tags)


def lowered(policy: str) -> str:
    """One step weaker, as test mode asks for (appendix A.6)."""
    return POLICIES[max(0, POLICIES.index(policy) - 1)]


def _is_uri(text: str) -> bool:
    if text.lower().startswith("mailto:"):
        return _MAILTO.match(text) is not None
    return _URI.match(text) is not None


def mail_host(uri: str) -> str | None:
    """The domain that a `mailto:` sends to."""
    match = _MAILTO.match(uri)
    return match[1].lower().removesuffix(".") if match else None


def parse_dmarc(text: bytes) -> DmarcRecord | None:
    """The record; None for what is not of version DMARC1, to the letter."""
    if not _VERSION.match(text):
        return None
    plain = text.decode("ascii", "replace")
    return DmarcRecord(plain, lenient(plain))


def is_near_miss(text: bytes) -> bool:
    """Whether it was meant to be a record."""
    return _NEAR.match(text) is not None and not _VERSION.match(text)


@dataclass(frozen=True)
class Walk:
    """The records that a tree walk found: valid ones from the longest name to the shortest, names whose several
    records were all discarded, near misses, and the error that ended it.
    """

    start: str
    records: tuple[tuple[str, DmarcRecord], ...] = ()
    discarded: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    error: TempFail | None = None

    @property
    def exact(self) -> DmarcRecord | None:
        """The record of the name where it started."""
        return next((record for name, record in self.records if name == self.start), None)

    @property
    def organization(self) -> str:
        """The Organizational Domain (section 4.10.2)."""
        for name, record in self.records:
            if record.psd == "n":
                return name
            if record.psd == "y" and name != self.start:
                depth = name.count(".") + 2
                return ".".join(self.start.split(".")[-depth:])
        return self.records[-1][0] if self.records else self.start

    @property
    def applying(self) -> tuple[str, DmarcRecord] | None:
        """The record whose policy applies, and its name (section 4.10.1)."""
        found = dict(self.records)
        organization = self.organization
        for name in (self.start, organization):
            if name in found:
                return name, found[name]
        return next((pair for pair in self.records if pair[1].psd == "y"), None)


def targets(domain: str) -> list[str]:
    """The names of a walk, in its order (section 4.10)."""
    labels = domain.split(".")
    rest = labels[1:] if len(labels) <= QUERIES else labels[-(QUERIES - 1) :]
    return [domain, *(".".join(rest[n:]) for n in range(len(rest)))]


async def walk(lookup: Lookup, domain: str) -> Walk:
    """Look for DMARC records from `domain` up to the top."""
    domain = domain.lower().removesuffix(".")
    records: list[tuple[str, DmarcRecord]] = []
    discarded: list[str] = []
    near: list[str] = []
    error = None
    for name in targets(domain):
        try:
            rows = (await lookup(f"_dmarc.{name}", "TXT")).rows
        except TempFail as fail:
            error = fail
            break
        found = [record for record in map(parse_dmarc, rows) if record is not None]
        if any(is_near_miss(row) for row in rows):
            near.append(name)
        if len(found) > 1:
            discarded.append(name)
        elif found:
            records.append((name, found[0]))
            if found[0].psd == "n" or (found[0].psd == "y" and name != domain):
                break
    return Walk(domain, tuple(records), tuple(discarded), tuple(near), error)


def is_under(name: str, domain: str) -> bool:
    return name == domain or name.endswith("." + domain)


async def is_aligned(lookup: Lookup, author: Walk, identifier: str, *, strict: bool) -> bool:
    """Whether an authenticated domain is aligned with the author's. Raises TempFail."""
    identifier = identifier.lower().removesuffix(".")
    if identifier == author.start:
        return True
    organization = author.organization
    if strict or not is_under(identifier, organization):
        return False
    if author.error is not None:
        raise author.error
    other = await walk(lookup, identifier)
    if other.error is not None:
        raise other.error
    return other.organization == organization
