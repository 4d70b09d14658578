"""The server of the control socket. Only its own user and root may connect."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus

from probed.control.client import places
from probed.net import Stream
from probed.net.accept import accept_forever

log = logging.getLogger("probed.control")

Handler: TypeAlias = "Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]"
"""Handles one request and returns the response. Raises ValueError for an invalid request."""

REQUEST_LIMIT = 1 << 20
REQUEST_SECONDS = 5.0
ANSWER_SECONDS = 30.0
CONNECTIONS = 16
PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7))."""


def bind(path: Path | None, environ: Mapping[str, str]) -> tuple[socket.socket, Path] | None:
    """Return a listening socket that only this user can reach, and its path.

    Without a `path`, use the first of the default ones that works; return None, and log a warning,
    if none does. Raises OSError, whose text names the path, if `path` cannot be used.
    """
    if path is not None:
        try:
            return _bind(path), path
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen on {path}: {error.strerror or error}"
            ) from None
    why = ""
    for place in places(environ):
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            owner = place.parent.lstat()
            if stat.S_ISLNK(owner.st_mode) or owner.st_uid not in {0, os.geteuid()}:
                raise PermissionError(errno.EPERM, "the directory belongs to another user")
            return _bind(place), place
        except OSError as error:
            why = f"{place}: {error.strerror or error}"
            if error.errno == errno.EADDRINUSE:
                break  # another daemon listens here, and clients would reach that one
    if why:
        log.warning("no control socket (%s); `probed reload` cannot reach this daemon", why)
    return None


def _bind(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise OSError(errno.ENAMETOOLONG, f"its path is longer than {PATH_LIMIT} bytes")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                other.settimeout(1.0)
                try:
                    other.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()  # left by a process that was killed
                else:
                    raise OSError(errno.EADDRINUSE, "another daemon is listening there")
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(CONNECTIONS)
    except BaseException:
        sock.close()
        raise
    return sock


class ControlServer:
    """Answers requests on a bound socket, and removes the socket file at the end.

    At most `CONNECTIONS` are open. For another one, the oldest that waits for its client is closed: one
    that sends no request, or does not read the response.
    """

    def __init__(self, sock: socket.socket, path: Path, handlers: Mapping[str, Handler]) -> None:
        self.path = path
        self._socket = sock
        self._handlers = handlers
        self._open = 0
        self._waiting: dict[anyio.CancelScope, None] = {}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        try:
            async with anyio.create_task_group() as tasks:

                def handle(accepted: socket.socket) -> None:
                    full = self._open >= CONNECTIONS
                    if not _trusted(accepted) or (full and not self._make_room()):
                        accepted.close()
                        return
                    self._open += 1
                    tasks.start_soon(self._serve, accepted)

                await accept_forever(self._socket, handle, self._make_room)
        finally:
            self._socket.close()
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(partial(self.path.unlink, missing_ok=True))

    def _make_room(self) -> bool:
        if not self._waiting:
            return False
        oldest = next(iter(self._waiting))
        del self._waiting[oldest]
        oldest.cancel()
        return True

    @contextmanager
    def _waits(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Wait for the client, for so long at most, and only while there is room."""
        with anyio.move_on_after(seconds) as scope:
            self._waiting[scope] = None
            try:
                yield scope
            finally:
                self._waiting.pop(scope, None)

    async def _serve(self, accepted: socket.socket) -> None:
        stream = Stream(accepted, str(self.path))
        try:
            with self._waits(REQUEST_SECONDS) as scope:
                line = await stream.readline(REQUEST_LIMIT)
            if scope.cancelled_caught:
                return
            answer = await self._answer(line)
            with self._waits(ANSWER_SECONDS):
                await stream.send(json.dumps(answer).encode() + b"\n")
        except Exception as error:  # noqa: BLE001  # no client may stop the daemon
            log.debug("control: %s", type(error).__name__)
        finally:
            stream.close()
            self._open -= 1

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
            command = request["command"]
            handler = self._handlers[command]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": f"unknown command; the commands are {', '.join(self._handlers)}"}
        try:
            return await handler(request)
        except ValueError as error:
            return {"error": str(error)}


def _trusted(accepted: socket.socket) -> bool:
    raw = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", raw)[1] in {0, os.geteuid()}
