"""Types of settings: durations, sizes, addresses, URLs, patterns, thresholds and TLS."""

from probed.fields.addresses import (
    TARGETS,
    HostPort,
    Private,
    UnixSocket,
    Url,
    check_host,
    is_loopback,
    split_address,
)
from probed.fields.amounts import (
    Duration,
    Pattern,
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from probed.fields.groups import (
    AddressChoice,
    CertificateAge,
    Direction,
    Latency,
    Settings,
    Thresholds,
)
from probed.fields.tls import PathOrSecret, Tls

__all__ = [
    "TARGETS", "AddressChoice", "CertificateAge", "Direction", "Duration", "HostPort", "Latency", "PathOrSecret",
    "Pattern", "Private", "Settings", "Size", "Thresholds", "Tls", "UnixSocket", "Url", "check_host",
    "format_duration", "format_size", "is_loopback", "parse_duration", "parse_size", "split_address",
]  # fmt: skip
