"""The JSON API: read-only, for scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from probed.engine.history import CheckHistory, History
from probed.model import Result
from probed.web.access import Access, Reading

Document = Callable[[Result], Mapping[str, Any]]
"""How a result is written as JSON."""

_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
}


def api_app(
    history: History,
    document: Document,
    status: Callable[[], Mapping[str, Any]],
    allowed_hosts: Sequence[str],
    access: Access,
    more: Sequence[Route] = (),
) -> Starlette:
    """`/api/v1/status`, `/api/v1/checks`, `/api/v1/checks/NAME`, and `more`, for those who may read.

    Requests for another host than those allowed are refused: a page that a browser loaded from
    elsewhere must not read this through DNS rebinding.
    """

    def answer(content: Any, code: int = 200) -> Response:
        return JSONResponse(content, status_code=code, headers=_HEADERS)

    async def get_status(_: Request) -> Response:
        return answer(dict(status()))

    async def get_checks(_: Request) -> Response:
        return answer({"checks": [_brief(h, document) for h in history.checks.values()]})

    async def get_check(request: Request) -> Response:
        found = history.checks.get(request.path_params["name"])
        if found is None:
            return answer({"error": "there is no check of that name"}, 404)
        return answer(_whole(found, document))

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


def _brief(history: CheckHistory, document: Document) -> dict[str, Any]:
    state, check, last = history.state, history.check, history.last
    return {
        "check": check.name,
        "probe": check.probe.kind,
        "target": check.probe.target,
        "enabled": check.enabled,
        "verdict": state.verdict.value,
        "since": state.since or None,
        "consecutive_failures": state.failed_streak,
        "flapping": state.flapping,
        "held_by": list(history.held_by),
        "last_run": state.last_run,
        "last_success": state.last_success,
        "last": None if last is None else document(last),
    }


def _whole(history: CheckHistory, document: Document) -> dict[str, Any]:
    failed = history.last_not_ok
    return _brief(history, document) | {
        "last_not_ok": None if failed is None else document(failed),
        "recent": [
            {
                "started_at": past.started_at,
                "duration_s": round(past.duration_s, 6),
                "outcome": past.outcome.value,
                "reason": past.reason,
                "trace_id": past.trace_id,
            }
            for past in history.past
        ],
        "transitions": [
            change._asdict() | {"old": change.old.value, "new": change.new.value}
            for change in history.transitions
        ],
    }
