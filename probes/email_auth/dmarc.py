"""DMARC, judged by the policy that receivers come to, and by whether our own mail can pass it."""

from __future__ import annotations

from dataclasses import dataclass

from probed import Outcome, Vantage
from probed.mail import TempFail, through
from probes.email_auth.policy import (
    POLICIES,
    DmarcRecord,
    Walk,
    is_aligned,
    is_under,
    lowered,
    mail_host,
    parse_dmarc,
    walk,
)
from probes.email_auth.reasons import EmailAuthReason as Why
from probes.email_auth.settings import Dmarc
from probes.email_auth.tags import lenient
from probes.email_auth.verdicts import AuthPart

URIS = 5
"""Report addresses whose authorisation is looked up."""


@dataclass(frozen=True, slots=True)
class Applying:
    """The record that applies, where it stands, and the walk that found it."""

    name: str
    record: DmarcRecord
    walk: Walk


async def judge_policy(
    part: AuthPart, vantage: Vantage, *, dmarc: Dmarc, domain: str, reports: bool
) -> None:
    """Find the policy for mail from a domain, and where `reports` go. `data` of the part is `Applying`,
    or None.
    """
    lookup = through(vantage)
    found = await walk(lookup, domain)
    if found.applying is None:
        await _judge_none(part, vantage, found, domain)
        return
    name, record = found.applying
    same = name == domain
    exists = True
    if not same and "np" in record.tags:
        try:
            exists = (await lookup(domain, "A")).exists
        except TempFail as fail:
            part.temporary(fail)
            return
    if reports:
        part.fact("dmarc.record", record.text)
        part.fact("dmarc.record.domain", name)
    if found.error is not None:
        part.fact("dmarc.walk_incomplete", f"{found.error.name}: {found.error.reason}")
    policy = record.policy(same=same, exists=exists)
    if policy is None:
        text = f"The DMARC record of {name} has no valid policy and no valid rua: it is ignored."
        part.failed(Why.DMARC_NOT_APPLIED, text, record=record.text)
        return
    part.data = Applying(name, record, found)
    _judge_strength(part, dmarc, domain, record, policy)
    if reports:
        await _judge_reports(part, vantage, dmarc, name, record)


def _judge_strength(
    part: AuthPart, dmarc: Dmarc, domain: str, record: DmarcRecord, policy: str
) -> None:
    if not record.valid:
        part.degraded(Why.DMARC_IMPLICIT_NONE, record=record.text)
    effective = policy
    if record.test_mode:
        effective = lowered(policy)
        text = f"DMARC is in test mode (t=y): {policy} counts as {effective}."
        part.degraded(Why.DMARC_TEST_MODE, text, record=record.text)
    if POLICIES.index(effective) < POLICIES.index(dmarc.min_policy):
        text = f"The DMARC policy for {domain} is {effective}, weaker than {dmarc.min_policy}."
        part.degraded(Why.DMARC_POLICY_WEAK, text, record=record.text)
    pct = record.tags.get("pct", "100")
    if pct.isdecimal() and len(pct) < 4 and int(pct) < 100:
        text = f"The DMARC policy covers {int(pct)} % of the mail at receivers older than RFC 9989."
        part.degraded(Why.DMARC_PCT, text, record=record.text)
    notes = [tag for tag in ("rf", "ri", "pct") if tag in record.tags]
    if notes:
        part.fact("dmarc.historic_tags", ", ".join(notes))
    for one in POLICIES:
        attributes = {"domain": domain, "policy": one}
        part.run.measure("probed.dmarc.policy", float(one == effective), attributes)


