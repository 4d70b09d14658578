"""The demo's name server for the zone `demo.test`, with its mail records."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import ClassVar

from anyio import to_thread
from anyio.abc import TaskGroup
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from probed.demo.peer import Check, DemoPeer, Setting
from probed.testing.nameserver import DnsServer

DOMAIN = "demo.test"
BACKUP = "198.51.100.26"
"""Address from which the backup relay sends mail."""
_Records = dict[tuple[str, str], list[str]]
_KEY = f"mail._domainkey.{DOMAIN}", "TXT"
_POLICY = f"_dmarc.{DOMAIN}", "TXT"
_ZONE: _Records = {
    (DOMAIN, "SOA"): [f"ns.{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 60"],
    (DOMAIN, "NS"): [f"ns.{DOMAIN}."],
    (DOMAIN, "A"): ["192.0.2.10"],
    (DOMAIN, "AAAA"): ["2001:db8::10"],
    (DOMAIN, "MX"): [f"10 mail.{DOMAIN}."],
    (DOMAIN, "TXT"): [f'"v=spf1 mx include:_spf.{DOMAIN} -all"'],
    (f"ns.{DOMAIN}", "A"): ["127.0.0.1"],
    (f"mail.{DOMAIN}", "A"): ["192.0.2.25"],
    (f"_spf.{DOMAIN}", "TXT"): [f'"v=spf1 include:_spf1.{DOMAIN} include:_spf2.{DOMAIN} ~all"'],
    (f"_spf1.{DOMAIN}", "TXT"): ['"v=spf1 ip4:198.51.100.0/24 ~all"'],
    (f"_spf2.{DOMAIN}", "TXT"): ['"v=spf1 ip4:203.0.113.0/25 ip6:2001:db8:25::/48 ~all"'],
    _POLICY: [f'"v=DMARC1; p=reject; rua=mailto:dmarc@{DOMAIN}"'],
}
_SPF: _Records = {
    (DOMAIN, "TXT"): [
        f'"v=spf1 mx include:_spf.{DOMAIN} include:_news.{DOMAIN} include:_shop.{DOMAIN} -all"'
    ],
    (f"_news.{DOMAIN}", "TXT"): [f'"v=spf1 a:mail.{DOMAIN} mx include:_spf2.{DOMAIN} ~all"'],
    (f"_shop.{DOMAIN}", "TXT"): [f'"v=spf1 mx:{DOMAIN} include:_spf.{DOMAIN} ~all"'],
}


class Names(DemoPeer):
    """An authoritative name server for `demo.test`, over UDP and TCP (RFC 1035)."""

    breaks: ClassVar[Mapping[str, str]] = {
        "spf": "two services were added to the SPF record, which now takes too many lookups",
        "dkim": "the DKIM key in DNS was replaced, and the mail servers still sign with the old one",
        "dmarc": "somebody added a second DMARC record, so receivers obey neither",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._server = DnsServer(_ZONE)

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        key, other = await to_thread.run_sync(_keys)
        self._digest = hashlib.sha256(key).hexdigest()
        self._selector: _Records = {_KEY: [_published(key)]}
        self._changes: dict[str, _Records] = {
            "spf": _SPF,
            "dkim": {_KEY: [_published(other)]},
            "dmarc": {_POLICY: [*_ZONE[_POLICY], '"v=DMARC1; p=none"']},
        }
        self._publish()
        await self.serve(self._server)
        self.setting.urls["dns"] = f"udp://{self._server.address}"

    async def break_(self, name: str) -> None:
        await super().break_(name)
        self._publish()

    async def mend(self, name: str) -> None:
        await super().mend(name)
        self._publish()

    def _publish(self) -> None:
        self._server.zone = {**_ZONE, **self._selector}
        for name in self.broken:
            self._server.zone |= self._changes[name]

    def checks(self) -> list[Check]:
        server = str(self._server.address)
        return [
            {
                "name": "names",
                "probe": "dns",
                "query": DOMAIN,
                "type": "A",
                "server": server,
                "expect": ["192.0.2.10"],
            },
            {
                "name": "mail-auth",
                "probe": "email_auth",
                "domain": DOMAIN,
                "resolvers": [{"name": "demo", "address": server}],
                "authoritative": [server],
                "spf": {
                    "senders": [
                        {"name": "primary", "host": f"mail.{DOMAIN}"},
                        {"name": "backup", "ip": BACKUP},
                    ]
                },
                "dkim": {"selectors": [{"selector": "mail", "public_key_sha256": self._digest}]},
                "severity": "P1",
            },
        ]


def _keys() -> tuple[bytes, bytes]:
    """Return two public keys in DER."""
    one, two = (
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for _ in range(2)
    )
    return one, two


def _published(key: bytes) -> str:
    """Return a DKIM record (RFC 6376, 3.6.1) for a zone file, in strings of at most 255 bytes."""
    text = f"v=DKIM1; k=rsa; p={base64.b64encode(key).decode()}"
    return " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
