"""The closed set of reasons, and the tables from foreign exceptions to reasons.

A reason is `area.cause`, the `error.type` of the telemetry. This module has the shared ones; a probe
kind adds its own as a subclass of `Reasons`. No reason is ever made from text.

What a reason means, its usual causes and what to look at are in the `.toml` file beside the module of
its class; only `probed.manual` reads it.
"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Self

from probed.model import Outcome

_SHAPE = re.compile(r"[a-z][a-z0-9_]*\.[a-z0-9_]+\Z")


class Reasons(StrEnum):
    """Base class of sets of reasons. A member is `NAME = "area.cause", "One sentence for people."`, with
    an optional second sentence that says what to do; it becomes evidence.
    """

    sentence: str
    remedy: str

    def __new__(cls, value: str, sentence: str, remedy: str = "") -> Self:
        if not _SHAPE.match(value):
            raise ValueError(f"{value!r} is not of the form area.cause")
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        member.remedy = remedy
        return member


class Reason(Reasons):
    """The shared reasons, by area."""

    DNS_NXDOMAIN = "dns.nxdomain", "The name does not exist."
    DNS_NO_DATA = "dns.no_data", "The name exists, but has no record of the type asked for."
    DNS_SERVFAIL = "dns.servfail", "The name server could not answer (SERVFAIL)."
    DNS_REFUSED = "dns.refused", "The name server refused to answer."
    DNS_UNREACHABLE = "dns.unreachable", "No name server could be reached."
    DNS_MALFORMED = "dns.malformed", "The name server sent an answer that is not DNS."
    DNS_TOO_LARGE = "dns.too_large", "The name server's answer is larger than the limit."
    DNS_BUDGET = "dns.budget", "The lookup needed more DNS queries than one run allows."
    DNS_MISMATCH = "dns.mismatch", "The DNS records are not the expected ones."

    CONNECT_REFUSED = (
        "connect.refused",
        "Connection refused: nothing is listening on this address and port.",
    )
    CONNECT_UNREACHABLE = "connect.unreachable", "There is no route to the host."
    CONNECT_PROHIBITED = "connect.prohibited", "A firewall rejected the connection."
    CONNECT_RESET = "connect.reset", "The peer reset the connection."
    CONNECT_CLOSED = (
        "connect.closed",
        "The peer closed the connection before the answer was complete.",
    )
    CONNECT_TIMEOUT = "connect.timeout", "The connection attempt timed out without an answer."
    CONNECT_DENIED = (
        "connect.denied",
        "probed never connects to this address (link-local or cloud metadata).",
    )
    CONNECT_FAILED = "connect.failed", "The connection could not be established."

    TLS_EXPIRED = "tls.expired", "The certificate has expired."
    TLS_EXPIRES_SOON = "tls.expires_soon", "The certificate expires soon."
    TLS_NOT_YET_VALID = "tls.not_yet_valid", "The certificate is not valid yet."
    TLS_WRONG_NAME = "tls.wrong_name", "The certificate is for another host name."
    TLS_SELF_SIGNED = "tls.self_signed", "The certificate is self-signed and not trusted."
    TLS_UNTRUSTED = "tls.untrusted", "The certificate's issuer is not trusted."
    TLS_REVOKED = "tls.revoked", "The certificate has been revoked."
    TLS_WEAK = "tls.weak", "The certificate's key or signature is too weak."
    TLS_CERTIFICATE = "tls.certificate", "The certificate failed verification."
    TLS_NOT_TLS = "tls.not_tls", "The peer does not speak TLS on this port."
    TLS_VERSION = "tls.version", "probed and the peer have no TLS version or cipher in common."
    TLS_CLIENT_CERTIFICATE = (
        "tls.client_certificate",
        "The peer requires a client certificate that it trusts.",
    )
    TLS_HANDSHAKE = "tls.handshake", "The TLS handshake failed."

    TIMEOUT_RESOLVE = "timeout.resolve", "The timeout expired while resolving the host name."
    TIMEOUT_CONNECT = "timeout.connect", "The timeout expired while connecting."
    TIMEOUT_TLS = "timeout.tls", "The timeout expired during the TLS handshake."
    TIMEOUT_REQUEST = "timeout.request", "The timeout expired while sending the request."
    TIMEOUT_WAIT = "timeout.wait", "The timeout expired while waiting for the response to begin."
    TIMEOUT_RECEIVE = "timeout.receive", "The timeout expired while receiving the response."
    TIMEOUT_BANNER = (
        "timeout.banner",
        "The timeout expired while waiting for the peer's first line.",
    )
    TIMEOUT_QUERY = (
        "timeout.query",
        "The timeout expired while waiting for the answer to a DNS query.",
    )
    TIMEOUT_COMMAND = (
        "timeout.command",
        "The timeout expired while waiting for the reply to a command.",
    )
    TIMEOUT_AUTH = "timeout.auth", "The timeout expired while logging in."
    TIMEOUT_RUN = "timeout.run", "The timeout expired."

    HTTP_STATUS = "http.status", "The HTTP status is not an expected one."
    HTTP_BAD_GATEWAY = (
        "http.bad_gateway",
        "The gateway got no valid response from its upstream (502 Bad Gateway).",
    )
    HTTP_UNAVAILABLE = "http.unavailable", "The service is unavailable (503 Service Unavailable)."
    HTTP_GATEWAY_TIMEOUT = (
        "http.gateway_timeout",
        "The gateway got no response from its upstream in time (504 Gateway Timeout).",
    )
    HTTP_REDIRECTED = "http.redirected", "The response is an unexpected redirect."
    HTTP_REDIRECT_LOOP = "http.redirect_loop", "The redirects form a loop."
    HTTP_TOO_MANY_REDIRECTS = (
        "http.too_many_redirects",
        "The response redirects more often than allowed.",
    )
    HTTP_REDIRECT_REFUSED = (
        "http.redirect_refused",
        "The redirect points to a location that probed does not follow.",
    )
    HTTP_UNAUTHORIZED = "http.unauthorized", "The server rejected probed's credentials."
    HTTP_RATE_LIMITED = (
        "http.rate_limited",
        "The server rate-limits probed (429 Too Many Requests).",
    )
    HTTP_PROTOCOL = "http.protocol", "The response is not valid HTTP."
    HTTP_VERSION = "http.version", "The peer does not support the requested HTTP version."
    HTTP_STREAM_RESET = "http.stream_reset", "The peer reset the HTTP/2 stream."
    HTTP_HEADERS_TOO_LARGE = (
        "http.headers_too_large",
        "The response headers are larger than the limit.",
    )
    HTTP_BODY_TOO_LARGE = "http.body_too_large", "The response body is larger than the limit."
    HTTP_ENCODING = "http.encoding", "The response body could not be decoded."
    HTTP_NOT_JSON = "http.not_json", "The response body is not the expected JSON."
    HTTP_SLOW = "http.slow", "The response took longer than latency.degraded."
    HTTP_TOO_SLOW = "http.too_slow", "The response took longer than latency.failed."

    BANNER_MISMATCH = "banner.mismatch", "The first line does not match the expected pattern."
    BANNER_TOO_LONG = "banner.too_long", "The first line is longer than the limit."

    SELF_RESOURCES = "self.resources", "This machine ran out of file descriptors, memory or ports."
    SELF_NETWORK = "self.network", "This machine's network is down or has no route to the target."
    SELF_OFFLINE = "self.offline", "Every reference check fails too: this machine is offline."
    SELF_OVERLOADED = "self.overloaded", "This machine was too busy, so the timing is unreliable."
    SELF_PERMISSION = "self.permission", "probed lacks a permission on this machine."
    INTERNAL = "internal.error", "The probe failed with an unexpected error; please report it."


class ProbeError(Exception):
    """An error that ends the run with a known reason.

    `level` is the outcome of the finding. `message` must not contain unsanitized text of the peer.
    """

    def __init__(
        self, reason: Reasons, message: str | None = None, *, level: Outcome = Outcome.FAILED
    ) -> None:
        super().__init__(message or reason.sentence)
        self.reason = reason
        self.message = message or reason.sentence
        self.level = level


_ERRNO: dict[int, Reason] = {
    errno.ECONNREFUSED: Reason.CONNECT_REFUSED,
    errno.ECONNRESET: Reason.CONNECT_RESET,
    errno.ECONNABORTED: Reason.CONNECT_RESET,
    errno.EPIPE: Reason.CONNECT_RESET,
    errno.ENOTCONN: Reason.CONNECT_RESET,
    errno.ETIMEDOUT: Reason.CONNECT_TIMEOUT,
    errno.EHOSTUNREACH: Reason.CONNECT_UNREACHABLE,
    errno.ENETUNREACH: Reason.CONNECT_UNREACHABLE,
    errno.EHOSTDOWN: Reason.CONNECT_UNREACHABLE,
    errno.EADDRNOTAVAIL: Reason.SELF_RESOURCES,
    errno.EACCES: Reason.CONNECT_PROHIBITED,
    errno.EPERM: Reason.CONNECT_PROHIBITED,
    errno.ENETDOWN: Reason.SELF_NETWORK,
    errno.EMFILE: Reason.SELF_RESOURCES,
    errno.ENFILE: Reason.SELF_RESOURCES,
    errno.ENOBUFS: Reason.SELF_RESOURCES,
    errno.ENOMEM: Reason.SELF_RESOURCES,
}

# X509_V_ERR_* of OpenSSL's x509_vfy.h, as `SSLCertVerificationError.verify_code`.
_VERIFY: dict[int, Reason] = {
    2: Reason.TLS_UNTRUSTED,
    7: Reason.TLS_CERTIFICATE,
    9: Reason.TLS_NOT_YET_VALID,
    10: Reason.TLS_EXPIRED,
    18: Reason.TLS_SELF_SIGNED,
    19: Reason.TLS_UNTRUSTED,
    20: Reason.TLS_UNTRUSTED,
    21: Reason.TLS_UNTRUSTED,
    23: Reason.TLS_REVOKED,
    62: Reason.TLS_WRONG_NAME,
    64: Reason.TLS_WRONG_NAME,
    66: Reason.TLS_WEAK,
    67: Reason.TLS_WEAK,
    68: Reason.TLS_WEAK,
}

# `SSLError.reason`, the name of OpenSSL's reason code; never its text.
_SSL: dict[str, Reason] = {
    "WRONG_VERSION_NUMBER": Reason.TLS_NOT_TLS,
    "HTTP_REQUEST": Reason.TLS_NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": Reason.TLS_NOT_TLS,
    "RECORD_LAYER_FAILURE": Reason.TLS_NOT_TLS,
    "UNSUPPORTED_PROTOCOL": Reason.TLS_VERSION,
    "NO_SHARED_CIPHER": Reason.TLS_VERSION,
    "NO_PROTOCOLS_AVAILABLE": Reason.TLS_VERSION,
    "VERSION_TOO_LOW": Reason.TLS_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": Reason.TLS_VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": Reason.TLS_VERSION,
    "DH_KEY_TOO_SMALL": Reason.TLS_WEAK,
    "EE_KEY_TOO_SMALL": Reason.TLS_WEAK,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Reason.TLS_CLIENT_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": Reason.TLS_CLIENT_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": Reason.TLS_CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Reason.TLS_CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": Reason.TLS_CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Reason.TLS_CLIENT_CERTIFICATE,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": Reason.TLS_CLIENT_CERTIFICATE,
    "TLSV1_ALERT_ACCESS_DENIED": Reason.TLS_CLIENT_CERTIFICATE,
    "TLSV1_ALERT_DECRYPT_ERROR": Reason.TLS_CLIENT_CERTIFICATE,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": Reason.HTTP_VERSION,
    "UNEXPECTED_EOF_WHILE_READING": Reason.CONNECT_CLOSED,
}

OURS: AbstractSet[Reasons] = {
    Reason.SELF_RESOURCES,
    Reason.SELF_NETWORK,
    Reason.SELF_PERMISSION,
    Reason.INTERNAL,
}
"""Reasons that say nothing about the peer."""


def classify(error: BaseException) -> tuple[Reasons, Outcome]:
    """Return reason and outcome of an exception: of the first known one along its chain of causes.

    What is not known is `internal.error`, an `unknown` that is loudly visible.
    """
    seen: set[int] = set()
    node: BaseException | None = error
    while node is not None and id(node) not in seen:
        seen.add(id(node))
        if isinstance(node, ProbeError):
            return node.reason, node.level
        if isinstance(node, BaseExceptionGroup):
            return max((classify(e) for e in node.exceptions), key=lambda found: found[1].rank)
        reason = _known(node)
        if reason is not None:
            return reason, Outcome.UNKNOWN if reason in OURS else Outcome.FAILED
        node = node.__cause__ or (None if node.__suppress_context__ else node.__context__)
    return Reason.INTERNAL, Outcome.UNKNOWN


def _known(error: BaseException) -> Reason | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, Reason.TLS_CERTIFICATE)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Reason.CONNECT_CLOSED
    if isinstance(error, ssl.SSLError):
        return _SSL.get(error.reason or "", Reason.TLS_HANDSHAKE)
    if isinstance(error, EOFError):
        return Reason.CONNECT_CLOSED
    if isinstance(error, MemoryError):
        return Reason.SELF_RESOURCES
    if isinstance(error, OSError) and error.errno is not None:
        return _ERRNO.get(error.errno)
    return None
