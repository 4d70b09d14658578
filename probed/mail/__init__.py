"""The meaning of mail's DNS records: SPF, DMARC. Pure over `Lookup`: no socket, no dnspython."""

from probed.mail.lookup import Found, Lookup, TempFail, through
from probed.mail.spf import Limits, Node, SpfReport, check_host, is_domain
from probed.mail.spf_record import SpfCause, SpfRecord, SpfResult, SpfSyntaxError, is_spf, parse_spf

__all__ = [
    "Found", "Limits", "Lookup", "Node", "SpfCause", "SpfRecord", "SpfReport", "SpfResult",
    "SpfSyntaxError", "TempFail", "check_host", "is_domain", "is_spf", "parse_spf", "through",
]  # fmt: skip
