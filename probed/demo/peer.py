"""Base classes of the demo's peers: each starts, stops, and can be broken in its own ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from anyio.abc import TaskGroup

from probed.testing.endpoint import Endpoint
from probed.testing.peer import Peer
from probed.testing.servers import Server
from probed.testing.webserver import Answer, HttpServer, Received

HOST = "127.0.0.1"
NOT_FOUND = Answer(404, body="Not Found\n")

Check: TypeAlias = dict[str, Any]
"""One entry of `checks` in the configuration."""


class DemoUnavailable(RuntimeError):  # noqa: N818  # the demo, not the probing, is unavailable
    """A package or a program that only the demo needs is missing; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Context that peers share: a folder for files, the delay of `slow` in seconds, and the
    addresses of all peers.
    """

    directory: Path
    slowness: float
    urls: dict[str, str] = field(default_factory=dict)


class DemoPeer(ABC):
    """One embedded peer of the demo.

    `breaks` maps the names of its breaks to sentences. `checks` uses the addresses of peers; all
    peers have been started by then.
    """

    breaks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.broken: set[str] = set()
        self._open = AsyncExitStack()

    @abstractmethod
    async def start(self, tasks: TaskGroup) -> None:
        """Start serving, with background work in `tasks`, and put the addresses into `setting.urls`."""

    async def serve(self, server: Endpoint) -> None:
        """Start a server; `stop` ends it."""
        await self._open.enter_async_context(server)

    async def stop(self) -> None:
        """Close everything. Also called if `start` failed."""
        await self._open.aclose()

    def checks(self) -> list[Check]:
        """Return the checks for this peer."""
        return []

    def config(self) -> dict[str, Any]:
        """Return sections of the configuration other than `checks` for this peer."""
        return {}

    def status(self) -> str | None:
        """Return one line about this peer while it runs, if it has one."""
        return None

    async def break_(self, name: str) -> None:
        """Break the peer; `name` is one of `breaks`."""
        self.broken.add(name)

    async def mend(self, name: str) -> None:
        """Undo `break_`."""
        self.broken.discard(name)


class TcpPeer(DemoPeer):
    """A peer with one TCP server."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.server = Server(self.handle)

    @abstractmethod
    async def handle(self, peer: Peer) -> None:
        """Handle one connection, from accept to close."""


class HttpPeer(DemoPeer):
    """A peer with one HTTP server that answers GET and HEAD, one request per connection."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.server = HttpServer({}, default=self._respond)

    async def _respond(self, request: Received) -> Answer:
        if request.method in {"GET", "HEAD"}:
            answer = await self.answer(request.target)
        else:
            answer = Answer(405, {"Allow": "GET, HEAD"}, "Method Not Allowed\n")
        headers = {"Cache-Control": "no-store", "Connection": "close", **answer.headers}
        return replace(answer, headers=headers)

    @abstractmethod
    async def answer(self, target: str) -> Answer:
        """Return the answer to a GET of this path and query."""
