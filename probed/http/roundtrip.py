"""One request on a fresh connection: dial, send, read the response, close."""

from __future__ import annotations

from collections.abc import Callable

from probed.http import http1
from probed.http.message import BODY_LIMIT, Request, Response
from probed.net import AddressFamily, Network
from probed.record import Recorder


async def fetch(
    recorder: Recorder,
    network: Network,
    request: Request,
    *,
    extra: bytes = b"",
    body_limit: int = BODY_LIMIT,
    family: AddressFamily = "any",
    unread: Callable[[int], bool] | None = None,
) -> Response:
    """Send the request on a new connection and read the response.

    Phases `resolve, connect, [tls], request, wait, receive`. `extra` is header lines to add, each
    with its line end. Where `unread(status)` is true, the body is not read. Raises OSError,
    ssl.SSLError or ProbeError.
    """
    exchange = http1.exchange
    if request.http2:
        from probed.http.http2 import exchange  # noqa: PLC0415  # only HTTP/2 needs h2
    url = request.url
    recorder.fact("http.request.method", request.method)
    recorder.fact("url.full", request.shown)
    tls = request.tls
    stream = await network.dial(
        recorder,
        url.host,
        url.port,
        tls=request.options,
        server_name=None if tls is None else tls.server_name,
        family=family,
        uds=request.uds,
    )
    try:
        return await exchange(recorder, stream, request, extra, body_limit, unread)
    finally:
        stream.close()
