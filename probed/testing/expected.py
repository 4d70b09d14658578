"""Expected reasons for misbehaving peers, certificates and name servers, for all kinds.

A reason that ends with a dot means any reason of that area.
"""

from __future__ import annotations

from collections.abc import Callable

from probed.testing.nameserver import DnsServer, Fault, dns_server

PEERS = {
    "refused": "connect.refused", "black_hole": "timeout.", "silent": "timeout.",
    "frozen": "timeout.", "reset": "connect.", "plain_on_tls": "tls.not_tls",
    "tls_stall": "timeout.", "tls_alert": "tls.", "tls_old": "tls.version",
}  # fmt: skip
"""Reasons for peers that fail below the application protocol."""
ANSWERS = {
    "reset_mid_response": "connect.reset", "stall_body": "timeout.receive",
    "drip_body": "timeout.receive", "slow_body": "timeout.receive", "drip_headers": "timeout.wait",
    "endless_headers": "http.headers_too_large", "endless_header_line": "http.headers_too_large",
    "informational_flood": "http.protocol", "chunked_garbage": "http.protocol",
    "bad_chunk_size": "http.protocol", "huge_chunk_size": "http.protocol",
    "negative_length": "http.protocol", "huge_length": "http.protocol",
    "duplicate_length": "http.protocol", "length_and_chunked": "http.protocol",
    "http_09": "http.protocol", "status_words": "http.protocol", "nul_header": "http.protocol",
    "cr_header": "http.protocol", "hostile_header": "http.protocol",
    "close_mid_body": "connect.closed", "close_mid_headers": "connect.closed",
    "close_mid_chunk": "connect.closed",
}  # fmt: skip
"""Reasons for malformed HTTP responses, for kinds that use HTTP."""
CERTIFICATES = {
    "expired": "tls.expired", "not_yet_valid": "tls.not_yet_valid", "wrong_name": "tls.wrong_name",
    "self_signed": "tls.self_signed", "incomplete_chain": "tls.untrusted",
    "stranger": "tls.untrusted", "sha1": "tls.weak",
}  # fmt: skip
NAMES: dict[Fault, str] = {
    "nxdomain": "dns.nxdomain", "servfail": "dns.servfail", "refused": "dns.refused",
    "silent": "timeout.resolve", "garbage": "timeout.resolve", "wrong_id": "timeout.resolve",
    "wrong_question": "timeout.resolve", "pointer_loop": "timeout.resolve",
    "cname_loop": "dns.malformed",
}  # fmt: skip
"""Responses that do not match the query are ignored, because anyone may have spoofed them."""
NAME = "peer.example.com"
HERE = {(NAME, "A"): ["127.0.0.1"]}
THERE = ["169.254.169.254"]
"""Address of the metadata service of most clouds."""
WAYS: dict[str, Callable[[], DnsServer]] = {
    "no AAAA": lambda: dns_server(HERE),
    "AAAA where nobody listens": lambda: dns_server({**HERE, (NAME, "AAAA"): ["::1"]}),
    "AAAA nxdomain": lambda: _half("nxdomain"),
    "AAAA servfail": lambda: _half("servfail"),
    "AAAA refused": lambda: _half("refused"),
    "AAAA cname loop": lambda: _half("cname_loop"),
    "AAAA silent": lambda: _half("silent"),
    "AAAA garbage": lambda: _half("garbage"),
    "cut, whole over TCP": lambda: dns_server(HERE, fault="truncated"),
    "TTL 0": lambda: dns_server(HERE, ttl=0),
    "behind an alias": lambda: dns_server(
        {(NAME, "CNAME"): ["alias.example.com."], ("alias.example.com", "A"): ["127.0.0.1"]}
    ),
}
"""Odd or half-broken names that still resolve to the peer."""


def _half(fault: Fault) -> DnsServer:
    return dns_server(HERE, faults={(NAME, "AAAA"): fault})
