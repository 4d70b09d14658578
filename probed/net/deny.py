"""Addresses that are never contacted, in any notation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

DEFAULT = (
    "0.0.0.0/32",
    "::/128",
    "169.254.0.0/16",  # link-local, and the metadata services of most clouds
    "fe80::/10",
    "fd00:ec2::/32",  # metadata service of AWS over IPv6
    "fd20:ce::/64",  # of Google Cloud
    "fd00:42::42/128",  # of Scaleway
    "fd00:c1::a9fe:a9fe/128",  # of Oracle Cloud
    "fd00:a9fe:a9fe::1/128",  # of Akamai (Linode)
    "fd00:100::100:200/128",  # of Alibaba Cloud
    "100.100.100.200/32",
    "192.0.0.192/32",  # of Oracle Cloud, its older form
    "168.63.129.16/32",  # of Azure
    "224.0.0.0/4",
    "ff00::/8",
    "255.255.255.255/32",
)
"""Link-local, multicast and unspecified addresses, and the clouds' metadata services."""

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")
_EMBEDDING = (
    _NAT64,
    ip_network("64:ff9b:1::/48"),  # local-use NAT64 (RFC 8215)
    ip_network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765)
)
_ISATAP = {0x00005EFE, 0x02005EFE}
"""The 32 bits before the IPv4 address in an ISATAP interface identifier (RFC 5214)."""


class DenyList:
    """Networks to refuse. An IPv4 address embedded in an IPv6 one counts as that IPv4 address."""

    def __init__(self, networks: Iterable[str] = DEFAULT) -> None:
        self._networks = tuple(ip_network(network) for network in networks)
        self.denies = lru_cache(maxsize=4096)(self._denies)

    def _denies(self, address: str) -> bool:
        try:
            plain = ip_address(address.partition("%")[0])
        except ValueError:
            return True
        return any(
            form in network
            for form in _forms(plain)
            for network in self._networks
            if form.version == network.version
        )


def _forms(address: IPv4Address | IPv6Address) -> Iterable[IPv4Address | IPv6Address]:
    yield address
    if isinstance(address, IPv6Address):
        for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if inner is not None:
                yield inner
        embeds = any(address in network for network in _EMBEDDING)
        isatap = int(address) >> 32 & 0xFFFFFFFF in _ISATAP
        if embeds or isatap or (address in _COMPATIBLE and int(address) > 1):
            yield IPv4Address(int(address) & 0xFFFFFFFF)
