"""Base class of all test and demo servers: they listen on loopback and leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import anyio

from probed.fields import HostPort
from probed.testing.peer import Gone, Peer, ready

LIFETIME = 30.0
"""Seconds after which a connection is ended, whatever its state."""


class Endpoint:
    """Sockets and tasks that live as long as the `async with` block.

    At its end every connection is reset and every task has ended. An error of a task is raised then,
    unless the block itself failed.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._changed: asyncio.Event = asyncio.Event()

    @property
    def address(self) -> HostPort:
        """Address of the server; the port is known inside the block."""
        return HostPort(self.host, self.port)

    async def until(self, condition: Callable[[], bool], *, patience: float = 5.0) -> None:
        """Wait until the condition holds; it is evaluated whenever data arrives.

        Raises TimeoutError after `patience` seconds.
        """
        async with asyncio.timeout(patience):
            while not condition():
                changed = self._changed
                await changed.wait()

    async def _start(self) -> None:
        raise NotImplementedError

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _bound(
        self, kind: socket.SocketKind, port: int = 0, *, reuse: bool = False
    ) -> socket.socket:
        """Return a non-blocking socket on that port, or on a free one; it is closed at the end."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, kind)
        self._sockets.append(sock)
        sock.setblocking(False)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((self.host, port))
        self.port = sock.getsockname()[1]
        return sock

    async def _accept(
        self, listener: socket.socket, talk: Callable[[Peer], Coroutine[Any, Any, None]]
    ) -> None:
        """Run `talk` for every connection, which ends with it, or after `LIFETIME`."""
        while True:
            await ready(listener)
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, ConnectionError):
                continue
            peer = Peer(sock, self._heard)
            self._accepted()
            task = self._spawn(_bounded(talk, peer))
            # Not in the task itself: one that is cancelled before its first step runs no `finally`.
            task.add_done_callback(peer.reset_or_close)

    def _accepted(self) -> None:
        """Hook: a connection was accepted."""

    def _heard(self, data: bytes) -> None:
        """Hook: data was received."""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)

    async def _cancel_tasks(self) -> None:
        """Cancel all tasks and wait for them; their connections are reset."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(tasks)

    async def _stop(self) -> None:
        await self._cancel_tasks()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()
        if kind is None and self._errors:
            raise self._errors[0]


async def _bounded(talk: Callable[[Peer], Coroutine[Any, Any, None]], peer: Peer) -> None:
    try:
        async with asyncio.timeout(LIFETIME):
            await talk(peer)
    except (OSError, Gone):
        pass  # the other side failed, or `LIFETIME` is over
