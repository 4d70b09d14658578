"""The event loop: uvloop where it is installed."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio


def run_on_loop(function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Run the coroutine function to its end on asyncio, on uvloop where it is installed."""
    try:
        import uvloop  # noqa: F401, PLC0415  # an optional part
    except ImportError:
        fast = False
    else:
        fast = True
    gc.enable()
    anyio.run(function, *arguments, backend="asyncio", backend_options={"use_uvloop": fast})
