"""Accepting connections, a few between two turns of the event loop: a flood of them delays nothing else."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import NoReturn

import anyio
from anyio.lowlevel import checkpoint

BATCH = 8
"""Connections that are accepted before other tasks run."""
PAUSE = 0.1
"""Seconds to wait where a resource has run out, until some of it is free."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def accept_forever(
    listening: socket.socket,
    handle: Callable[[socket.socket], None],
    make_room: Callable[[], bool],
) -> NoReturn:
    """Pass each accepted, non-blocking socket to `handle`. Where the process has no file descriptor
    left, call `make_room`, which returns whether it closed a connection, and try again.
    """
    while True:
        for _ in range(BATCH):
            try:
                accepted, _ = listening.accept()
            except BlockingIOError:
                await anyio.wait_readable(listening)
                break
            except OSError as error:
                if error.errno in _EXHAUSTED and not make_room():
                    await anyio.sleep(PAUSE)
                break  # what was closed is free in the next turn; or else the client has gone
            accepted.setblocking(False)
            handle(accepted)
        await checkpoint()
