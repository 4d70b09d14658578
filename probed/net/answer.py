"""The result of one DNS query, with names and records as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype

from probed.model import Outcome
from probed.reasons import OURS, ProbeError, Reason, Reasons

if TYPE_CHECKING:
    from dns.rdtypes.ANY import CNAME, MX, TLSA, TXT

Server = tuple[str, int]
"""Address and port of a name server."""
RECORD_LIMIT = 256
"""Records of an answer that are parsed."""


class Said(StrEnum):
    """The outcome of a query."""

    ANSWER = "answer"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    CNAME_ONLY = "cname_only"
    """A CNAME that leads out of the server's zones; the server knows nothing about its target."""
    SERVER_FAILURE = "server_failure"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    BUDGET = "budget"
    """Not sent: the run has used up its query budget."""


TEMPORARY = {
    Said.SERVER_FAILURE, Said.TIMEOUT, Said.UNREACHABLE, Said.TOO_LARGE, Said.MALFORMED, Said.BUDGET,
}  # fmt: skip
"""Outcomes that say nothing about the records."""
_REASONS: dict[Said, Reasons] = {
    Said.NODATA: Reason.DNS_NO_DATA,
    Said.CNAME_ONLY: Reason.DNS_NO_DATA,
    Said.NXDOMAIN: Reason.DNS_NXDOMAIN,
    Said.SERVER_FAILURE: Reason.DNS_SERVFAIL,
    Said.TIMEOUT: Reason.TIMEOUT_QUERY,
    Said.UNREACHABLE: Reason.DNS_UNREACHABLE,
    Said.TOO_LARGE: Reason.DNS_TOO_LARGE,
    Said.MALFORMED: Reason.DNS_MALFORMED,
    Said.BUDGET: Reason.DNS_BUDGET,
}


@dataclass(frozen=True)
class Answer:
    """The result of one query, and its evidence. `name` is the name as queried; `seconds` and
    `server` belong to the last try; `size` is in bytes.
    """

    name: str
    type: str
    said: Said
    data: tuple[dns.rdata.Rdata, ...] = ()
    server: Server | None = None
    rcode: str = ""
    seconds: float = 0.0
    tries: int = 0
    tcp: bool = False
    size: int = 0
    ttl: int | None = None
    authoritative: bool = False
    authentic: bool = False
    """The AD bit: a validating resolver has verified the answer (RFC 4035 section 3.2.3)."""
    aliases: tuple[str, ...] = ()
    """Targets of the CNAMEs that were followed, in order."""
    alias_beside: bool = False
    """A CNAME exists beside the records, which RFC 1034 section 3.6.2 forbids."""
    cut: bool = False
    """The answer had more records than `RECORD_LIMIT`."""
    ours: Reasons | None = None
    """Why probed could not send the query; None where it was sent."""

    @property
    def temporary(self) -> bool:
        return self.said in TEMPORARY

    @property
    def reason(self) -> Reasons:
        """Return why the query has no answer. Raises KeyError for an answer."""
        if self.rcode == "REFUSED":
            return Reason.DNS_REFUSED
        return self.ours or _REASONS[self.said]

    @property
    def error(self) -> ProbeError:
        """Return the error that ends a run which needs the records."""
        reason = self.reason
        message = None
        if reason is Reason.DNS_SERVFAIL and self.rcode != "SERVFAIL":
            message = f"The name server answered {self.rcode}."
        level = Outcome.UNKNOWN if reason in OURS else Outcome.FAILED
        return ProbeError(reason, message, level=level)

    @cached_property
    def rows(self) -> tuple[Any, ...]:
        """Return the records as plain values: TXT as bytes, addresses and names as text, MX as
        `(preference, name)`, TLSA as `(usage, selector, matching type, data)`.
        """
        return tuple(map(_plain, self.data))

    @property
    def texts(self) -> list[str]:
        """Return the records in zone-file syntax. The text comes from the peer."""
        return [record.to_text() for record in self.data]


def _plain(record: dns.rdata.Rdata) -> Any:
    kind = dns.rdatatype.to_text(record.rdtype)
    if kind in {"TXT", "SPF"}:
        return b"".join(cast("TXT.TXT", record).strings)
    if kind == "MX":
        mx = cast("MX.MX", record)
        return mx.preference, text_of(mx.exchange)
    if kind in {"CNAME", "NS", "PTR"}:
        return text_of(cast("CNAME.CNAME", record).target)
    if kind == "TLSA":
        tlsa = cast("TLSA.TLSA", record)
        return tlsa.usage, tlsa.selector, tlsa.mtype, tlsa.cert
    return record.to_text()


def name_of(text: str) -> dns.name.Name | None:
    """Return the name whose labels are separated by the dots, without escapes; None for no name."""
    labels = text.encode("utf-8", "surrogateescape").removesuffix(b".").split(b".")
    if not all(labels):
        return None
    try:
        return dns.name.Name([*labels, b""])
    except dns.exception.DNSException:
        return None


def text_of(name: dns.name.Name) -> str:
    """Return the inverse of `name_of`, in lower case; the root is the empty string."""
    labels = name.labels[:-1] if name.is_absolute() else name.labels
    return b".".join(labels).decode("utf-8", "surrogateescape").lower()
