"""The shared dialer: resolve, deny list, connect, TLS, certificate facts, close."""

from probed.net.deny import DenyList
from probed.net.dial import Network, Upgrade
from probed.net.identity import IdentityError, check_identity
from probed.net.resolve import AddressFamily, Resolver
from probed.net.stream import Stream
from probed.net.tls import TlsOptions

__all__ = [
    "AddressFamily",
    "DenyList",
    "IdentityError",
    "Network",
    "Resolver",
    "Stream",
    "TlsOptions",
    "Upgrade",
    "check_identity",
]  # fmt: skip
