"""HTTP over the shared dialer: exact phases, bounded reads, one request per connection."""

from probed.http.message import BODY_LIMIT, Request, Response, check_header
from probed.http.roundtrip import fetch

__all__ = [
    "BODY_LIMIT", "Request", "Response", "check_header", "fetch",
]  # fmt: skip
