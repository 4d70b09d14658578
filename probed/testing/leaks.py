"""Detection of leaked tasks, sockets, pipes and threads."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

GAP = 1024
"""Number of unused descriptors in a row after which the search ends: the kernel assigns the lowest
free one.
"""
POOLS = ("asyncio_", "AnyIO worker thread")
"""Threads of shared pools, which stay alive."""


class LeakError(AssertionError):
    """A task, socket, pipe or thread was leaked."""


@dataclass(frozen=True)
class _Snapshot:
    tasks: frozenset[asyncio.Task[Any]]
    sockets: frozenset[tuple[int, int]]
    threads: frozenset[threading.Thread]

    @classmethod
    def now(cls) -> _Snapshot:
        return cls(
            frozenset(asyncio.all_tasks()),
            frozenset(_sockets()),
            frozenset(t for t in threading.enumerate() if not t.name.startswith(POOLS)),
        )

    def since(self, before: _Snapshot) -> _Snapshot:
        return _Snapshot(
            self.tasks - before.tasks, self.sockets - before.sockets, self.threads - before.threads
        )

    def __bool__(self) -> bool:
        return bool(self.tasks or self.sockets or self.threads)

    def __str__(self) -> str:
        found = [f"task {task!r}" for task in self.tasks]
        found += [f"socket {_describe(number)}" for number, _ in self.sockets]
        return "; ".join(sorted(found + [f"thread {thread!r}" for thread in self.threads]))


def _sockets() -> list[tuple[int, int]]:
    """Return descriptor and inode of every open socket and pipe."""
    found: list[tuple[int, int]] = []
    number = unused = 0
    while unused < GAP:
        try:
            facts = os.fstat(number)
        except OSError:
            unused += 1
        else:
            unused = 0
            if stat.S_ISSOCK(facts.st_mode) or stat.S_ISFIFO(facts.st_mode):
                found.append((number, facts.st_ino))
        number += 1
    return found


def _describe(number: int) -> str:
    try:
        copy = os.dup(number)
    except OSError:
        return f"{number} (closed meanwhile)"
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return f"{number} (a pipe)"
    with sock:
        return f"{number} {sock!r}"


@asynccontextmanager
async def no_leaks(*, patience: float = 0.5) -> AsyncIterator[None]:
    """Raise LeakError if the block leaks a task, a socket, a pipe or a thread.

    Objects that are being closed get some turns of the event loop, and at most `patience` seconds. An
    error of the block itself takes precedence.
    """
    before = _Snapshot.now()
    yield
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    pause = 0.0
    while left := _Snapshot.now().since(before):
        if loop.time() >= end:
            raise LeakError(f"left behind: {left}")
        await asyncio.sleep(pause)
        pause = min(pause + 0.001, 0.02)