async def _judge_none(part: AuthPart, vantage: Vantage, found: Walk, domain: str) -> None:
    if found.error is not None:
        part.temporary(found.error)
        return
    if found.discarded:
        where = ", ".join(f"_dmarc.{name}" for name in found.discarded)
        text = f"Several DMARC records stand at {where}: all of them are discarded."
        part.failed(Why.DMARC_MULTIPLE, text)
        return
    evidence = {}
    if found.near:
        evidence["dmarc_version"] = [f"_dmarc.{name}" for name in found.near]
    apex = await vantage.query(domain, "TXT")
    if any(parse_dmarc(row) for row in apex.rows):
        evidence["dmarc_misplaced"] = [domain]
    hints = {"dmarc_version": "its version is not DMARC1 to the letter",
             "dmarc_misplaced": "it stands at the domain itself, not at _dmarc"}  # fmt: skip
    hint = "".join(f"; there is one, but {hints[key]}" for key in evidence)
    part.failed(Why.DMARC_NONE, f"No DMARC policy applies to {domain}{hint}.", **evidence)


async def _judge_reports(
    part: AuthPart, vantage: Vantage, dmarc: Dmarc, name: str, record: DmarcRecord
) -> None:
    if not record.rua:
        part.degraded(Why.DMARC_NO_RUA, record=record.text)
        return
    if not dmarc.check_report_authorization:
        return
    organization = part.data.walk.organization
    unchecked: list[str] = []
    hosts = dict.fromkeys(filter(None, map(mail_host, record.rua[:URIS])))
    for host in hosts:
        try:
            if not is_under(host, organization) and not await _agreed(vantage, name, host):
                part.degraded(
                    Why.DMARC_RUA_UNAUTHORISED,
                    f"{host} has not agreed to get DMARC reports: there is no "
                    f"{name}._report._dmarc.{host}.",
                )
            if not await _takes_mail(vantage, host):
                text = f"DMARC reports go to {host}, which takes no mail."
                part.degraded(Why.DMARC_RUA_UNDELIVERABLE, text)
        except TempFail as fail:
            unchecked.append(f"{fail.kind} {fail.name}: {fail.reason}")
    if unchecked:
        part.fact("dmarc.rua_unchecked", ", ".join(unchecked))


async def _agreed(vantage: Vantage, name: str, host: str) -> bool:
    """RFC 9990 section 4."""
    found = await through(vantage)(f"{name}._report._dmarc.{host}", "TXT")
    return any(parse_dmarc(row) for row in found.rows)


async def _takes_mail(vantage: Vantage, host: str) -> bool:
    lookup = through(vantage)
    exchanges = (await lookup(host, "MX")).rows
    if exchanges:
        return any(exchange for _, exchange in exchanges)  # none is the null MX (RFC 7505)
    return bool((await lookup(host, "A")).rows or (await lookup(host, "AAAA")).rows)


async def judge_alignment(
    part: AuthPart,
    vantage: Vantage,
    applying: Applying,
    senders: dict[str, bool],
    envelope: str,
    signing: dict[str, bool],
) -> None:
    """Whether mail of ours can pass. `senders` are those that pass SPF for the `envelope` domain,
    `signing` the domains with a key that can be used.
    """
    lookup = through(vantage)
    record = applying.record
    try:
        by_spf = await is_aligned(lookup, applying.walk, envelope, strict=record.strict("spf"))
        by_dkim = [
            domain
            for domain, usable in signing.items()
            if usable
            and await is_aligned(lookup, applying.walk, domain, strict=record.strict("dkim"))
        ]
    except TempFail as fail:
        part.temporary(fail)
        return
    ways = {name: by_spf and passes for name, passes in senders.items()}
    if by_dkim or any(ways.values()):
        return
    why = (
        f"the envelope's domain {envelope} is not aligned with {applying.walk.start}"
        if not by_spf
        else "SPF passes for no sender"
    )
    keys = "no DKIM key that can be used is aligned" if signing else "no DKIM key is configured"
    part.find(
        Outcome.FAILED,
        Why.DMARC_NO_ALIGNED_PATH,
        f"No mail of ours can pass DMARC: {why}, and {keys}.",
        senders=[name for name, passes in senders.items() if passes],
        aspf="strict" if record.strict("spf") else "relaxed",
        adkim="strict" if record.strict("dkim") else "relaxed",
    )


def same_record(found: str, expected: str) -> bool:
    """Whether two records say the same, in whatever order."""
    return lenient(found) == lenient(expected)
