"""What open pages are told: which checks have run, and what is to be said aloud."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any

import anyio

PACE = 1.0
"""Seconds between two words to a page: what happens meanwhile is one."""
HEARTBEAT = 15.0
"""Seconds after which a page hears that we are still there."""
SLOW = 10.0
"""Seconds that a page may take to read a word, before it is given up."""
WORD = 100
"""Checks that a word tells of: those that are not up first. The others follow with the next."""
PAGES = 16
"""Open pages; another one is told to come back later."""
SAID = 5


class Client:
    """An open page. What it has not heard yet is bounded: the names of checks, and a few sentences."""

    def __init__(self, only: str | None = None) -> None:
        self.only = only
        """The one check that it shows; None shows all."""
        self.names: dict[str, None] = {}
        self.urgent: dict[str, None] = {}
        self.said: deque[str] = deque(maxlen=SAID)
        self.stirred = False
        """Something that is not up has run, or is up now."""
        self.stale = False
        """There are other checks than those that it shows."""
        self._woken = anyio.Event()

    def wake(self) -> None:
        self._woken.set()

    def take(self) -> list[str]:
        """The names of which it is told next."""
        taken = [*islice(self.urgent, WORD)]
        for name in taken:
            del self.urgent[name]
            self.names.pop(name, None)
        usual = [*islice(self.names, WORD - len(taken))]
        for name in usual:
            del self.names[name]
        if self.names or self.urgent:
            self.wake()
        return taken + usual

    async def wait(self) -> None:
        await self._woken.wait()
        self._woken = anyio.Event()


class Hub:
    """Tells all open pages. Without any, nothing is done."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self.closed = False

    def ran(self, name: str, *, stirs: bool, sentence: str = "") -> None:
        """A check has run; `sentence` where its verdict has changed."""
        for client in self.clients:
            if client.only not in {None, name}:
                continue
            (client.urgent if stirs else client.names)[name] = None
            client.stirred |= stirs
            if sentence:
                client.said.append(sentence)
            client.wake()

    def replaced(self) -> None:
        """There are other checks now."""
        for client in self.clients:
            client.stale = True
            client.wake()

    def close(self) -> None:
        self.closed = True
        for client in self.clients:
            client.wake()

    async def events(
        self, parts: Callable[[Sequence[str], bool], Mapping[str, str]], only: str | None = None
    ) -> AsyncIterator[str]:
        """Server-sent events (HTML, section 9.2): `parts` makes the elements to be replaced, by id, from
        the names of checks that have run, and whether one of them stirs.
        """
        client = Client(only)
        self.clients.add(client)
        try:
            yield "retry: 3000\n\n"
            while not self.closed:
                with anyio.move_on_after(HEARTBEAT) as quiet:
                    await client.wait()
                if quiet.cancelled_caught:
                    yield ":\n\n"
                    continue
                await anyio.sleep(PACE)
                if client.stale:
                    yield "event: again\ndata: again\n\n"  # the page is loaded anew, and comes back
                    return
                found = parts(client.take(), client.stirred)
                said = ". ".join(client.said)
                client.said.clear()
                client.stirred = False
                if found:
                    yield f"event: parts\ndata: {json.dumps(found)}\n\n"
                if said:
                    yield f"event: said\ndata: {json.dumps(said)}\n\n"
        finally:
            self.clients.discard(client)


class EventStream:
    """A response that never ends by itself, to a reader that may stop reading."""

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
