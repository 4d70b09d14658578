"""The settings of the smtp kind."""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from probed import Duration, HostPort, Private, SecretStr, Settings, Tls
from probed.mail.smtp import Login

_MAILBOX = re.compile(r"[\x21-\x7e]{1,64}@[A-Za-z0-9.\[\]:_-]{1,190}\Z")
_HELO = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,252}|\[[0-9A-Za-z.:]{2,60}\])\Z")
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,40}\Z")
PORTS = {"starttls": 587, "implicit": 465, "none": 25}


def _mailbox(address: Private) -> Private:
    if not _MAILBOX.match(address.text) or any(sign in address.text for sign in '<>()," '):
        raise PydanticCustomError("mailbox", "write a plain mail address, such as me@example.com")
    return address


def _helo(name: str) -> str:
    if not _HELO.match(name):
        raise PydanticCustomError(
            "helo", "write a host name, such as probe.example.com, or an address as [192.0.2.1]"
        )
    return name


def _extension(name: str) -> str:
    if not _EXTENSION.match(name):
        raise PydanticCustomError("extension", "write an EHLO keyword, such as size or 8bitmime")
    return name.lower()


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise PydanticCustomError("address", "write an IP address") from None


Sender = Annotated[str, AfterValidator(_address)]
Mailbox = Annotated[Private, AfterValidator(_mailbox)]
Helo = Annotated[str, AfterValidator(_helo)]
Extension = Annotated[str, AfterValidator(_extension)]
Expected = Literal["ok", "deferred", "unknown", "denied", "rejected"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Auth(Settings):
    """How to log in: once, by one mechanism, and never over a connection without TLS."""

    mechanism: Literal["plain", "login", "cram-md5", "xoauth2"] = "plain"
    """The one mechanism that is used; no other is tried."""
    username: Private
    """As whom; shown nowhere."""
    secret: SecretStr
    """The password, or the access token of `xoauth2`."""

    @property
    def login(self) -> Login:
        """Return the login for the dialogue."""
        return Login(self.mechanism, self.username.text, self.secret.get_secret_value())


class Relay(Settings):
    """One relay of the group."""

    name: Name
    """Name in phases, findings and measures."""
    role: Literal["primary", "backup"] | None = None
    """Role of the relay; by default the first is the primary, and the others are backups."""
    host: str
    """Its host name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port; by default 587 for `starttls`, 465 for `implicit`, 25 for `none`."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """How TLS begins: by STARTTLS, which must be offered then, from the start, or not at all."""
    sends_from: Annotated[tuple[Sender, ...], Field(max_length=8)] = ()
    """The addresses that it sends mail on from, for SPF; by default the one that we connect to."""
    server_name: str | None = None
    """Name to ask for (SNI) and to verify, where it differs from the host."""
    auth: Auth | Literal["none"] | None = None
    """How to log in there, in place of the group's `auth`; `none`: not at all."""

    @model_validator(mode="after")
    def _dialable(self) -> Self:
        _ = self.address
        return self

    def auth_or(self, common: Auth | None) -> Auth | None:
        """How to log in there, where `common` is the group's way."""
        if self.auth == "none":
            return None
        return common if self.auth is None else self.auth

    @cached_property
    def address(self) -> HostPort:
        host = f"[{self.host}]" if ":" in self.host and self.host[:1] != "[" else self.host
        found: HostPort = HostPort.parse(f"{host}:{self.port or PORTS[self.tls]}")
        return found


class Spf(Settings):
    """SPF of the sender's domain: does it authorise the backups."""

    domain: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The sender's domain; by default that of `envelope.from`."""
    server: HostPort | None = None
    """The name server to ask, as `host:port`; by default those of this machine."""


class RelayTls(Tls):
    """How the relays' certificates are judged, and which one is shown to them."""

    min_version: Literal["1.2", "1.3"] = "1.2"
    """A TLS version older than this is `degraded`; older than 1.2 is refused."""


class Envelope(Settings):
    """Whom to name as sender and recipient. Nothing is sent: MAIL and RCPT, then RSET, never DATA."""

    sender: Mailbox = Field(alias="from")
    """The sender (MAIL FROM); its domain is shown, no more."""
    rcpt: Mailbox
    """The recipient (RCPT TO); its domain is shown, no more."""
    rcpt_expect: Annotated[tuple[Expected, ...], Field(min_length=1)] = ("ok",)
    """Acceptable replies to the recipient; `deferred` for a relay that greylists, `denied` to verify
    that a relay is not open.
    """


class Limits(Settings):
    """How long each step may take, at most; all of it may take the check's `timeout`."""

    connect: Duration = 5.0
    """To look the name up and to connect."""
    tls: Duration = 5.0
    """The TLS handshake."""
    banner: Duration = 10.0
    """Until the greeting has ended."""
    command: Duration = 5.0
    """Each command's answer."""
    auth: Duration = 15.0
    """To log in: many servers take their time over a wrong password."""


class Slow(Settings):
    """How long each step may take without being `degraded`; null switches it off."""

    connect: Duration | None = None
    """To look the name up and to connect."""
    tls: Duration | None = None
    """The TLS handshake."""
    banner: Duration | None = 5.0
    """Until the greeting has ended."""
    command: Duration | None = None
    """Each command's answer."""
    auth: Duration | None = None
    """To log in."""
