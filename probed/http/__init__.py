"""HTTP over the one dialer: exact phases, a bound on every read, one request a connection."""

from probed.http.message import BODY_LIMIT, Request, Response, check_header
from probed.http.roundtrip import fetch

__all__ = [
    "BODY_LIMIT", "Request", "Response", "check_header", "fetch",
]  # fmt: skip
