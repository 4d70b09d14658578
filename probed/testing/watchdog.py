"""The longest time for which the event loop stood still."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from typing import Self


class Watchdog:
    """`longest` is the greatest processor time in seconds that the loop's thread spent between two turns
    of a task that always wants one. Time that the machine gives to other processes is not counted, nor
    is a search for garbage among what was there before, such as the tests that have run.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        gc.freeze()  # as the daemon does when it has started
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        gc.unfreeze()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - last)
            last = now
