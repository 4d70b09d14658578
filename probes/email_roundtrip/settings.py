"""The settings of the email_roundtrip kind."""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from probed import Duration, HostPort, Private, SecretStr, Settings, Thresholds

_PORTS = {"implicit": 993, "starttls": 143, "none": 143}
Result = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror", "policy"]


def _folder(name: str) -> str:
    if not name.isascii() or not name.isprintable():
        raise PydanticCustomError("folder", "write the name as IMAP does: printable ASCII")
    return name


Folder = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_folder)]


class Delivery(Thresholds):
    """How long the mail may take to arrive."""

    degraded: Duration | None = 15.0
    """Taking longer than this is `degraded`; null disables it."""
    failed: Duration = 60.0
    """A mail that has not arrived after this time is `failed`, or after what the `timeout` leaves."""


class Mailbox(Settings):
    """The mailbox that the mail arrives in, over IMAP."""

    host: str
    """The server's host name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port; by default 993 for `implicit`, else 143."""
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    """How TLS begins; `none` only on this machine."""
    mechanism: Literal["plain", "xoauth2"] = "plain"
    """The one mechanism that is used to log in."""
    username: Private
    """As whom; shown nowhere."""
    secret: SecretStr
    """The password, or the access token of `xoauth2`."""
    inbox: Folder = "INBOX"
    """The folder that mail should arrive in."""
    junk: Annotated[tuple[Folder, ...], Field(max_length=5)] = ("Junk",)
    """The folders in which to be found is `degraded`; those that are not there are passed over."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        host = self.address.host
        if self.tls == "none" and not _is_here(host):
            raise ValueError("to log in without TLS would show the secret: write tls: implicit")
        return self

    @cached_property
    def address(self) -> HostPort:
        host = f"[{self.host}]" if ":" in self.host and self.host[:1] != "[" else self.host
        found: HostPort = HostPort.parse(f"{host}:{self.port or _PORTS[self.tls]}")
        return found

    @property
    def login(self) -> str:
        """Return a key that identifies this login."""
        return f"{self.mechanism} {self.username.text} {self.secret.get_secret_value()}"


class Results(Settings):
    """Required authentication results of our mail (RFC 8601). Null is not judged."""

    authserv_id: Annotated[str, Field(min_length=1, max_length=253)]
    """The receiver's own name in `Authentication-Results`; others' are not believed."""
    spf: tuple[Result, ...] | None = ("pass",)
    """Acceptable SPF results."""
    dkim: tuple[Result, ...] | None = ("pass",)
    """Acceptable DKIM results; the best of all signatures counts."""
    dmarc: tuple[Result, ...] | None = ("pass",)
    """Acceptable DMARC results."""


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
