"""The telemetry listener: what scrapers and orchestrators ask for, and nothing that names a peer's
secret or changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from probed.web.pace import Pacer

Scrape = Callable[[str], tuple[str, Iterable[bytes]]]
"""Returns content type and chunks of the answer for an Accept header."""
Health = Callable[[], str | None]
"""Returns None if all is well, else what is wrong."""


def telemetry_app(scrape: Scrape, live: Health, ready: Health) -> Starlette:
    """Return `/metrics` in the requested format, `/livez` and `/readyz` as 200 or 503 with a sentence."""
    pacer = Pacer()

    async def metrics(request: Request) -> Response:
        content_type, chunks = scrape(request.headers.get("accept", ""))
        return StreamingResponse(pacer.pieces(chunks), headers={"content-type": content_type})

    async def livez(_: Request) -> Response:
        return _told(live())

    async def readyz(_: Request) -> Response:
        return _told(ready())

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/livez", livez),
            Route("/readyz", readyz),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)],
    )


def _told(problem: str | None) -> Response:
    return PlainTextResponse(f"{problem or 'ok'}\n", status_code=503 if problem else 200)
