"""Accepting connections, a few between two turns of the event loop: a flood of them delays nothing else."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NoReturn

import anyio
from anyio.lowlevel import checkpoint

BATCH = 8
"""Connections that are accepted before other tasks run."""
PAUSE = 0.1
"""Seconds to wait after the kernel refused a connection, usually for want of file descriptors."""


async def accept_forever(
    listening: socket.socket,
    handle: Callable[[socket.socket], None],
    make_room: Callable[[], object],
) -> NoReturn:
    """Pass each accepted, non-blocking socket to `handle`. Where the process has no file descriptor
    left, call `make_room` and try again.
    """
    while True:
        for _ in range(BATCH):
            try:
                accepted, _ = listening.accept()
            except BlockingIOError:
                await anyio.wait_readable(listening)
                break
            except OSError:
                make_room()
                await anyio.sleep(PAUSE)
                break
            accepted.setblocking(False)
            handle(accepted)
        await checkpoint()
