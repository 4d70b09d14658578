"""Host names, addresses, URLs, unix sockets, and text that is never shown."""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from probed.text.redact import MASK

_HOSTNAME = r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z"


class _Text:
    """A setting that is written as one string."""

    _example = ""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        def validate(value: object) -> object:
            if isinstance(value, cls):
                return value
            if not isinstance(value, str):
                raise PydanticCustomError("text", f"write it as text, such as {cls._example}")
            return cls.parse(value)

        return core_schema.no_info_plain_validator_function(
            validate,
            serialization=core_schema.to_string_ser_schema(),
            json_schema_input_schema=core_schema.str_schema(),
        )

    @classmethod
    def parse(cls, value: str) -> Any:
        raise NotImplementedError


def check_host(host: str) -> str:
    """Return the host as it is dialed, IDNA-encoded. Raises PydanticCustomError if it is none."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    try:
        name = bare if bare.isascii() else bare.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not re.match(_HOSTNAME, name):
        raise PydanticCustomError("host", "not a host name or an IP address")
    return name.lower()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a validated address: `127.0.0.1:9610` or `[::1]:9610`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    host, _ = split_address(address)
    return host == "localhost" or (
        (host[-1:].isdigit() or ":" in host) and ip_address(host).is_loopback
    )


class HostPort(_Text):
    """`host:port`, `192.0.2.1:25` or `[2001:db8::1]:443`."""

    __slots__ = ("host", "port")
    _example = "mail.example.com:25"

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @classmethod
    def parse(cls, value: str) -> HostPort:
        host, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
            raise PydanticCustomError(
                "host_port", "write host:port with a port from 1 to 65535, such as " + cls._example
            )
        if ":" in host and not host.startswith("["):
            raise PydanticCustomError("host_port", "write an IPv6 address as [2001:db8::1]:port")
        return cls(check_host(host), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"HostPort({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostPort) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class Private(_Text):
    """Text that is written in the file, and shown nowhere: a user name, a mail address.

    As text it is masked, but for the domain of an address. Who needs it itself takes `text`.
    """

    __slots__ = ("text",)
    _example = "me@example.com"

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, value: str) -> Private:
        if not 0 < len(value) <= 256 or any(c < " " or c == "\x7f" for c in value):
            raise PydanticCustomError(
                "private", "write 1 to 256 characters, none of them a control character"
            )
        return cls(value)

    @property
    def domain(self) -> str:
        """Return the part after the last @; empty if there is none."""
        return self.text.rpartition("@")[2] if "@" in self.text else ""

    def __str__(self) -> str:
        return MASK + (f"@{self.domain}" if self.domain else "")

    def __repr__(self) -> str:
        return f"Private({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Private) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class Url(_Text, str):  # noqa: SLOT000  # what follows from the text is kept beside it
    """An `http` or `https` URL without user information.

    The text is what was written and may hold secrets in its query; `repr` does not show them.
    """

    _example = "https://api.example.com/health"

    def __repr__(self) -> str:
        from probed.text.redact import redact_url  # noqa: PLC0415  # only for people

        return f"Url({redact_url(self)!r})"

    @classmethod
    def parse(cls, value: str) -> Url:
        if not value.isascii() or any(c <= " " or c == "\x7f" for c in value):
            raise PydanticCustomError(
                "url",
                "write the URL with percent-encoding: it holds a character that may not stand in one",
            )
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise PydanticCustomError(
                "url", "not a URL; write one such as " + cls._example
            ) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise PydanticCustomError(
                "url", "write an http:// or https:// URL such as " + cls._example
            )
        if "@" in parts.netloc:
            raise PydanticCustomError(
                "url", "no user or password in a URL; write them as a header: "
                "headers: {Authorization: {env: NAME}}")  # fmt: skip
        if port == 0:
            raise PydanticCustomError("url", "the port must be from 1 to 65535")
        check_host(parts.hostname)
        return cls(value)

    @cached_property
    def _parts(self) -> Any:
        return urlsplit(self)

    @cached_property
    def secure(self) -> bool:
        return bool(self._parts.scheme == "https")

    @cached_property
    def host(self) -> str:
        return check_host(self._parts.hostname)

    @cached_property
    def port(self) -> int:
        return self._parts.port or (443 if self.secure else 80)

    @property
    def authority(self) -> str:
        """The `Host` header's value: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def path_and_query(self) -> str:
        return (self._parts.path or "/") + ("?" + self._parts.query if self._parts.query else "")


TARGETS = (HostPort, Url)
"""Types whose first field in a probe is its target."""


def _unix_path(path: Path) -> Path:
    if len(str(path).encode(errors="surrogateescape")) > 107 or "\0" in str(path):
        raise PydanticCustomError("unix", "the path of a unix socket has at most 107 bytes")
    return path


UnixSocket = Annotated[Path, AfterValidator(_unix_path)]
"""The path of a unix socket."""
