"""Other records of mail: MX, MTA-STS, TLS-RPT, TLSA, BIMI."""

from __future__ import annotations

import re

from probed import Answer, Said, Vantage
from probed.mail import through
from probes.email_auth.reasons import EmailAuthReason as Why
from probes.email_auth.tags import TagError, strict
from probes.email_auth.verdicts import AuthPart

HOSTS = 10
"""Mail servers that are looked up."""
_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_DIGEST = {1: 32, 2: 64}
"""Bytes of the data of a TLSA record, by matching type (RFC 6698 section 2.1.3)."""


async def judge_mx(part: AuthPart, vantage: Vantage, domain: str) -> None:
    """`data` of the part are the mail servers."""
    part.data = hosts = await _hosts(vantage, domain)
    if not hosts:
        part.degraded(Why.MX_NONE, f"{domain} has no MX record of a mail server.")
    for host in hosts:
        if not await _has_address(vantage, host):
            part.failed(Why.MX_UNRESOLVED, f"The mail server {host} has no address.")


async def judge_mta_sts(part: AuthPart, vantage: Vantage, domain: str) -> None:
    """RFC 8461 section 3.1; the policy itself is not fetched."""
    name = f"_mta-sts.{domain}"
    records = await _records(vantage, name, b"v=STSv1")
    if not records:
        part.degraded(Why.MTA_STS_MISSING, f"There is no MTA-STS record at {name}.")
        return
    tags = _tags(records)
    if tags is None or not _ID.match(tags.get("id", "")):
        part.failed(Why.MTA_STS_INVALID, record=records[0])
    elif not await _has_address(vantage, f"mta-sts.{domain}"):
        part.failed(Why.MTA_STS_HOST, f"mta-sts.{domain}, which the policy is on, has no address.")


async def judge_tls_rpt(part: AuthPart, vantage: Vantage, domain: str) -> None:
    """RFC 8460 section 3."""
    name = f"_smtp._tls.{domain}"
    records = await _records(vantage, name, b"v=TLSRPTv1")
    if not records:
        part.degraded(Why.TLS_RPT_MISSING, f"There is no TLS-RPT record at {name}.")
        return
    tags = _tags(records)
    uris = [uri.strip() for uri in (tags or {}).get("rua", "").split(",")]
    if not all(uri.startswith(("mailto:", "https:")) for uri in uris):
        part.failed(Why.TLS_RPT_INVALID, record=records[0])


async def judge_tlsa(part: AuthPart, vantage: Vantage, domain: str) -> None:
    """RFC 7672: records that a sending server would use, of each mail server."""
    for host in await _hosts(vantage, domain):
        name = f"_25._tcp.{host}"
        rows = (await through(vantage)(name, "TLSA")).rows
        if not rows:
            part.degraded(Why.TLSA_MISSING, f"There is no TLSA record at {name}.")
        elif not any(_usable(*row) for row in rows):
            part.failed(Why.TLSA_UNUSABLE, f"No TLSA record at {name} can be used.")


async def judge_bimi(part: AuthPart, vantage: Vantage, domain: str) -> None:
    name = f"default._bimi.{domain}"
    records = await _records(vantage, name, b"v=BIMI1")
    if not records:
        part.degraded(Why.BIMI_MISSING, f"There is no BIMI record at {name}.")
        return
    tags = _tags(records)
    logo = (tags or {}).get("l")
    if logo is None or (logo and not logo.startswith("https://")):
        part.degraded(Why.BIMI_INVALID, record=records[0])


def judge_authentic(part: AuthPart, answers: list[Answer]) -> None:
    """Whether a resolver vouches for all that was found."""
    bare = [a for a in answers if a.said is Said.ANSWER and not a.authentic]
    if bare:
        names = list(dict.fromkeys(f"{answer.name} {answer.type}" for answer in bare))
        text = f"{len(names)} answers were not validated by DNSSEC, such as {names[0]}."
        part.failed(Why.DNS_NOT_AUTHENTIC, text, names=names[:10])


async def _hosts(vantage: Vantage, domain: str) -> list[str]:
    rows = sorted((await through(vantage)(domain, "MX")).rows)
    return list(dict.fromkeys(host for _, host in rows if host))[:HOSTS]


async def _has_address(vantage: Vantage, host: str) -> bool:
    lookup = through(vantage)
    return bool((await lookup(host, "A")).rows or (await lookup(host, "AAAA")).rows)


async def _records(vantage: Vantage, name: str, version: bytes) -> list[bytes]:
    """The TXT records of a version. Raises TempFail."""
    rows = (await through(vantage)(name, "TXT")).rows
    return [row for row in rows if row.partition(b";")[0].replace(b" ", b"") == version]


def _tags(records: list[bytes]) -> dict[str, str] | None:
    """The tags of the one record; None for several, and for what has none."""
    try:
        return strict(records[0].decode("ascii")) if len(records) == 1 else None
    except (UnicodeDecodeError, TagError):
        return None


def _usable(usage: int, selector: int, matching: int, data: bytes) -> bool:
    """Whether senders use it (RFC 7672 section 3.1.3)."""
    if usage not in {2, 3} or selector not in {0, 1} or matching not in {0, 1, 2}:
        return False
    return len(data) == _DIGEST.get(matching, len(data)) > 0
