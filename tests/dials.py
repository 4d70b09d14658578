"""Every connection that this process makes, whoever makes it: seen by an audit hook of the interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DIALER = "probed.net.stream"
"""The module that connects to addresses."""
_seen: list[list[tuple[Any, str]]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: Any) -> None:
    if _seen and event in {"socket.connect", "socket.sendto"} and arguments[1] is not None:
        frame: Any = sys._getframe(1)
        # The test suite's detector of blocking calls wraps the methods of sockets.
        while frame.f_globals.get("__name__", "").partition(".")[0] in {
            "blockbuster",
            "forbiddenfruit",
        }:
            frame = frame.f_back
        for each in _seen:
            each.append((arguments[1], frame.f_globals.get("__name__", "")))


@contextmanager
def dials() -> Iterator[list[tuple[Any, str]]]:
    """Give a list of each address that a socket was connected or sent to, and the module that did it."""
    if not _hooked:
        sys.addaudithook(_hook)  # for the life of the process: it cannot be removed
        _hooked.append(True)
    found: list[tuple[Any, str]] = []
    _seen.append(found)
    try:
        yield found
    finally:
        _seen.remove(found)
