"""The JSON API: read-only, for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from probed.engine.documents import check_document, history_document
from probed.web.access import Access, Reading
from probed.web.daemon import Daemon

_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
}


def api_app(
    daemon: Daemon,
    allowed_hosts: Sequence[str],
    access: Access,
    more: Sequence[Route] = (),
) -> Starlette:
    """Return `/api/v1/status`, `/api/v1/checks`, `/api/v1/checks/NAME`, and `more`, for those who may read.

    Requests for another host than those allowed are refused: a page that a browser loaded from
    elsewhere must not read this through DNS rebinding.
    """

    def answer(content: Any, code: int = 200) -> Response:
        return JSONResponse(content, status_code=code, headers=_HEADERS)

    async def get_status(_: Request) -> Response:
        return answer(dict(daemon.status()))

    async def get_checks(_: Request) -> Response:
        return answer({"checks": [check_document(e) for e in daemon.history.checks.values()]})

    async def get_check(request: Request) -> Response:
        name = request.path_params["name"]
        transitions = await daemon.transitions(name)
        found = daemon.history.checks.get(name)
        if found is None:
            return answer({"error": "no such check"}, 404)
        return answer(history_document(found, transitions))

    return Starlette(
        routes=[
            Route("/api/v1/status", get_status),
            Route("/api/v1/checks", get_checks),
            Route("/api/v1/checks/{name:path}", get_check),
            *more,
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False
            ),
            Middleware(Reading, access=access),
        ],
    )
