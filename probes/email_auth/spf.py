"""SPF, judged by what it comes to: for our senders, and for strangers."""

from __future__ import annotations

from collections.abc import Iterator

from probed import Reasons, Said, Vantage
from probed.mail import (
    Limits,
    Node,
    SpfCause,
    SpfRecord,
    SpfReport,
    SpfResult,
    SpfSyntaxError,
    TempFail,
    check_host,
    parse_spf,
    through,
)
from probes.email_auth.reasons import EmailAuthReason as Why
from probes.email_auth.settings import Sender, Spf
from probes.email_auth.verdicts import AuthPart

STRANGERS = ("192.0.2.1", "2001:db8::1")
"""Addresses that nobody sends from (RFC 5737, RFC 3849)."""
LINT = Limits(terms=30, voids=30)
"""Limits of an evaluation for a stranger: high enough to show by how much the standard's are exceeded."""
LENGTH = 450
"""Bytes of a record that fit in an answer over UDP (RFC 7208 section 3.4)."""
WIDE = {4: 8, 6: 16}
"""Networks with a shorter prefix are nobody's own."""
_CAUSES: dict[SpfCause, Reasons] = {
    SpfCause.SYNTAX: Why.SPF_SYNTAX,
    SpfCause.MULTIPLE: Why.SPF_MULTIPLE,
    SpfCause.INCLUDE_NONE: Why.SPF_INCLUDE_NONE,
    SpfCause.REDIRECT_NONE: Why.SPF_INCLUDE_NONE,
    SpfCause.TERMS: Why.SPF_LOOKUP_LIMIT,
    SpfCause.VOIDS: Why.SPF_VOID_LIMIT,
    SpfCause.MX: Why.SPF_MX_LIMIT,
    SpfCause.QUERIES: Why.SPF_QUERY_LIMIT,
}
_SENDER: dict[SpfResult, Reasons] = {
    SpfResult.NONE: Why.SPF_SENDER_NONE,
    SpfResult.NEUTRAL: Why.SPF_SENDER_NEUTRAL,
    SpfResult.PASS: Why.SPF_SENDER_PASS,
    SpfResult.FAIL: Why.SPF_SENDER_FAIL,
    SpfResult.SOFTFAIL: Why.SPF_SENDER_SOFTFAIL,
}


async def judge_record(part: AuthPart, vantage: Vantage, *, spf: Spf, domain: str) -> None:
    """The record by itself: it is there, it can be evaluated, it lets not everybody send."""
    lookup = through(vantage)
    reports = [
        await check_host(
            lookup, ip, f"postmaster@{domain}", domain, limits=LINT, now=part.run.clock.time()
        )
        for ip in STRANGERS
    ]
    worst = max(reports, key=lambda report: (report.cause is not None, report.terms))
    part.data = worst
    _measure(part, reports, worst.tree)
    for report in reports:
        if report.failure is not None:
            part.temporary(report.failure, abroad=report.failure.name != domain)
            return
    if _cannot_be_evaluated(part, reports, worst, domain):
        return
    for ip, report in zip(STRANGERS, reports, strict=True):
        if report.result is SpfResult.PASS:
            part.failed(
                Why.SPF_TOO_PERMISSIVE,
                f"SPF lets anybody send: {ip}, which is nobody's, comes to pass by {report.matched}.",
                **_evidence(report),
            )
            break
    _costs(part, spf, reports, worst)
    _lint(part, worst.tree)
    await _lint_dns(part, vantage, domain)


def _cannot_be_evaluated(
    part: AuthPart, reports: list[SpfReport], worst: SpfReport, domain: str
) -> bool:
    if worst.result is SpfResult.NONE:
        part.failed(Why.SPF_NONE, f"{domain} has no SPF record.", domain=domain)
        return True
    terms = max(report.terms for report in reports)
    voids = max(report.voids for report in reports)
    if worst.cause is not None and worst.cause is not SpfCause.TERMS:
        reason = _CAUSES[worst.cause]
        part.failed(reason, f"{reason.sentence.rstrip('.')}: {worst.detail}.", **_evidence(worst))
        return True
    if terms > Limits().terms:
        more = " or more" if worst.cause is SpfCause.TERMS else ""
        part.failed(
            Why.SPF_LOOKUP_LIMIT,
            f"SPF takes {terms}{more} lookups, where receivers make 10: they may refuse all mail.",
            **_evidence(worst),
        )
        return True
    if voids > Limits().voids:
        part.failed(
            Why.SPF_VOID_LIMIT,
            f"{voids} terms of the SPF record lead to nothing, where receivers bear 2.",
            **_evidence(worst),
        )
        return True
    return False


def _costs(part: AuthPart, spf: Spf, reports: list[SpfReport], worst: SpfReport) -> None:
    terms = max(report.terms for report in reports)
    voids = max(report.voids for report in reports)
    void_queries = max(report.void_queries for report in reports)
    if terms >= spf.warn_terms:
        part.degraded(Why.SPF_NEAR_LIMIT, f"SPF takes {terms} of 10 lookups.", **_evidence(worst))
    if voids or void_queries > Limits().voids:
        part.degraded(
            Why.SPF_VOID,
            f"{voids} terms and {void_queries} lookups of the SPF record lead to nothing: "
            "more than 2 is an error.",
            **_evidence(worst),
        )


