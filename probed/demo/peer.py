"""A peer: one small class that starts, stops, and can be broken in ways of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from anyio.abc import ByteStream, TaskGroup

from probed.demo.wire import Port, Response, serve_http

Check: TypeAlias = dict[str, Any]
"""One entry of `checks` in the configuration."""


class DemoUnavailable(RuntimeError):  # noqa: N818  # the demo, not the probing, is unavailable
    """Something that only the demo needs is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the peers share: a folder for files, how slow is slow, and each other's addresses."""

    directory: Path
    slowness: float
    urls: dict[str, str] = field(default_factory=dict)


class Peer(ABC):
    """One embedded server.

    `breaks` are the ways in which it can be broken, with a sentence for each. `checks` asks for
    the addresses of peers: all peers have been started by then.
    """

    breaks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.broken: set[str] = set()

    @abstractmethod
    async def start(self, tasks: TaskGroup) -> None:
        """Listen, as tasks of `tasks`, and write the addresses to `setting.urls`."""

    @abstractmethod
    async def stop(self) -> None:
        """Close everything. Also called if `start` failed."""

    def checks(self) -> list[Check]:
        """The checks that watch this peer."""
        return []

    def config(self) -> dict[str, Any]:
        """Sections of the configuration other than `checks` that have to do with this peer."""
        return {}

    def status(self) -> str | None:
        """What it has to say of itself while it runs, in one line."""
        return None

    async def break_(self, name: str) -> None:
        self.broken.add(name)

    async def mend(self, name: str) -> None:
        self.broken.discard(name)


class TcpPeer(Peer):
    """A peer that listens on one TCP port."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.port = Port()

    async def stop(self) -> None:
        await self.port.release()

    @abstractmethod
    async def handle(self, stream: ByteStream) -> None:
        """One connection, from accept to close."""


class HttpPeer(TcpPeer):
    """A peer that answers GET requests."""

    async def handle(self, stream: ByteStream) -> None:
        await serve_http(self.answer, stream)

    @abstractmethod
    async def answer(self, target: str) -> Response:
        """The response to a GET of that path and query."""
