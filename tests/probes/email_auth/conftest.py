"""A domain whose mail is in order, and how it is asked about."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network, Resolver
from probed.testing import DnsServer, dns_server, no_leaks
from probes.email_auth import EmailAuthProbe

Zone = dict[tuple[str, str], list[str]]
D = "example.test"
SOA = ["ns1.example.test. hostmaster.example.test. 1 3600 600 86400 300"]


@lru_cache
def rsa_key(bits: int = 2048) -> bytes:
    public = rsa.generate_private_key(65537, bits).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def text(value: str) -> str:
    """A TXT record as in a zone file."""
    chunks = [value[n : n + 250] for n in range(0, len(value), 250)]
    return " ".join('"' + chunk.replace("\\", "\\\\").replace('"', '\\"') + '"' for chunk in chunks)


def written(value: str) -> str:
    """`{2048}` stands for a key of so many bits."""
    for bits in (1024, 2048):
        if f"{{{bits}}}" in value:
            value = value.replace(f"{{{bits}}}", base64.b64encode(rsa_key(bits)).decode())
    return text(value)


def as_zone(records: Zone) -> Zone:
    """TXT records are plain text here; an empty list is none."""
    return {
        key: [written(value) for value in values] if key[1] == "TXT" else values
        for key, values in records.items()
        if values
    }


def good() -> Zone:
    return {
        (D, "SOA"): SOA,
        (D, "NS"): ["ns1.example.test.", "ns2.example.test."],
        ("ns1.example.test", "A"): ["127.0.0.1"],
        ("ns2.example.test", "A"): ["127.0.0.2"],
        (D, "MX"): ["10 mx1.example.test.", "20 mx2.example.test."],
        ("mx1.example.test", "A"): ["198.51.100.25"],
        ("mx2.example.test", "A"): ["198.51.100.26"],
        (D, "TXT"): [
            "v=spf1 mx include:_spf.provider.test -all",
            "site-verification=1",
        ],
        ("_spf.provider.test", "TXT"): ["v=spf1 ip4:203.0.113.0/24 ip6:2001:db8:ff::/48 ~all"],
        ("s1._domainkey.example.test", "TXT"): ["v=DKIM1; k=rsa; p={2048}"],
        ("_dmarc.example.test", "TXT"): [
            "v=DMARC1; p=reject; rua=mailto:dmarc@example.test,mailto:d@reports.test"
        ],
        ("example.test._report._dmarc.reports.test", "TXT"): ["v=DMARC1"],
        ("reports.test", "MX"): ["10 mx.reports.test."],
        ("_mta-sts.example.test", "TXT"): ["v=STSv1; id=20260101"],
        ("mta-sts.example.test", "A"): ["198.51.100.80"],
        ("_smtp._tls.example.test", "TXT"): ["v=TLSRPTv1; rua=mailto:tls@example.test"],
        ("_25._tcp.mx1.example.test", "TLSA"): ["3 1 1 " + "ab" * 32],
        ("_25._tcp.mx2.example.test", "TLSA"): ["2 0 2 " + "cd" * 64],
        ("default._bimi.example.test", "TXT"): ["v=BIMI1; l=https://example.test/logo.svg"],
    }


def settings(**changes: Any) -> dict[str, Any]:
    """A check of that domain; `spf__senders=…` changes a setting inside a group."""
    base: dict[str, Any] = {
        "domain": D,
        "spf": {
            "senders": [
                {"name": "primary", "host": "mx1.example.test"},
                {"name": "provider", "ip": "203.0.113.9", "helo": "out.provider.test"},
            ]
        },
        "dkim": {
            "selectors": [
                {"selector": "s1", "public_key_sha256": hashlib.sha256(rsa_key(2048)).hexdigest()}
            ]
        },
        "dmarc": {},
    }
    for key, value in changes.items():
        group, _, name = key.partition("__")
        if name:
            base[group] = {**(base.get(group) or {}), name: value}
        else:
            base[group] = value
    return base


class World:
    """The domain, and how to ask about it."""

    domain = D
    good = staticmethod(good)
    settings = staticmethod(settings)
    zone = staticmethod(as_zone)

    async def ask(
        self,
        *servers: DnsServer,
        memory: Any = None,
        dns_port: int = 53,
        timeout: float = 5,
        **changes: Any,
    ) -> Result:
        """Run the check once through these servers, each a resolver of its own."""
        resolver = Resolver([server.server for server in servers], hosts=None)
        network = Network(resolver, dns_port=dns_port)
        probe = EmailAuthProbe.model_validate(settings(**changes))
        async with no_leaks():
            return await execute(probe, network=network, timeout=timeout, memory=memory)

    async def after(self, changes: Zone, *, faults: Any = None, **more: Any) -> Result:
        """What comes of the good domain with some of its records changed."""
        async with dns_server(as_zone({**good(), **changes}), faults=faults) as server:
            return await self.ask(server, **more)


@pytest.fixture
def world() -> World:
    return World()
