"""The routes of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from probed.engine.history import CheckHistory
from probed.web.access import CHALLENGE, Access, is_ours
from probed.web.daemon import Daemon
from probed.web.pace import Pacer, joined
from probed.web.page import details
from probed.web.page.assets import HEADERS
from probed.web.page.graphics import FAVICON, badge
from probed.web.page.layout import check_url, document
from probed.web.page.live import EventStream, Hub, Parts
from probed.web.page.markup import Child
from probed.web.page.overview import Filter, Overview, row_id

CHUNK = 1 << 15
"""Characters that are rendered before other tasks may run."""
RUN_SECONDS = 120.0


class Page:
    """The routes of the page. `hub` updates those that are open."""

    def __init__(self, daemon: Daemon, access: Access, hub: Hub, pacer: Pacer) -> None:
        self._daemon = daemon
        self._access = access
        self._hub = hub
        self._overview = Overview(daemon.history)
        self._pacer = pacer

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/", self._all),
            Route("/events", self._events),
            Route("/checks/{name:path}/settings", self._settings),
            Route("/checks/{name:path}/run", self._run, methods=["POST"]),
            Route("/checks/{name:path}/events", self._check_events),
            Route("/checks/{name:path}", self._check),
            Route("/config", self._config),
            Route("/status", self._status),
            Route("/badge/{name:path}.svg", self._badge),
            Route("/favicon.svg", _favicon),
            Route("/favicon.ico", _favicon),
        ]

    def _page(
        self,
        title: str,
        body: Iterator[Child],
        *,
        here: str = "",
        events: str | None = None,
        code: int = 200,
    ) -> Response:
        parts = document(title, self._daemon.where, body, here=here, events=events)
        return StreamingResponse(
            self._pacer.pieces(joined(parts, CHUNK)),
            status_code=code,
            media_type="text/html; charset=utf-8",
            headers=HEADERS,
        )

    def _entry(self, request: Request) -> CheckHistory | None:
        return self._daemon.history.checks.get(request.path_params["name"])

    def _missing(self) -> Response:
        body = details.error_body("No such check", ["There is no check with this name."])
        return self._page("No such check", body, code=404)

    async def _all(self, request: Request) -> Response:
        wanted = Filter.of(request.query_params)
        events = f"/events?{wanted.query}"
        return self._page("Checks", self._overview.body(wanted), here="/", events=events)

    async def _events(self, request: Request) -> Any:
        # A row that is shown is kept current, also when its verdict is not what was asked for any more.
        wanted = replace(Filter.of(request.query_params), state="")

        async def parts(names: Sequence[str], changed: bool) -> Mapping[str, str]:
            checks = self._daemon.history.checks
            entries = [entry for name in names if (entry := checks.get(name)) is not None]
            found: dict[str, str] = {
                row_id(entry.check.name): self._overview.row(entry)
                for entry in entries
                if wanted.takes(entry)
            }
            if changed:
                found["summary"] = self._overview.summary()
                found["troubles"] = self._overview.troubles()
            return found

        return self._stream(request, parts)

    async def _check(self, request: Request) -> Response:
        entry = self._entry(request)
        if entry is None:
            return self._missing()
        name = entry.check.name
        note = (
            "The check was not run: the daemon is drained, or a reload cancelled it."
            if "drained" in request.query_params
            else ""
        )
        transitions = await self._daemon.transitions(name)
        body = details.check_body(entry, transitions, may_run=self._access.administered, note=note)
        return self._page(name, body, events=check_url(name, "/events"))

    async def _check_events(self, request: Request) -> Any:
        entry = self._entry(request)
        if entry is None:
            return self._missing()
        name = entry.check.name

        async def parts(*_: object) -> Mapping[str, str]:
            transitions = await self._daemon.transitions(name)
            entry = self._daemon.history.checks.get(name)
            return {"live-part": details.live_part(entry, transitions)} if entry else {}

        return self._stream(request, parts, name)

    def _stream(self, request: Request, parts: Parts, only: str | None = None) -> Any:
        address = request.client.host if request.client else ""
        events = self._hub.events(parts, only, address)
        return EventStream(events, {**HEADERS, "x-accel-buffering": "no"})

    async def _settings(self, request: Request) -> Response:
        entry = self._entry(request)
        if entry is None:
            return self._missing()
        name, text, problem = entry.check.name, "", ""
        try:
            text = await self._daemon.settings(name)
        except ValueError as error:
            problem = str(error)
        return self._page(name, details.settings_body(name, text, problem))

    async def _run(self, request: Request) -> Response:
        entry = self._entry(request)
        if entry is None:
            return self._missing()
        if not self._access.administered:
            return PlainTextResponse(
                "Running checks from the page is disabled; set service.access.admin\n",
                status_code=403,
            )
        if not is_ours(request.headers):
            return PlainTextResponse("Cross-site request refused\n", status_code=403)
        if not self._access.may_act(request.headers):
            return PlainTextResponse("Password required\n", status_code=401, headers=CHALLENGE)
        result = None
        with anyio.move_on_after(RUN_SECONDS):
            result = await self._daemon.run(entry.check.name)
        more = "?drained" if result is None else ""
        return RedirectResponse(check_url(entry.check.name, more), 303)

    async def _config(self, _: Request) -> Response:
        reload = self._daemon.status()["config"]
        body = details.config_body(reload, self._daemon.config())
        return self._page("Configuration", body, here="/config")

    async def _status(self, _: Request) -> Response:
        body = details.status_body(self._daemon.status(), self._daemon.daemon_metrics)
        return self._page("The daemon", body, here="/status")

    async def _badge(self, request: Request) -> Response:
        entry = self._entry(request)
        if entry is None:
            return PlainTextResponse("No such check\n", status_code=404)
        made = badge(entry.check.name, entry.state.verdict)
        return Response(made, media_type="image/svg+xml", headers=HEADERS)


async def _favicon(_: Request) -> Response:
    return Response(
        FAVICON, media_type="image/svg+xml", headers={**HEADERS, "cache-control": "max-age=86400"}
    )
