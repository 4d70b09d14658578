"""The servers misbehave as their names say, seen by raw sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from probed.testing.leaks import no_leaks
from probed.testing.peer import Peer
from probed.testing.servers import BEHAVIOURS, Server, serve
from probed.testing.tcp_behaviours import CANARY, FLOOD, drip

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[socket.socket]:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (server.host, server.port))
        yield sock


async def receive(sock: socket.socket, limit: int = 65536) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(sock, limit)


async def stays_silent(sock: socket.socket) -> bool:
    try:
        async with asyncio.timeout(0.05):
            await asyncio.get_running_loop().sock_recv(sock, 1)
    except TimeoutError:
        return True
    return False


async def test_refused() -> None:
    async with serve("refused") as server:
        with pytest.raises(ConnectionRefusedError):
            async with connected(server):
                pass
        assert server.connections == 0


async def test_black_hole() -> None:
    async with serve("black_hole") as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), connected(server):
                pass


@pytest.mark.parametrize("name", ["silent", "tls_stall", "tls_close", "tls_alert", "half_close"])
async def test_those_that_say_nothing_of_their_own(name: str) -> None:
    async with serve(name) as server, connected(server) as sock:
        if name == "half_close":
            assert await receive(sock) == b""
        assert await stays_silent(sock) is (name != "half_close")
        sock.send(b"hello")
        await server.until(lambda: server.received == b"hello")
        assert server.connections == 1


async def test_drip() -> None:
    async with serve(drip(0.01, b"220 ")) as server, connected(server) as sock:
        got = b""
        while len(got) < 8:
            got += await receive(sock, 1)
        assert got == b"220 2222"


async def test_drip_by_name_sends_one_byte_a_second() -> None:
    async with serve("drip") as server, connected(server) as sock:
        assert await receive(sock) == b"2"
        assert await stays_silent(sock)


async def test_reset() -> None:
    async with serve("reset") as server:
        with pytest.raises(ConnectionResetError):
            async with connected(server) as sock:
                await receive(sock)


async def test_frozen_is_a_process_that_answers_when_it_is_woken() -> None:
    async with no_leaks(), serve("frozen") as server, connected(server) as sock:
        assert await stays_silent(sock)
        os.kill(server.process.pid, signal.SIGCONT)  # type: ignore[attr-defined]
        assert await receive(sock) == b"220 awake\r\n"
    assert server.process.returncode == -signal.SIGKILL  # type: ignore[attr-defined]


async def test_reset_mid_line() -> None:
    async with serve("reset_mid_line") as server, connected(server) as sock:
        assert await receive(sock) == b"220 ma"
        with pytest.raises(ConnectionResetError):
            await receive(sock)


async def test_close_early_and_half_line() -> None:
    async with serve("close_early") as server, connected(server) as sock:
        assert await receive(sock) == b""
    async with serve("half_line") as server, connected(server) as sock:
        assert await receive(sock) == b"220 ma"
        assert await receive(sock) == b""


@pytest.mark.parametrize("name", ["endless_line", "endless_lines"])
async def test_floods_are_long_and_end(name: str) -> None:
    async with serve(name) as server, connected(server) as sock:
        size, lines = 0, 0
        while data := await receive(sock, 1 << 20):
            size += len(data)
            lines += data.count(b"\n")
        assert FLOOD * 0.99 < size <= FLOOD
        assert (lines > 1000) is (name == "endless_lines")


async def test_garbage_is_always_the_same() -> None:
    seen = set()
    for _ in range(2):
        async with serve("garbage") as server, connected(server) as sock:
            got = b""
            while len(got) < 4096:
                got += await receive(sock)
            seen.add(got)
    assert len(seen) == 1


async def test_hostile_line_holds_what_its_name_says() -> None:
    async with serve("hostile_line") as server, connected(server) as sock:
        line = await receive(sock)
    for part in (b"\x1b[31m", b"\x00", "\u202e".encode(), "\x9b".encode(), CANARY.encode()):
        assert part in line
    assert line.endswith(b"\r\n")


async def _handshake(server: Server) -> None:
    client = ssl.create_default_context()
    async with asyncio.timeout(5):
        await asyncio.open_connection(
            server.host, server.port, ssl=client, server_hostname="any.example"
        )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plain_on_tls", "WRONG_VERSION_NUMBER"),
        ("tls_alert", "HANDSHAKE_FAILURE"),
        ("tls_old", "ALERT_PROTOCOL_VERSION"),
        ("tls_on_plain", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_answers_to_a_client_hello(name: str, reason: str) -> None:
    async with serve(name) as server:
        with pytest.raises(ssl.SSLError) as caught:
            await _handshake(server)
    assert reason in (caught.value.reason or "").replace("RECORD_LAYER_FAILURE", reason)


async def test_tls_on_plain_says_nothing_to_a_client_that_waits() -> None:
    async with serve("tls_on_plain") as server, connected(server) as sock:
        assert await stays_silent(sock)


async def test_tls_stall_reads_the_client_hello() -> None:
    async with serve("tls_stall") as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await _handshake(server)
        assert server.received[:1] == b"\x16"


async def test_tls_close() -> None:
    async with serve("tls_close") as server:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await _handshake(server)


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
async def test_nothing_is_left_when_the_block_ends(name: str) -> None:
    """The client is connected, has sent a request, and reads nothing."""
    async with no_leaks(), serve(name) as server:
        if BEHAVIOURS[name].talk is not None:
            async with connected(server) as sock:
                sock.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await server.until(lambda: server.connections == 1)


async def test_the_end_does_not_wait_for_a_client_that_holds_on() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        async with no_leaks(), serve("endless_line") as server:
            sock.connect((server.host, server.port))
            await server.until(lambda: server.connections == 1)
            start = loop.time()
        assert loop.time() - start < 1.0


async def test_a_server_can_refuse_and_come_back_on_the_same_port() -> None:
    """Existing connections are reset, and the port stays reserved in between."""
    async with no_leaks(), serve("silent") as server, connected(server) as first:
        await server.until(lambda: server.connections == 1)
        port = server.port
        for _ in range(2):  # twice is as good as once
            await server.refuse()
        with pytest.raises(ConnectionResetError):
            await receive(first)
        with pytest.raises(ConnectionRefusedError):
            async with connected(server):
                pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((server.host, port))
        for _ in range(2):
            server.resume()
        async with connected(server):
            await server.until(lambda: server.connections == 2)
        assert server.port == port


async def test_an_error_of_a_behaviour_is_raised_at_the_end() -> None:
    async def broken(peer: Peer) -> None:
        await peer.read_line()
        raise KeyError("oops")

    async def provoke() -> None:
        async with serve(broken) as server, connected(server) as sock:
            sock.send(b"\n")
            assert await receive(sock) == b""

    with pytest.raises(KeyError, match="oops"):
        await provoke()


async def test_the_error_of_the_block_comes_first_and_unwrapped() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with serve("silent"):
            raise LookupError("mine")


async def test_a_block_that_is_cancelled_leaves_nothing() -> None:
    async with no_leaks():
        with anyio.move_on_after(0.05) as scope:
            async with serve("silent") as server, connected(server) as sock:
                await receive(sock)
        assert scope.cancelled_caught


async def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError):
        serve("polite")


def test_every_behaviour_says_what_it_does() -> None:
    for name, behaviour in BEHAVIOURS.items():
        assert behaviour.sentence.endswith("."), name
