"""Updates of open pages: checks that have run, and sentences for screen readers."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any

import anyio

from probed.events import (
    Configured,
    Event,
    FlappingChanged,
    Recorded,
    Released,
    Removed,
    Reset,
    Suppressed,
    VerdictChanged,
)
from probed.model import Verdict

PACE = 1.0
"""Seconds between two updates of a page; what happens meanwhile is one update."""
HEARTBEAT = 15.0
"""Seconds after which an idle page gets a sign of life."""
SLOW = 10.0
"""Seconds that a page may take to read an update before its connection is closed."""
UPDATE = 100
"""Checks in one update, those that are not up first. The others follow in the next."""
STREAMS = 32
"""Open event streams. For another one, the oldest of the address that has the most is closed."""
RETRY_MS, CLOSED_RETRY_MS = 3_000, 30_000
"""Milliseconds after which a browser connects again, and those for one whose stream was closed for another."""
SENTENCES = 5

Parts = Callable[[Sequence[str], bool], Awaitable[Mapping[str, str]]]
"""Renders the elements to be replaced, by id, from the names of checks that have run, and whether one
of them is urgent.
"""


class Client:
    """An open page. What it has not received yet is bounded: names of checks, and a few sentences."""

    def __init__(self, only: str | None = None, address: str = "") -> None:
        self.only = only
        """The one check that it shows; None shows all."""
        self.address = address
        self.closed = False
        """Its place was needed for another one."""
        self.names: dict[str, None] = {}
        self.urgent: dict[str, None] = {}
        self.sentences: deque[str] = deque(maxlen=SENTENCES)
        self.changed = False
        """A check that is not up has run, or a verdict has changed."""
        self.stale = False
        """The configuration has other checks than those that it shows."""
        self._woken = anyio.Event()

    def wake(self) -> None:
        self._woken.set()

    def next_names(self) -> list[str]:
        """Return the names of the next update, and remove them from what waits."""
        urgent = [*islice(self.urgent, UPDATE)]
        for name in urgent:
            del self.urgent[name]
            self.names.pop(name, None)
        usual = [*islice(self.names, UPDATE - len(urgent))]
        for name in usual:
            del self.names[name]
        if self.names or self.urgent:
            self.wake()
        return urgent + usual

    async def wait(self) -> None:
        await self._woken.wait()
        self._woken = anyio.Event()


class Hub:
    """Updates all open pages; a subscriber of events. Without an open page, nothing is done."""

    def __init__(self) -> None:
        self.clients: dict[Client, None] = {}
        """Open pages, the oldest first."""
        self.closed = False

    def apply(self, event: Event) -> None:
        """Follow one event."""
        if not self.clients:
            return
        match event:
            case Recorded():
                self.update(event.check.name, urgent=event.state.verdict is not Verdict.UP)
            case VerdictChanged():
                sentence = f"{event.check.name} is {event.new.value}"
                self.update(event.check.name, urgent=True, sentence=sentence)
            case Suppressed() | Released() | FlappingChanged():
                self.update(event.check.name, urgent=True)
            case Configured() | Removed() | Reset():
                self.reload()

    def update(self, name: str, *, urgent: bool, sentence: str = "") -> None:
        """Have open pages show the check anew; `sentence` where its verdict has changed."""
        for client in self.clients:
            if client.only not in {None, name}:
                continue
            (client.urgent if urgent else client.names)[name] = None
            client.changed |= urgent
            if sentence:
                client.sentences.append(sentence)
            client.wake()

    def reload(self) -> None:
        """Have open pages load again: the configuration has other checks."""
        for client in self.clients:
            client.stale = True
            client.wake()

    def close(self) -> None:
        self.closed = True
        for client in self.clients:
            client.wake()

    def admit(self, client: Client) -> None:
        """Add an open page; if there are too many, close one first."""
        if len(self.clients) >= STREAMS:
            counts = Counter(each.address for each in self.clients)
            most = max(counts.values())
            oldest = next(each for each in self.clients if counts[each.address] == most)
            del self.clients[oldest]
            oldest.closed = True
            oldest.wake()
        self.clients[client] = None

    async def events(
        self, parts: Parts, only: str | None = None, address: str = ""
    ) -> AsyncIterator[str]:
        """Yield server-sent events (HTML, section 9.2) until the page is closed. `address` is the
        client's.
        """
        client = Client(only, address)
        self.admit(client)
        try:
            yield f"retry: {RETRY_MS}\n\n"
            while not self.closed:
                with anyio.move_on_after(HEARTBEAT) as quiet:
                    await client.wait()
                if client.closed:
                    yield f"retry: {CLOSED_RETRY_MS}\n\n"
                    return
                if quiet.cancelled_caught:
                    yield ":\n\n"
                    continue
                await anyio.sleep(PACE)
                if client.stale:
                    yield "event: again\ndata: again\n\n"  # the page is loaded anew, and comes back
                    return
                changed, client.changed = client.changed, False
                found = await parts(client.next_names(), changed)
                said = ". ".join(client.sentences)
                client.sentences.clear()
                if found:
                    yield f"event: parts\ndata: {json.dumps(found)}\n\n"
                if said:
                    yield f"event: said\ndata: {json.dumps(said)}\n\n"
        finally:
            self.clients.pop(client, None)


class EventStream:
    """An endless response, closed when the reader goes away or reads too slowly."""

    def __init__(self, source: AsyncIterator[str], headers: Mapping[str, str]) -> None:
        self._source = source
        self._headers = [
            (name.encode(), value.encode())
            for name, value in {**headers, "content-type": "text/event-stream"}.items()
        ]

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._gone, receive, tasks.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            async with aclosing(self._source) as source:  # type: ignore[type-var]
                async for piece in source:
                    with anyio.move_on_after(SLOW) as slow:
                        await send(
                            {
                                "type": "http.response.body",
                                "body": piece.encode(),
                                "more_body": True,
                            }
                        )
                    if slow.cancelled_caught:
                        tasks.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()

    @staticmethod
    async def _gone(receive: Any, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
