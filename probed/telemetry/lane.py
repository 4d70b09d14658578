"""Sender of one lane: sends the requests of its queue in order, and retries until they are accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from probed.clock import Clock
from probed.telemetry.daemon_metrics import DaemonMetrics
from probed.telemetry.post import TOO_LARGE, Destination, Reply, halves
from probed.telemetry.spool import Queue
from probed.telemetry.spool_records import Encoded

log = logging.getLogger("probed.export")

FIRST_DELAY, LAST_DELAY = 1.0, 60.0
HURRIED_DELAY = 0.25
"""Seconds between attempts during shutdown."""
PAUSE = 0.01
CATCH_UP = 4 << 20
"""Bytes per second at which a backlog is sent, with a pause after each request: probes measure on
the same event loop.
"""


async def rest(clock: Clock, seconds: float, unless: anyio.Event) -> None:
    """Wait for so many seconds, or until the event is set."""
    async with anyio.create_task_group() as tasks:

        async def sleep() -> None:
            await clock.sleep(seconds)
            tasks.cancel_scope.cancel()

        tasks.start_soon(sleep)
        await unless.wait()
        tasks.cancel_scope.cancel()


class Lane:
    """Sender of one queue. It counts what is dropped, rejected or retried.

    Delivery is at least once: a request whose response was lost is sent again. Without a
    destination, requests stay in the queue. `jitter` returns numbers from 0 to 1.
    """

    def __init__(
        self,
        queue: Queue,
        destination: Destination | None,
        daemon_metrics: DaemonMetrics,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.queue = queue
        self.destination = destination
        self._daemon_metrics = daemon_metrics
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._state = "accepting"
        self._wake = anyio.Event()
        self._nudge = anyio.Event()
        self._hurried = False
        self._whole: Encoded | None = None
        self._parts: list[Encoded] = []

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed and will be retried."""
        return self._failures > 0

    async def put(self, *requests: Encoded, lasting: bool = True) -> None:
        """Queue requests, on disk if there is one, unless `lasting` is false."""
        await self.queue.put(requests, lasting=lasting)
        self._wake.set()

    def redirect(self, destination: Destination | None) -> None:
        """Change the destination, and try again at once."""
        self.destination = destination
        self._hasten()

    def hurry(self) -> None:
        """Send the rest without long waits, then end `run`: no more requests will come."""
        self._hurried = True
        self._hasten()

    def _hasten(self) -> None:
        self._wake.set()
        self._nudge.set()

    async def run(self) -> None:
        """Send requests until `hurry` was called and the queue is empty, or the destination is down."""
        while True:
            self._wake, self._nudge = anyio.Event(), anyio.Event()
            destination = self.destination
            request = None if destination is None else await self.queue.head()
            if destination is None or request is None:
                if self._hurried:
                    return
                await self._wake.wait()
            elif not await self._send(destination, request):
                return

    async def _send(self, destination: Destination, request: Encoded) -> bool:
        """Send the request or its next part. Return False if there is no point in going on."""
        if request is not self._whole:
            self._whole, self._parts = request, [request]
        part = self._parts[0]
        reply = await destination.post(part, self._clock)
        if reply.retry:
            self._failures += 1
            self._daemon_metrics.exported(part.signal, "retried", part.items, reply.error)
            self._note("failing", "%s: %s; will retry", destination, reply)
            await self.queue.spill()
            if self._hurried and reply.error == "connect":
                return False
            await self._rest(HURRIED_DELAY if self._hurried else self._delay(reply))
            return True
        self._failures = 0
        pieces = halves(part) if reply.error == TOO_LARGE and part is request else None
        if pieces is not None:
            self._daemon_metrics.exported(part.signal, "retried", part.items, reply.error)
            self._parts[:] = pieces
            return True
        self._account(destination, part, reply)
        self._parts.pop(0)
        if not self._parts:
            self._whole = None
            await self.queue.sent()
        if self.queue.size and not self._hurried:
            await self._rest(max(PAUSE, len(part.body) / CATCH_UP))
        return True

    async def _rest(self, seconds: float) -> None:
        await rest(self._clock, seconds, self._nudge)

    def _delay(self, reply: Reply) -> float:
        if reply.retry_after is not None:
            return max(FIRST_DELAY, reply.retry_after)
        longest = min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures - 1, 10))
        return longest * (0.5 + 0.5 * self._jitter())

    def _account(self, destination: Destination, part: Encoded, reply: Reply) -> None:
        name, items = part.signal, part.items
        rejected = min(items, max(0, reply.rejected)) if reply.error is None else items
        if rejected:
            self._daemon_metrics.exported(
                name, "rejected", rejected, reply.error or "partial_success"
            )
        if rejected < items:
            self._daemon_metrics.exported(name, "sent", items - rejected)
        if reply.error is not None:
            self._note("rejected", "%s: rejected: %s", destination, reply)
        elif rejected or reply.message:
            self._note("partial", "%s: partially accepted: %s", destination, reply)
        elif self._state != "accepting":
            self._state = "accepting"
            log.info("%s: accepting %s again", destination.signal.shown, self.queue.lane)

    def _note(self, state: str, text: str, destination: Destination, reply: Reply) -> None:
        if self._state != state:
            self._state = state
            log.warning(text, destination.signal.shown, reply.message or reply.error)
