"""uvicorn as one of our tasks, on a socket that we bound; the daemon handles signals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

from probed.fields import split_address
from probed.net.accept import accept_forever
from probed.web.connection import Connection, Connections, Limits

STOP_SECONDS = 1
BACKLOG = 2048
"""Connections that the kernel holds until they are accepted. Past it, a client waits for a second."""
SEND_BUFFER = 64 << 10
"""Bytes of answers that the kernel holds for a client; it would hold some MiB."""
UNACKNOWLEDGED_MS = 30_000
"""Milliseconds after which a client that acknowledges nothing is gone (tcp(7), TCP_USER_TIMEOUT)."""


def bind(address: str) -> socket.socket:
    """Return a listening socket. Raises OSError with a text that names the address."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit both.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)  # the socket's own signature
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    return sock


class _Server(uvicorn.Server):
    """uvicorn's server without its signals and its accepting."""

    stop_accepting: Callable[[], None]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        self.servers: list[Any] = []
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stop_accepting()
        await super().shutdown(sockets)


class Listener:
    """An application on a bound socket. `refused` receives the reason, one of `REASONS`, for which a
    client's connection was closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        sock: socket.socket,
        name: str,
        *,
        refused: Callable[[str], None] = lambda _: None,
        limits: Limits | None = None,
    ) -> None:
        self._socket = sock
        self.name = name
        host, port = sock.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.connections = Connections(name, limits or Limits(), refused)
        self._config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=round(self.connections.limits.idle),
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Server(self._config)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` or cancelled; then close the socket."""
        accepting = anyio.CancelScope()
        self._server.stop_accepting = accepting.cancel
        task_status.started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._accept, accepting)
            tasks.start_soon(self.connections.sweep)
            try:
                await self._server.serve()
            except BaseException:
                if self._server.started:
                    self._server.force_exit = True
                    with anyio.CancelScope(shield=True):
                        await self._server.shutdown()
                raise
            tasks.cancel_scope.cancel()

    def stop(self) -> None:
        self._server.should_exit = True

    async def _accept(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as tasks:

                    def handle(accepted: socket.socket) -> None:
                        if len(self.connections) >= self.connections.limits.connections:
                            self.connections.make_room()
                        tasks.start_soon(self._attach, accepted)

                    await accept_forever(self._socket, handle, self.connections.make_room)
        finally:
            self._socket.close()

    async def _attach(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> Connection:
            return Connection(
                config=self._config, server_state=self._server.server_state, app_state={}, _loop=loop,
                connections=self.connections,
            )  # fmt: skip

        try:
            await loop.connect_accepted_socket(protocol, accepted)
        except OSError:  # the client has gone meanwhile
            accepted.close()
        except BaseException:
            accepted.close()
            raise
