"""The settings of the email_auth kind."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from probed import HostPort, Settings
from probed.mail import SpfResult, SpfSyntaxError, is_domain, parse_spf
from probes.email_auth.policy import parse_dmarc

T = TypeVar("T")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


def _domain(value: str) -> str:
    name = value.lower().removesuffix(".")
    if not name.isascii() or any(c <= " " or c == "\x7f" for c in name) or not is_domain(name):
        raise ValueError("write a domain of at least two labels, such as example.com")
    return name


Domain = Annotated[str, AfterValidator(_domain)]
"""A domain, in lower case and without its last dot."""


def _server(value: object) -> object:
    """An address alone is one at port 53."""
    if isinstance(value, str):
        try:
            version = ip_address(value).version
        except ValueError:
            return value
        return f"[{value}]:53" if version == 6 else f"{value}:53"
    return value


Server = Annotated[HostPort, BeforeValidator(_server)]
"""A name server: its address, with its port where that is not 53."""


class NameServer(Settings):
    """A resolver to look up through."""

    hints: ClassVar[Mapping[str, str]] = {
        "port": 'write the port in `address`, such as "192.0.2.53:5353"',
        "host": "write `address`, with the IP address of the name server",
    }

    name: Name
    """Name in findings and measures."""
    address: Server
    """Its address, `192.0.2.53` or `192.0.2.53:5353`."""

    @field_validator("address")
    @classmethod
    def _literal(cls, address: HostPort) -> HostPort:
        return at_an_address(address)


def at_an_address(server: HostPort) -> HostPort:
    try:
        ip_address(server.host)
    except ValueError:
        raise ValueError("write the name server's IP address, not a name") from None
    return server


class Sender(Settings):
    """A host that sends, and what SPF must come to for it."""

    name: Name
    """Name in findings and measures."""
    ip: str | None = None
    """Its address."""
    host: Domain | None = None
    """Its name, in place of the address: each of its addresses is judged."""
    helo: str | None = Field(default=None, max_length=253)
    """Name that it gives in HELO; by default the envelope's domain."""
    expect: Annotated[tuple[SpfResult, ...], Field(min_length=1)] = (SpfResult.PASS,)
    """Acceptable SPF results."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.ip is None) is (self.host is None):
            raise ValueError("write either ip or host")
        if self.ip is not None:
            ip_address(self.ip)
        return self


class Spf(Settings):
    """Requirements for SPF."""

    envelope_domain: Domain | None = None
    """The domain of the envelope's sender; `domain` by default."""
    senders: Annotated[tuple[Sender, ...], Field(max_length=10)] = ()
    """Hosts that send, and strangers beside the two that are always judged."""
    expect_record: Annotated[str, Field(max_length=16384)] | None = None
    """The record as it should be; another one is `dns.drift`."""
    warn_terms: Annotated[int, Field(ge=1, le=10)] = 9
    """So many lookups and more are `spf.near_limit`."""

    @field_validator("expect_record")
    @classmethod
    def _is_record(cls, text: str | None) -> str | None:
        if text is not None:
            if not text.lower().startswith("v=spf1"):
                raise ValueError("an SPF record begins with v=spf1")
            try:
                parse_spf(text)
            except SpfSyntaxError as error:
                raise ValueError(f"not an SPF record: {error}") from None
        return text

    @field_validator("senders")
    @classmethod
    def _told_apart(cls, senders: tuple[Sender, ...]) -> tuple[Sender, ...]:
        return unique(senders, [sender.name for sender in senders])


class Selector(Settings):
    """A DKIM selector, and what must stand there."""

    selector: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_])?$")]
    """The selector, `s=` of a signature."""
    min_bits: Annotated[int, Field(ge=1024, le=16384)] = 2048
    """An RSA key of fewer bits is degraded, below 1024 failed."""
    public_key_sha256: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{64}$")] | None = None
    """SHA-256 of the decoded `p=`, in hexadecimal."""
    expect: Literal["present", "revoked", "absent"] = "present"
    """Whether there must be a key, a revoked one, or none."""


class Dkim(Settings):
    """Requirements for DKIM."""

    d: Domain | None = None
    """The signing domain, `d=` of a signature; `domain` by default."""
    selectors: Annotated[tuple[Selector, ...], Field(max_length=20)] = ()
    """The selectors that are in use, or were."""

    @field_validator("selectors")
    @classmethod
    def _told_apart(cls, selectors: tuple[Selector, ...]) -> tuple[Selector, ...]:
        return unique(selectors, [one.selector.lower() for one in selectors])


class Dmarc(Settings):
    """Requirements for DMARC."""

    min_policy: Literal["none", "quarantine", "reject"] = "quarantine"
    """A weaker policy is degraded."""
    expect_record: Annotated[str, Field(max_length=16384)] | None = None
    """The record as it should be; another one is `dns.drift`."""
    check_report_authorization: bool = True
    """Ask whether those that get reports have agreed to, and take mail."""
    subdomains: Annotated[tuple[Domain, ...], Field(max_length=10)] = ()
    """Names below whose policy is judged too."""

    @field_validator("expect_record")
    @classmethod
    def _is_record(cls, text: str | None) -> str | None:
        if text is not None and parse_dmarc(text.encode()) is None:
            raise ValueError("a DMARC record begins with v=DMARC1")
        return text


class Extras(Settings):
    """Other records of mail, each judged where it is asked for."""

    mx: bool = True
    """The mail servers, and that they have addresses."""
    mta_sts: bool = False
    """The MTA-STS record (RFC 8461), and that its host has an address."""
    tls_rpt: bool = False
    """The TLS-RPT record (RFC 8460)."""
    tlsa: bool = False
    """TLSA records of each mail server (RFC 7672)."""
    bimi: bool = False
    """The BIMI record of the selector `default`."""
    require_ad: bool = False
    """Answers must be validated by DNSSEC: a resolver that does so must be asked."""


def unique(items: tuple[T, ...], names: list[str]) -> tuple[T, ...]:
    if len(set(names)) < len(names):
        raise ValueError("two of them have the same name")
    return items
