"""Types of settings: durations, sizes, addresses, URLs, patterns, thresholds and TLS."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from probed.model import Outcome
from probed.net import IdentityError, TlsOptions, check_identity
from probed.text.redact import MASK

_DURATION = r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = r"(\d+)\s*(B|KiB|MiB|GiB|kB|MB|GB)?\Z"
_BYTES = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
          "kB": 10**3, "MB": 10**6, "GB": 10**9}  # fmt: skip
_HOSTNAME = r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z"


def parse_duration(value: object) -> float:
    """Return the seconds of `500ms`, `30s`, `1m30s`, `2h`, `21d`."""
    if isinstance(value, str) and value:
        parts = re.findall(_DURATION, value)
        if "".join(number + unit for number, unit in parts) == value:
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if isinstance(value, float):
        return value  # a default of the class: a plain number in a file arrives as int or text
    raise PydanticCustomError(
        "duration", "write a duration with its unit, such as 500ms, 30s or 5m"
    )


def parse_size(value: object) -> int:
    """Return the bytes of `65536`, `64KiB`, `1MiB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.match(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("size", "write a size such as 65536, 64KiB or 1MiB")
    return int(match[1]) * _BYTES[match[2]]


def format_duration(seconds: float) -> str:
    """Return the shortest form of a duration: `1m30s` for `90.0`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    text, left = "", seconds
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if left >= length:
            text += f"{int(left // length)}{unit}"
            left -= left // length * length
    return text + (f"{left:g}s" if left or not text else "")


def format_size(size: int) -> str | int:
    """Return the shortest form of a size: `64KiB` for `65536`, `65537` for itself."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and not size % _BYTES[unit]:
            return f"{size // _BYTES[unit]}{unit}"
    return size


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$",
                    "description": "A duration such as 500ms, 30s, 5m."}),
]  # fmt: skip
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 0,
                    "pattern": r"^\d+\s*(B|KiB|MiB|GiB|kB|MB|GB)?$"}),
]  # fmt: skip


def _compile(value: object) -> object:
    if isinstance(value, str):
        try:
            return re.compile(value.encode())
        except re.error as error:
            raise PydanticCustomError(
                "pattern", "not a regular expression: {why}", {"why": str(error)}
            ) from None
    return value


Pattern = Annotated[
    re.Pattern[bytes],
    BeforeValidator(_compile),
    WithJsonSchema({"type": "string", "format": "regex"}),
]
"""A regular expression over the bytes that a peer sends."""


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


class Settings(BaseModel):
    """A group of settings inside a probe's: frozen, unknown keys refused.

    As a default, `Group.model_construct()` is what `Group()` is, and builds no validator.
    `hints` gives, by unknown keys that people write, what to write instead.
    """

    hints: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


AddressChoice = Literal["any", "ipv4", "ipv6", "both"]
"""Over which addresses to ask: the first that connects, those of one family, or each family."""


Direction = Literal["above", "at_least", "below"]
"""When a threshold is crossed: by a greater value, an equal or greater one, or a smaller one."""
_CROSSED: Mapping[Direction, Callable[[float, float], bool]] = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
}


class Thresholds(Settings):
    """Two thresholds of one number, each of which may be null: that level is never found.

    A subclass states the `direction`, and in its fields the type of the number and the defaults.
    """

    direction: ClassVar[Direction] = "above"
    hints: ClassVar[Mapping[str, str]] = {
        "degraded_above": "write `degraded`",
        "failed_above": "write `failed`",
    }

    degraded: float | None = None
    """More than this is `degraded`; null disables it."""
    failed: float | None = None
    """More than this is `failed`; null disables it."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        written = self.model_fields_set
        if "degraded" in written and self.degraded is not None and self.failed is not None:
            below = self.direction == "below"
            if self.failed > self.degraded if below else self.failed < self.degraded:
                default = "" if "failed" in written else ", and its default is"
                raise ValueError(
                    f"failed must not be {'more' if below else 'less'} than degraded{default}"
                )
        return self

    def crossed(self, value: float) -> tuple[Outcome, float] | None:
        """Return the worst level that the value reaches, and its threshold; None if none."""
        beyond = _CROSSED[self.direction]
        if self.failed is not None and beyond(value, self.failed):
            return Outcome.FAILED, self.failed
        if self.degraded is not None and beyond(value, self.degraded):
            return Outcome.DEGRADED, self.degraded
        return None


class CertificateAge(Thresholds):
    """How long a certificate must remain valid."""

    direction: ClassVar[Direction] = "below"

    degraded: Duration | None = 21 * 86400.0
    """Less time left than this is `degraded`; null disables it."""
    failed: Duration | None = 3 * 86400.0
    """Less time left than this is `failed`; null disables it."""


class Latency(Thresholds):
    """How long something may take."""

    degraded: Duration | None = None
    failed: Duration | None = None


PathOrSecret = Annotated[Path | SecretStr, Field(union_mode="left_to_right")]
"""A file, or where the secret is that it would hold."""


def _unix_path(path: Path) -> Path:
    if len(str(path).encode(errors="surrogateescape")) > 107 or "\0" in str(path):
        raise PydanticCustomError("unix", "the path of a unix socket has at most 107 bytes")
    return path


UnixSocket = Annotated[Path, AfterValidator(_unix_path)]
"""The path of a unix socket."""


class Tls(Settings):
    """Verification of the peer's certificate, and a client certificate."""

    verify: bool = True
    """Refuse a certificate that is not trusted or is for another name."""
    ca: Path | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""
    server_name: str | None = None
    """Name for SNI and verification, if it differs from the host."""

    certificate: Path | None = None
    """PEM file of the client certificate, followed by its chain."""
    key: PathOrSecret | None = None
    """PEM file of the key of `certificate`, or the key as a secret, if it is not in the same file."""
    password: SecretStr | None = None
    """The password of the key."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.certificate is None:
            if self.key is not None or self.password is not None:
                raise ValueError("write the `certificate` that the key is of")
            return self
        try:
            check_identity(str(self.certificate), self._key, self.password)
        except IdentityError as error:
            if not error.setting:
                raise
            kind = PydanticCustomError("identity", "{why}", {"why": str(error)})
            detail = InitErrorDetails(type=kind, loc=(error.setting,), input="")
            raise ValidationError.from_exception_data("Tls", [detail]) from None
        return self

    @property
    def _key(self) -> str | SecretStr | None:
        return str(self.key) if isinstance(self.key, Path) else self.key

    @cached_property
    def options(self) -> TlsOptions:
        return TlsOptions(
            verify=self.verify,
            ca=None if self.ca is None else str(self.ca),
            certificate=None if self.certificate is None else str(self.certificate),
            key=self._key,
            password=self.password,
        )
