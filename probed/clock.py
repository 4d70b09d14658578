"""The one source of time."""

from __future__ import annotations

import time as system_time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the daemon asks for the time. `probed.testing.FakeClock` is the double."""

    def time(self) -> float:
        """Seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds, at once if they are not positive."""


class SystemClock:
    """The clock of this machine."""

    time = staticmethod(system_time.time)
    monotonic = staticmethod(system_time.monotonic)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))