def _measure(part: AuthPart, reports: list[SpfReport], tree: Node) -> None:
    run = part.run
    run.measure("probed.spf.terms", max(report.terms for report in reports))
    run.measure("probed.spf.void_lookups", max(r.voids for r in reports), {"count": "term"})
    run.measure("probed.spf.void_lookups", max(r.void_queries for r in reports), {"count": "query"})
    for path, terms in dict(_paths(tree, "")).items():
        run.measure("probed.spf.include.terms", terms, {"include": path})
    part.fact("spf.record", tree.text)
    part.fact("spf.tree", tree.lines())


def _paths(node: Node, above: str) -> Iterator[tuple[str, int]]:
    """Each include by its way down, with what it costs."""
    for child in node.children:
        path = f"{above} > {child.domain}" if above else child.domain
        yield path, child.terms
        yield from _paths(child, path)


def _evidence(report: SpfReport) -> dict[str, object]:
    return {"record": report.tree.text, "tree": report.tree.lines(), "detail": report.detail}


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _parsed(node: Node) -> SpfRecord | None:
    try:
        return parse_spf(node.text) if node.text else None
    except SpfSyntaxError:
        return None


def _lint(part: AuthPart, tree: Node) -> None:
    """Find bad practice in the records that are read for a stranger."""
    for node in _nodes(tree):
        record = _parsed(node)
        if record is not None:
            _lint_networks(part, record, node.domain)
            if any(directive.name == "ptr" for directive in record.directives):
                part.degraded(Why.SPF_LINT_PTR, record=node.text, domain=node.domain)
    record = _parsed(tree)
    if record is None:
        return
    names = [directive.name for directive in record.directives]
    if len(tree.text) > LENGTH:
        text = f"The SPF record has {len(tree.text)} bytes; {LENGTH} fit in an answer over UDP."
        part.degraded(Why.SPF_LINT_LENGTH, text)
    if "all" in names[:-1]:
        part.degraded(Why.SPF_LINT_AFTER_ALL, record=tree.text)
    if "all" in names and record.redirect is not None:
        part.degraded(Why.SPF_LINT_REDIRECT, record=tree.text)
    last = tree
    while "all" not in names and last.children and last.children[-1].how == "redirect":
        last = last.children[-1]
        end = _parsed(last)
        names = [directive.name for directive in end.directives] if end else []
    end = _parsed(last)
    ends = [d.result for d in end.directives if d.name == "all"] if end else []
    if not ends or ends[0] is SpfResult.NEUTRAL:
        part.degraded(Why.SPF_LINT_OPEN, record=last.text, domain=last.domain)


def _lint_networks(part: AuthPart, record: SpfRecord, domain: str) -> None:
    wide = [
        directive.text
        for directive in record.directives
        if directive.network is not None
        and directive.result is SpfResult.PASS
        and directive.network.prefixlen < WIDE[directive.network.version]
    ]
    if wide and all(found.reason is not Why.SPF_TOO_PERMISSIVE for found in part.run.findings):
        part.failed(
            Why.SPF_TOO_PERMISSIVE,
            f"SPF lets a good part of all addresses send: {wide[0]}.",
            domain=domain,
            networks=wide,
        )


async def _lint_dns(part: AuthPart, vantage: Vantage, domain: str) -> None:
    answer = await vantage.query(domain, "TXT")
    if answer.alias_beside:
        part.degraded(Why.SPF_LINT_CNAME, domain=domain)
    former = await vantage.query(domain, "SPF")
    if former.said is Said.ANSWER and not former.aliases:
        part.degraded(Why.SPF_LINT_TYPE, domain=domain)


async def judge_sender(part: AuthPart, vantage: Vantage, *, sender: Sender, domain: str) -> None:
    """Evaluate SPF for a sender. `data` of the part is whether it passes for all addresses."""
    lookup = through(vantage)
    try:
        addresses = [sender.ip] if sender.ip else await _addresses(vantage, sender.host or "")
    except TempFail as fail:
        part.temporary(fail)
        return
    if not addresses:
        part.failed(Why.SPF_SENDER_ADDRESS, f"{sender.name}: {sender.host} has no address.")
        return
    results: list[SpfResult] = []
    for ip in addresses:
        report = await check_host(
            lookup, ip, f"postmaster@{domain}", sender.helo or domain, now=part.run.clock.time()
        )
        results.append(report.result)
        if report.result in sender.expect:
            continue
        if report.failure is not None:
            part.temporary(report.failure, abroad=report.failure.name != domain)
            return
        reason = _CAUSES[report.cause] if report.cause else _SENDER[report.result]
        expected = " or ".join(sender.expect)
        by = (
            report.detail or report.matched or ("the end of the record" if report.tree.text else "")
        )
        part.failed(
            reason,
            f"SPF for {sender.name} ({ip}) comes to {report.result}, not {expected}"
            + (f": {by}." if by else "."),
            address=ip,
            **_evidence(report),
        )
        break
    part.data = all(result is SpfResult.PASS for result in results)
    for result in SpfResult:
        part.run.measure(
            "probed.spf.sender.result",
            float(result in results),
            {"sender": sender.name, "result": result.value},
        )


async def _addresses(vantage: Vantage, host: str) -> list[str]:
    """At most 8 of each family."""
    found: list[str] = []
    for kind in ("A", "AAAA"):
        rows = (await through(vantage)(host, kind)).rows
        found += rows[:8]
    return found


def same_record(found: str, expected: str) -> bool:
    """Whether two records say the same, in the same order."""
    try:
        return parse_spf(found).terms == parse_spf(expected).terms
    except SpfSyntaxError:
        return found == expected
