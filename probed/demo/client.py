"""HTTP client of the demo's peers, on probed's own engine."""

from __future__ import annotations

from collections.abc import Mapping

from probed import http
from probed.clock import SystemClock
from probed.fields import Url
from probed.http import Request
from probed.net import Network
from probed.record import Recorder
from probed.testing.webserver import Answer
from probed.text.redact import Redactor

BODY_LIMIT = 256 * 1024


async def fetch(
    url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Send a request to a peer of the demo. Raises OSError or ProbeError."""
    recorder = Recorder(SystemClock(), Redactor())
    request = Request(Url.parse(url), method=method, headers=dict(headers or {}), body=body)
    found = await http.fetch(recorder, Network(), request, body_limit=BODY_LIMIT)
    kind = found.header("content-type") or "application/octet-stream"
    return Answer(found.status, {"Content-Type": kind}, found.body)
