"""Clients of a listener that are idle, slow, endless or malformed: each costs little, and for a while."""

from __future__ import annotations

import gc
import logging
import socket
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint
from starlette.responses import StreamingResponse

from probed.testing import no_leaks
from probed.testing.watchdog import Watchdog
from probed.web import Listener, bind, telemetry_app
from probed.web.connection import Limits

pytestmark = pytest.mark.anyio

LIMITS = Limits(tick=0.02)
GET = b"GET /livez HTTP/1.1\r\nhost: probed\r\n\r\n"
GONE = (anyio.EndOfStream, anyio.BrokenResourceError)


def scrape(_: str) -> tuple[str, Any]:
    return "text/plain", iter([b"a 1\n"])


class Served:
    """A listener, and why it closed connections."""

    def __init__(self, listener: Listener, port: int, closed: Counter[str]) -> None:
        self.listener = listener
        self.port = port
        self.closed = closed

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)

    async def live(self, seconds: float = 1.0) -> None:
        """Raise where `/livez` is not answered in time."""
        with anyio.fail_after(seconds):
            async with await self.connect() as stream:
                await stream.send(GET)
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK")


@asynccontextmanager
async def served(limits: Limits = LIMITS, app: Any = None) -> AsyncIterator[Served]:
    app = app or telemetry_app(scrape, lambda: None, lambda: None)
    closed: Counter[str] = Counter()
    sock = bind("127.0.0.1:0")
    listener = Listener(
        app, sock, "telemetry", limits=limits, refused=lambda reason: closed.update([reason])
    )
    async with no_leaks(), anyio.create_task_group() as tasks:
        port = sock.getsockname()[1]
        await tasks.start(listener.run)
        yield Served(listener, port, closed)
        tasks.cancel_scope.cancel()


async def read_all(stream: SocketStream) -> bytes:
    """Return all that comes until the other side closes."""
    found = b""
    with anyio.fail_after(5):
        try:
            while True:
                found += await stream.receive()
        except GONE:
            return found


async def send_until_closed(stream: SocketStream, piece: bytes, pause: float = 0.0) -> None:
    with anyio.fail_after(10):
        try:
            while True:
                await stream.send(piece)
                await anyio.sleep(pause)
        except GONE:
            return


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """An answer without end."""

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 8192
            await checkpoint()

    await StreamingResponse(pieces())(scope, receive, send)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110  # the listener has no event for it
            await anyio.sleep(0.01)


@pytest.mark.parametrize("before", [b"", GET])
async def test_a_connection_without_a_request_is_closed_in_time(before: bytes) -> None:
    async with served(replace(LIMITS, idle=0.1)) as made, await made.connect() as stream:
        if before:
            await stream.send(before)
        assert (await read_all(stream)).count(b"HTTP/1.1 200 OK") == bool(before)
        assert not made.closed


async def test_a_head_of_a_byte_now_and_then_ends_in_time() -> None:
    async with served(replace(LIMITS, head=0.2)) as made, await made.connect() as stream:
        await stream.send(b"GET /livez HTTP/1.1\r\nx: ")
        await send_until_closed(stream, b"y", 0.02)
        assert made.closed == {"timeout": 1}


async def test_a_body_of_a_byte_now_and_then_ends_in_time() -> None:
    async with served(replace(LIMITS, body=0.2)) as made, await made.connect() as stream:
        await stream.send(b"GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n")
        await send_until_closed(stream, b"y", 0.02)
        assert made.closed == {"timeout": 1}


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"x: y\r\n"),
        (b"GET / HTTP/1.1\r\nx: ", b"y" * 1000),
        (b"GET / HTTP/1.1\r\n", b"z" * 1000),
        (b"GET /", b"y" * 1000),
        (b"", b"\r\n" * 100),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\ny\r\n"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;", b"x=y;"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999\r\n\r\n", b"y" * 1000),
    ],
)
@pytest.mark.parametrize("times", [1, 10_000], ids=["in pieces", "at once"])
async def test_a_request_without_end_is_bounded(start: bytes, piece: bytes, times: int) -> None:
    async with served() as made, await made.connect() as stream:
        if start:
            await stream.send(start)
        await send_until_closed(stream, piece * times)
        assert made.closed == {"too_large": 1}
        await made.live()


async def test_a_head_that_is_too_large_is_answered_so() -> None:
    async with served() as made, await made.connect() as stream:
        await stream.send(b"GET / HTTP/1.1\r\nx: " + b"y" * (20 << 10))
        assert (await read_all(stream)).startswith(b"HTTP/1.1 431 ")


async def test_requests_that_are_not_waited_for_are_bounded() -> None:
    async with served() as made, await made.connect() as stream:
        await stream.send(GET * 20_000)
        found = await read_all(stream)
        assert found.count(b"HTTP/1.1 200 OK") <= LIMITS.pipelined + 1
        assert made.closed == {"too_large": 1}


async def test_a_few_requests_at_once_are_answered_in_order() -> None:
    async with served(replace(LIMITS, idle=0.1)) as made, await made.connect() as stream:
        await stream.send(GET * LIMITS.pipelined)
        assert (await read_all(stream)).count(b"HTTP/1.1 200 OK") == LIMITS.pipelined
        assert not made.closed


