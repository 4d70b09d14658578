"""The JSON API: read-only, for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from probed.engine.documents import check_document, history_document
from probed.engine.history import CheckHistory
from probed.web.access import Access, Reading
from probed.web.daemon import Daemon
from probed.web.pace import Pacer

PIECE = 20
"""Checks whose documents are written at once."""
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
}


def api_app(
    daemon: Daemon,
    allowed_hosts: Sequence[str],
    access: Access,
    pacer: Pacer,
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
        return StreamingResponse(
            pacer.pieces(_all(list(daemon.history.checks.values()))),
            media_type="application/json",
            headers=_HEADERS,
        )

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


def _all(entries: Sequence[CheckHistory]) -> Iterator[bytes]:
    """Yield the document of all checks in pieces: it is never in memory as a whole."""
    before = '{"checks":['
    for start in range(0, len(entries), PIECE):
        documents = map(check_document, entries[start : start + PIECE])
        yield (before + ",".join(map(_written, documents))).encode()
        before = ","
    yield f"{'' if entries else before}]}}".encode()


def _written(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
