"""`check_host` of RFC 7208: whether an address may send for a domain, and what finding out costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, TypeAlias

from probed.mail.lookup import Found, Lookup, TempFail
from probed.mail.spf_macros import Scene, expand, expand_name
from probed.mail.spf_record import (
    Directive,
    SpfCause,
    SpfRecord,
    SpfResult,
    SpfSyntaxError,
    is_explanation,
    is_spf,
    parse_spf,
)
from probed.text.redact import sanitize

Ip: TypeAlias = IPv4Address | IPv6Address
NAMES = 10
"""MX and PTR names that one term may lead to (section 4.6.4)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one evaluation, including all its includes (section 4.6.4).

    `terms` cause queries; `voids` are terms whose first answer is empty; `queries` is our own bound,
    for ten terms may take more than a hundred.
    """

    terms: int = 10
    voids: int = 2
    queries: int = 120


@dataclass(slots=True)
class Node:
    """A record that was evaluated, and those that it leads to.

    `how` is `record`, `include` or `redirect`. `terms`, `voids` and `queries` are what it cost with
    all below it, the term that led there included.
    """

    domain: str
    how: str = "record"
    text: str = ""
    result: SpfResult = SpfResult.NONE
    matched: str = ""
    terms: int = 0
    voids: int = 0
    queries: int = 0
    children: list[Node] = field(default_factory=list)

    def lines(self, depth: int = 0) -> list[str]:
        """The tree as text, one record a line, each with its cost."""
        where = "" if self.how == "record" else f"{self.how} "
        plural = "y" if self.queries == 1 else "ies"
        cost = f"{self.terms} term{'s' * (self.terms != 1)}, {self.queries} quer{plural}"
        line = f"{'  ' * depth}{where}{self.domain}: {cost}"
        return [line, *(text for child in self.children for text in child.lines(depth + 1))]


@dataclass(frozen=True, slots=True)
class SpfReport:
    """The result of an evaluation. `matched` is the directive that decided; `detail` says of an
    error what it was about; `failure` is what DNS said to the query that decided (temperror).

    `void_queries` counts every empty answer but those for records, as some receivers do.
    """

    result: SpfResult
    tree: Node
    terms: int
    voids: int
    void_queries: int
    queries: int
    cause: SpfCause | None = None
    detail: str = ""
    failure: TempFail | None = None
    matched: str = ""
    explanation: str | None = None


async def check_host(
    lookup: Lookup,
    ip: str | Ip,
    sender: str,
    helo: str,
    *,
    domain: str | None = None,
    receiver: str = "unknown",
    limits: Limits | None = None,
    now: float = 0.0,
) -> SpfReport:
    """Whether `ip` may send mail from `sender` (the envelope's, may be empty) after `helo`.

    Without `domain` it is the sender's, or that of HELO where the sender is empty. `now`, in seconds
    since the epoch, is for `%{t}`. Raises ValueError where `ip` is no address.
    """
    address = ip_address(ip) if isinstance(ip, str) else ip
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    local, at, sender_domain = sender.rpartition("@")
    if not at:
        sender_domain = sender or helo
    scene = Scene(address, local or "postmaster", sender_domain, helo, receiver, now)
    return await _Evaluation(lookup, scene, limits or Limits()).run(domain or sender_domain)


def is_domain(name: str) -> bool:
    """Whether `check_host` may be asked of it: a name of at least two labels (section 4.3)."""
    octets = name.encode("utf-8", "surrogateescape").removesuffix(b".")
    labels = octets.split(b".")
    return len(octets) <= 253 and len(labels) > 1 and all(0 < len(one) < 64 for one in labels)


class _PermError(Exception):
    def __init__(self, cause: SpfCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class _Evaluation:
    def __init__(self, lookup: Lookup, scene: Scene, limits: Limits) -> None:
        self._lookup = lookup
        self._scene = scene
        self._ip = scene.ip
        self._limits = limits
        self._terms = 0
        self._voids = 0
        self._void_queries = 0
        self._queries = 0
        self._names: list[str] | None = None

    async def run(self, domain: str) -> SpfReport:
        root = Node(domain)
        cause, detail, failure, explanation = None, "", None, None
        try:
            last, record = await self._record(domain, root)
            result = last.result
            if result is SpfResult.FAIL and record is not None and record.exp is not None:
                explanation = await self._explain(record.exp, last.domain)
        except _PermError as error:
            last, result = root, SpfResult.PERMERROR
            cause, detail = error.cause, error.detail
        except TempFail as error:
            last, result = root, SpfResult.TEMPERROR
            cause, failure = SpfCause.DNS, error
            detail = f"{error.kind} {sanitize(error.name, 80)}: {error.reason.sentence}"
        return SpfReport(
            result, root, self._terms, self._voids, self._void_queries, self._queries,
            cause, detail, failure, last.matched, explanation,
        )  # fmt: skip

    async def _record(self, domain: str, node: Node) -> tuple[Node, SpfRecord | None]:
        """Evaluate the record of a domain; the node where a redirect has led to, and its record."""
        before = self._terms, self._voids, self._queries
        if node.how != "record":
            self._count_term(node.how, domain)
        try:
            return await self._evaluate(domain, node)
        except _PermError:
            node.result = SpfResult.PERMERROR
            raise
        except TempFail:
            node.result = SpfResult.TEMPERROR
            raise
        finally:
            node.terms = self._terms - before[0]
            node.voids = self._voids - before[1]
            node.queries = self._queries - before[2]

    async def _evaluate(self, domain: str, node: Node) -> tuple[Node, SpfRecord | None]:
        record = await self._fetch(domain, node)
        if record is None:
            return node, None
        for directive in record.directives:
            if await self._matches(directive, domain, node):
                node.result, node.matched = directive.result, directive.text
                return node, record
        node.result = SpfResult.NEUTRAL
        if record.redirect is None:
            return node, record
        target = await expand_name(record.redirect, self._scene, domain, self._validated)
        child = Node(target, "redirect")
        node.children.append(child)
        last = await self._record(target, child)
        if child.result is SpfResult.NONE:
            raise _PermError(SpfCause.REDIRECT_NONE, f"redirect={_shown(target)}")
        node.result = child.result
        return last

    async def _fetch(self, domain: str, node: Node) -> SpfRecord | None:
        """The one SPF record of a domain (sections 4.3 to 4.5)."""
        if not is_domain(domain):
            return None
        found = await self._ask(domain, "TXT", counts=False)
        texts = [row for row in found.rows if is_spf(row)]
        if not texts:
            return None
        if len(texts) > 1:
            raise _PermError(SpfCause.MULTIPLE, _shown(domain))
        node.text = texts[0].decode("ascii", "surrogateescape")
        try:
            return parse_spf(node.text)
        except SpfSyntaxError as error:
            raise _PermError(SpfCause.SYNTAX, f"{_shown(domain)}: {error}") from None

    async def _ask(self, name: str, kind: str, *, counts: bool = True) -> Found:
        if self._queries >= self._limits.queries:
            raise _PermError(SpfCause.QUERIES, f"at {kind} {_shown(name)}")
        self._queries += 1
        found = await self._lookup(name, kind)
        if counts and not found.rows:
            self._void_queries += 1
        return found

    def _count_term(self, term: str, domain: str) -> None:
        self._terms += 1
        if self._terms > self._limits.terms:
            raise _PermError(SpfCause.TERMS, f"at {sanitize(term, 80)} ({_shown(domain)})")

    def _count_void(self, name: str) -> None:
        self._voids += 1
        if self._voids > self._limits.voids:
            raise _PermError(SpfCause.VOIDS, f"at {_shown(name)}")

    async def _matches(self, directive: Directive, domain: str, node: Node) -> bool:
        name = directive.name
        if name == "all":
            return True
        if directive.network is not None:
            return self._ip in directive.network  # of another version: never
        target = domain
        if directive.domain:
            target = await expand_name(directive.domain, self._scene, domain, self._validated)
        if name == "include":
            return await self._include(target, node)
        self._count_term(directive.text, domain)
        if name == "ptr":
            return await self._is_named(target)
        if name == "exists":
            return bool(await self._first(target, "A"))
        if name == "mx":
            return await self._is_exchange(target, directive)
        rows = await self._first(target, self._type)
        return any(self._within(row, directive) for row in rows)

    async def _is_exchange(self, target: str, directive: Directive) -> bool:
        exchanges = [row[1] for row in sorted(await self._first(target, "MX"))]
        if len(exchanges) > NAMES:
            raise _PermError(SpfCause.MX, f"{directive.text}: {len(exchanges)} names")
        for exchange in filter(None, exchanges):
            found = await self._ask(exchange, self._type)
            if any(self._within(row, directive) for row in found.rows):
                return True
        return False

    async def _first(self, name: str, kind: str) -> tuple[Any, ...]:
        """The records that a term asks for first: none of them is a void lookup."""
        rows = (await self._ask(name, kind)).rows
        if not rows:
            self._count_void(name)
        return rows

    async def _include(self, target: str, node: Node) -> bool:
        child = Node(target, "include")
        node.children.append(child)
        await self._record(target, child)
        if child.result is SpfResult.NONE:
            raise _PermError(SpfCause.INCLUDE_NONE, f"include:{_shown(target)}")
        return child.result is SpfResult.PASS

    @property
    def _type(self) -> str:
        return "A" if self._ip.version == 4 else "AAAA"

    def _within(self, address: object, directive: Directive) -> bool:
        prefix = directive.v4 if self._ip.version == 4 else directive.v6
        return self._ip in ip_network(f"{address}/{prefix}", strict=False)

    async def _is_named(self, target: str) -> bool:
        wanted = target.lower().removesuffix(".")
        return any(_is_under(name, wanted) for name in await self._own_names())

    async def _own_names(self) -> list[str]:
        """Names of the address that lead back to it (section 5.5)."""
        if self._names is None:
            self._names = []
            try:
                found = await self._ask(self._ip.reverse_pointer, "PTR", counts=False)
            except TempFail:
                return []
            if not found.rows:
                self._count_void(self._ip.reverse_pointer)
            for name in found.rows[:NAMES]:
                try:
                    rows = (await self._ask(name, self._type)).rows
                except TempFail:
                    continue
                if any(ip_address(row) == self._ip for row in rows):
                    self._names.append(name)
        return self._names

    async def _validated(self, domain: str) -> str:
        """`%{p}`: the domain itself, else a name under it, else any (section 7.3)."""
        names = await self._own_names()
        wanted = domain.lower()
        return (
            next((name for name in names if name == wanted), "")
            or next((name for name in names if _is_under(name, wanted)), "")
            or next(iter(names), "unknown")
        )

    async def _explain(self, spec: str, domain: str) -> str | None:
        """The text of `exp=` (section 6.2); None where anything is wrong with it."""
        try:
            name = await expand_name(spec, self._scene, domain, self._validated)
            rows = (await self._ask(name, "TXT", counts=False)).rows
            if len(rows) != 1:
                return None
            text = rows[0].decode("ascii")
            if not is_explanation(text):
                return None
            return await expand(text, self._scene, domain, self._validated)
        except (TempFail, _PermError, UnicodeDecodeError):
            return None


def _is_under(name: str, domain: str) -> bool:
    name = name.lower()
    return name == domain or name.endswith("." + domain)


def _shown(name: str) -> str:
    return sanitize(name, 80)