async def test_malformed_requests_are_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with served() as made:
        for junk in (
            b"\x16\x03\x01\x02\x00\x01",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\n",
            b"GET\n",
        ) * 5:
            async with await made.connect() as stream:
                await stream.send(junk)
                assert (await read_all(stream)).startswith(b"HTTP/1.1 400 ")
        assert made.closed == {"malformed": 20}
    lines = [record.getMessage() for record in caplog.records if record.name == "probed.web"]
    assert lines == ["telemetry listener: closed connections of clients: 1 malformed"]


async def test_junk_behind_a_request_is_not_answered_within_its_answer() -> None:
    async with served(app=endless) as made, await made.connect() as stream:
        await stream.send(GET)
        await stream.receive(1)
        await stream.send(b"\0\0\0\n")
        assert b"400" not in await read_all(stream)
        assert made.closed == {"malformed": 1}


async def test_an_upgrade_is_not_followed() -> None:
    async with served() as made, await made.connect() as stream:
        await stream.send(
            b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        )
        found = await read_all(stream)
        assert found.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in found


async def test_an_answer_that_is_not_read_is_given_up() -> None:
    async with (
        served(replace(LIMITS, stalled=0.2), endless) as made,
        await made.connect() as stream,
    ):
        await stream.send(GET)
        await until(lambda: made.closed)
        assert made.closed == {"stalled": 1}
        assert len(made.listener.connections) == 0


async def test_the_rest_of_an_answer_that_is_not_read_is_given_up() -> None:
    size = 60 << 10

    async def app(_: Any, __: Any, send: Any) -> None:
        head = [(b"content-length", b"%d" % (30 * size)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for number in range(30):
            last = number == 29
            await send({"type": "http.response.body", "body": b"x" * size, "more_body": not last})

    limits = replace(LIMITS, stalled=0.3)
    async with served(limits, app) as made, await made.connect() as stream:
        await stream.send(GET)
        await until(lambda: made.closed)
        assert made.closed == {"stalled": 1}


async def test_the_oldest_idle_connection_is_closed_for_a_new_one() -> None:
    async with served(replace(LIMITS, connections=8)) as made:
        idle = [await made.connect() for _ in range(40)]
        await made.live()
        assert len(made.listener.connections) <= 8
        assert made.closed["evicted"] >= 32
        assert await read_all(idle[0]) == b""
        for stream in idle:
            await stream.aclose()
        await made.live()


async def test_connections_that_receive_an_answer_are_closed_last() -> None:
    async with (
        served(replace(LIMITS, connections=8), endless) as made,
        await made.connect() as busy,
    ):
        await busy.send(GET)
        assert await busy.receive(10)
        idle = [await made.connect() for _ in range(20)]
        for _ in range(500):
            assert await busy.receive()
        for stream in idle:
            await stream.aclose()


async def test_strangers_that_read_no_answer_keep_nobody_out() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        made = endless if scope["path"] == "/endless" else live
        await made(scope, receive, send)

    live = telemetry_app(scrape, lambda: None, lambda: None)
    async with served(replace(LIMITS, connections=8), app) as made:
        strangers = [await made.connect() for _ in range(20)]
        for stream in strangers:
            try:
                await stream.send(GET.replace(b"/livez", b"/endless"))
            except GONE:
                pass
        await made.live()
        for stream in strangers:
            await stream.aclose()


async def test_an_answer_ends_with_its_connection_also_where_requests_wait_behind_it() -> None:
    ended = anyio.Event()

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with served(app=app) as made:
        async with await made.connect() as stream:
            await stream.send(GET * 3)
            assert await stream.receive(10)
        with anyio.fail_after(5):
            await ended.wait()


@pytest.fixture
def frozen() -> Iterator[None]:
    """No search for garbage in the heap of the whole suite: at its start, the daemon freezes its own."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def answered(made: Served) -> None:
    """Try until `/livez` is answered: among so many, a connection may be the oldest idle one at once."""
    with anyio.fail_after(10):
        done = False
        while not done:
            with suppress(*GONE):
                await made.live(10)
                done = True


@pytest.mark.timing
@pytest.mark.parametrize(
    "first",
    [b"", GET * 200, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000, b"\0\n" * 100, GET + b"y" * 200_000,
     b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\ny\r\n" * 20_000],
    ids=["nothing", "requests", "head", "junk", "body", "chunks"],
)  # fmt: skip
@pytest.mark.usefixtures("frozen")
async def test_a_rush_of_strangers_does_not_stop_the_event_loop(first: bytes) -> None:
    """None of them may delay a check by 100 ms."""
    async with served() as made:
        stopped = threading.Event()

        def rush() -> None:
            open_ones: deque[socket.socket] = deque()
            for _ in range(1000):
                sock = socket.create_connection(("127.0.0.1", made.port), 5)
                open_ones.append(sock)
                with suppress(OSError):
                    sock.settimeout(0.2)
                    sock.sendall(first)
                if len(open_ones) > 200:
                    open_ones.popleft().close()
                if stopped.is_set():
                    break
            for sock in open_ones:
                sock.close()

        async with Watchdog() as watchdog, anyio.create_task_group() as tasks:
            tasks.start_soon(to_thread.run_sync, rush)
            for _ in range(5):
                await answered(made)
            stopped.set()
        assert watchdog.longest < 0.1
