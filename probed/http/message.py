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

_HOP_BY_HOP = {
    "connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
}  # fmt: skip
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Request:
    """A request, built once and sent many times.

    `headers` override the default ones. With `http2`, the request uses HTTP/2: negotiated by ALPN
    over TLS, with prior knowledge in the clear. `uds` is the unix socket to connect to. Raises
    ValueError for a header that cannot be sent.
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
    """Yield the headers in HTTP/2 form (RFC 9113 section 8.2), `:authority` first."""
    yield b":authority", fields["host"][1].encode("latin-1")
    for name, (_, value) in fields.items():
        if name not in _HOP_BY_HOP:
            yield name.encode("latin-1"), value.encode("latin-1")


def check_header(name: str, value: str) -> str:
    """Return the value, stripped. Raises ValueError where the header cannot be sent (RFC 9110
    section 5).
    """
    if not name or not _TOKEN.issuperset(name):
        raise ValueError(f"{name!r} is not a valid header name")
    if any((c < " " and c != "\t") or c == "\x7f" or c > "\xff" for c in value):
        raise ValueError(f"the value of the header {name} contains a character that cannot be sent")
    return value.strip(" \t")


@dataclass(slots=True)
class Response:
    """A response. `body` is decoded and at most `body_limit` bytes long; `truncated` is set when the
    peer sent more. `undecoded` names a content encoding that could not be decoded; the body is empty
    then. `wait_s` is the time in seconds from the end of the request to the last header.
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
        """Return the first header with this lower-case name. The text comes from the peer."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


def record_head(recorder: Recorder, response: Response, wait_s: float) -> None:
    """Record the facts that are known once the headers have arrived."""
    response.wait_s = wait_s
    recorder.fact("http.response.status_code", response.status)
    recorder.fact("network.protocol.name", "http")
    recorder.fact("network.protocol.version", response.version)


def decode(response: Response, body: bytes, limit: int) -> None:
    """Decode the body, up to `limit` bytes: a peer may encode it although identity was requested."""
    encoding = (response.header("content-encoding") or "identity").strip().lower()
    if encoding in {"identity", ""} or not body:
        response.body = body
        return
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        response.undecoded = encoding
        return
    # 32 + 15: zlib detects gzip and zlib by their headers.
    inflater = zlib.decompressobj(47)
    try:
        response.body = inflater.decompress(body, limit)
    except zlib.error:
        response.undecoded = encoding
        return
    if inflater.unconsumed_tail:
        response.truncated = True
    elif not inflater.eof and not response.truncated:
        response.undecoded, response.body = encoding, b""  # cut off: who knows what it was to say
