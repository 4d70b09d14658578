"""Request and response, as both versions of HTTP use them (RFC 9110)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from probed.fields import Tls, Url
from probed.record import Recorder
from probed.text.redact import SecretStr, redact_url
from probed.version import __version__

BODY_LIMIT = 1 << 20
HEADER_LIMIT = 64 * 1024
"""Bytes of status line and headers, informational responses included."""
HEADER_COUNT = 200
INFORMATIONAL_LIMIT = 8
USER_AGENT = f"probed/{__version__} (synthetic probe)"

_OF_A_CONNECTION = {
    "connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
}  # fmt: skip
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Request:
    """A request, written once and sent many times.

    `headers` replace the ones that are sent by default. With `http2` it goes over HTTP/2: over TLS
    if the peer agrees, in clear without asking. `uds` is the unix socket to connect to. Raises ValueError for a header that cannot be sent.
    """

    __slots__ = ("body", "fields", "head", "headers", "http2", "method", "options", "settings",
                 "shown", "tls", "uds", "url")  # fmt: skip

    def __init__(
        self,
        url: Url,
        *,
        method: str = "GET",
        headers: Mapping[str, str | SecretStr] | None = None,
        body: bytes = b"",
        tls: Tls | None = None,
        http2: bool = False,
        uds: str | None = None,
    ) -> None:
        self.url = url
        self.method = method
        self.body = body
        self.headers = headers or {}
        self.settings = tls
        self.tls = (tls or Tls()) if url.secure else None
        self.options = None if self.tls is None else self.tls.options
        self.http2 = http2
        self.uds = uds
        self.fields: tuple[tuple[bytes, bytes], ...] = ()
        self.shown = redact_url(url)
        fields = {
            "host": ("Host", url.authority),
            "user-agent": ("User-Agent", USER_AGENT),
            "accept": ("Accept", "*/*"),
            "accept-encoding": ("Accept-Encoding", "identity"),
            "connection": ("Connection", "close"),
        }
        if body:
            fields["content-length"] = ("Content-Length", str(len(body)))
        for name, value in self.headers.items():
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            fields[name.lower()] = (name, check_header(name, text))
        if http2:
            import h2.connection  # noqa: PLC0415, F401  # 60 ms: load it here, outside every phase

            self.fields = tuple(_over_http2(fields))
            if self.options is not None:
                self.options = self.options._replace(alpn=("h2", "http/1.1"))
        lines = [f"{method} {url.path_and_query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.values()]
        self.head = ("\r\n".join(lines) + "\r\n").encode("latin-1")

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.shown!r})"


def _over_http2(fields: Mapping[str, tuple[str, str]]) -> Iterator[tuple[bytes, bytes]]:
    """The headers as HTTP/2 has them (RFC 9113 section 8.2), the authority first."""
    yield b":authority", fields["host"][1].encode("latin-1")
    for name, (_, value) in fields.items():
        if name not in _OF_A_CONNECTION:
            yield name.encode("latin-1"), value.encode("latin-1")


def check_header(name: str, value: str) -> str:
    """The value, if such a header can be sent (RFC 9110 section 5). Raises ValueError."""
    if not name or not _TOKEN.issuperset(name):
        raise ValueError(f"{name!r} is not a header name")
    if any((c < " " and c != "\t") or c == "\x7f" or c > "\xff" for c in value):
        raise ValueError(f"the value of the header {name} holds a character that cannot be sent")
    return value.strip(" \t")


@dataclass(slots=True)
class Response:
    """An answer. `body` is decoded and at most as long as the limit; `truncated` says that more was
    there. `undecoded` names an encoding that could not be undone: the body is empty then.
    `wait_s` is the time from the request's end to the last header.
    """

    status: int = 0
    version: str = "1.1"
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    body: bytes = b""
    size: int = 0
    truncated: bool = False
    undecoded: str | None = None
    wait_s: float = 0.0

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name: foreign text."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


def note(recorder: Recorder, response: Response, waited: float) -> None:
    """What is known when the head is there."""
    response.wait_s = waited
    recorder.fact("http.response.status_code", response.status)
    recorder.fact("network.protocol.name", "http")
    recorder.fact("network.protocol.version", response.version)


def decode(response: Response, body: bytes, limit: int) -> None:
    """Undo the content encoding, bounded: a peer may encode although we asked for identity."""
    encoding = (response.header("content-encoding") or "identity").strip().lower()
    if encoding in {"identity", ""} or not body:
        response.body = body
        return
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        response.undecoded = encoding
        return
    # 32 + 15: gzip and zlib are told apart by their headers.
    inflater = zlib.decompressobj(47)
    try:
        response.body = inflater.decompress(body, limit)
    except zlib.error:
        response.undecoded = encoding
        return
    response.truncated = response.truncated or bool(inflater.unconsumed_tail)
