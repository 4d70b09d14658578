"""One lane of the spool in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from probed.telemetry.spool_records import Encoded


class Memory:
    """Requests in memory, oldest first. A request that is dropped while it is being sent counts as
    dropped afterwards, unless it was sent.
    """

    def __init__(self, limit: int, lose: Callable[[int, str], None]) -> None:
        self.requests: deque[Encoded] = deque()
        self.limit = limit
        self.size = 0
        self.held: Encoded | None = None
        self._orphan: Encoded | None = None
        self._lose = lose

    def put(self, requests: Sequence[Encoded]) -> None:
        self.requests += requests
        self.size += sum(request.size for request in requests)
        while self.size > self.limit:
            self.drop("queue_full")

    def pop(self) -> Encoded:
        request = self.requests.popleft()
        self.size -= request.size
        return request

    def drop(self, why: str) -> None:
        request = self.pop()
        if request is self.held:
            self._orphan = request
        else:
            self._lose(request.items, why)

    def head(self, since: float) -> Encoded | None:
        """Return the oldest request made since `since`, to be sent next; drop older ones."""
        self.release()
        while self.requests and self.requests[0].at < since:
            self.drop("too_old")
        self.held = self.requests[0] if self.requests else None
        return self.held

    def sent(self) -> None:
        if self.held is not None and self.requests and self.requests[0] is self.held:
            self.pop()
        self.held = self._orphan = None

    def release(self) -> None:
        if self._orphan is not None:
            self._lose(self._orphan.items, "queue_full")
        self.held = self._orphan = None

    def clear(self) -> None:
        self.requests.clear()
        self.size = 0
        self.held = None
