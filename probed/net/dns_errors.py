"""Errors of DNS lookups, from dnspython or from a socket, as reasons."""

from __future__ import annotations

import errno

from probed.reasons import OURS, Reason, Reasons, classify


def reason_of_dns_error(error: BaseException) -> tuple[Reasons, str | None]:
    """Return the reason of a dnspython error, and a message where the name servers gave one."""
    import dns.exception  # noqa: PLC0415
    import dns.rcode  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    if isinstance(error, dns.resolver.NXDOMAIN):
        return Reason.DNS_NXDOMAIN, None
    if isinstance(error, dns.resolver.NoAnswer):
        return Reason.DNS_NO_DATA, None
    if isinstance(error, dns.resolver.NoNameservers):
        errors = error.kwargs.get("errors", [])
        for _, _, _, cause, response in errors:
            if response is not None and response.rcode() == dns.rcode.REFUSED:
                return Reason.DNS_REFUSED, None
            if response is not None and response.rcode() != dns.rcode.NOERROR:
                code = dns.rcode.to_text(response.rcode())
                return Reason.DNS_SERVFAIL, f"The name server answered {code}."
            if isinstance(cause, OSError):
                return reason_of_socket_error(cause), None
        return (Reason.DNS_MALFORMED if errors else Reason.DNS_UNREACHABLE), None
    if isinstance(error, dns.exception.Timeout):
        return Reason.TIMEOUT_RESOLVE, None
    if isinstance(error, OSError):
        return reason_of_socket_error(error), None
    return Reason.DNS_MALFORMED, None


def reason_of_socket_error(error: OSError) -> Reasons:
    """Return `dns.unreachable`, or a reason of our own where this machine could not send at all."""
    if error.errno == errno.ENETUNREACH:
        return Reason.SELF_NETWORK  # no route of our own
    reason, _ = classify(error)
    return reason if reason in OURS else Reason.DNS_UNREACHABLE
