"""The misbehaving HTTP peers, byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from probed.testing.http_behaviours import BOMB, slow_body
from probed.testing.servers import BEHAVIOURS, serve
from probed.testing.tcp_behaviours import CANARY, FLOOD

pytestmark = pytest.mark.anyio

REQUEST = b"GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n"


async def ask(name: str, limit: int = 1 << 32) -> tuple[bytes, int]:
    """Return the first MiB of the answer, and its length up to `limit`."""
    async with asyncio.timeout(20), serve(name) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            writer.write(REQUEST)
            start, size = b"", 0
            while size < limit and (data := await reader.read(1 << 20)):
                size += len(data)
                start += data[: (2 << 20) - len(start)]
            return start, size
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("close_mid_body", b"Content-Length: 1000\r\n\r\nhello"),
        ("close_mid_headers", b"\r\nContent-Ty"),
        ("close_mid_chunk", b"\r\n\r\nff\r\nhello"),
        ("bad_chunk_size", b"\r\n\r\n-5\r\n"),
        ("negative_length", b"Content-Length: -5\r\n"),
        ("duplicate_length", b"Content-Length: 5\r\nContent-Length: 4\r\n"),
        ("length_and_chunked", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("http_09", b"<html>"),
        ("status_999", b"HTTP/1.1 999 "),
        ("status_600", b"HTTP/1.1 600 "),
        ("status_000", b"HTTP/1.1 000 "),
        ("status_words", b"HTTP/1.1 OK 200\r\n"),
        ("nul_header", b"\x00"),
        ("cr_header", b": a\rX-B"),
        ("redirect_loop", b"\r\nLocation: /a?b\r\n"),
        ("redirect_to_metadata", b"\r\nLocation: http://169.254.169.254/latest/\r\n"),
        ("no_content_with_body", b" 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
        ("bad_gzip", b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
    ],
)
async def test_canned_answers(name: str, part: bytes) -> None:
    answer, _ = await ask(name)
    assert part in answer


@pytest.mark.parametrize("name", ["hostile_reason", "hostile_header", "hostile_body"])
async def test_hostile_answers_hold_escapes_and_a_secret(name: str) -> None:
    answer, _ = await ask(name)
    head, _, body = answer.partition(b"\r\n\r\n")
    place = {"hostile_reason": head.split(b"\r\n")[0], "hostile_header": head, "hostile_body": body}
    for part in (b"\x1b[31m", "\u202e".encode(), CANARY.encode()):
        assert part in place[name]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("endless_headers", b"\r\nX-Filler: aaa"),
        ("endless_header_line", b"X-Filler: " + b"a" * 100_000),
        ("informational_flood", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103"),
    ],
)
async def test_floods_never_come_to_a_body(name: str, part: bytes) -> None:
    answer, size = await ask(name)
    assert part in answer
    assert FLOOD * 0.99 < size < FLOOD * 1.01


async def test_huge_body_is_a_gibibyte() -> None:
    """It is generated, not held in memory."""
    answer, size = await ask("huge_body", limit=256 << 20)
    assert b"Transfer-Encoding: chunked\r\n\r\n10000\r\nxxx" in answer
    assert size >= 256 << 20


@pytest.mark.parametrize("name", ["gzip_bomb", "deflate_bomb"])
async def test_bombs_are_small_and_expand_to_a_gibibyte(name: str) -> None:
    """They are valid, including their checksums."""
    answer, _ = await ask(name)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert len(body) < BOMB // 500
    inflater = zlib.decompressobj(47)
    size = 0
    while not inflater.eof:
        size += len(inflater.decompress(body, 4 << 20))
        body = inflater.unconsumed_tail
    assert size == BOMB


async def test_the_double_bomb_is_a_bomb_within() -> None:
    bomb, _ = await ask("gzip_bomb")
    answer, _ = await ask("double_gzip_bomb")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip, gzip\r\n" in head
    assert len(body) < 64 << 10
    assert gzip.decompress(body) == bomb.partition(b"\r\n\r\n")[2]


async def test_reset_mid_response() -> None:
    async with serve("reset_mid_response") as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(REQUEST)
        assert (await reader.readexactly(8)).startswith(b"HTTP/1.1")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.transport.abort()


@pytest.mark.parametrize(
    "name", ["stall_body", "drip_body", "slow_body", "drip_headers", "chunked_garbage"]
)
async def test_those_that_begin_well(name: str) -> None:
    answer, _ = await ask(name, limit=20)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_slow_body_comes_at_the_rate_that_is_asked_for() -> None:
    loop = asyncio.get_running_loop()
    async with serve(slow_body(20_000.0)) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        start = loop.time()
        await reader.readexactly(2000)
        assert loop.time() - start >= 0.09
        writer.transport.abort()


async def test_answer_first_does_not_wait_for_the_request() -> None:
    async with serve("answer_first") as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert b"hello" in await reader.readuntil(b"hello")
        writer.transport.abort()
        assert server.received == b""


def test_what_is_broken_is_said_to_be() -> None:
    assert not BEHAVIOURS["gzip_bomb"].broken
    assert BEHAVIOURS["close_mid_body"].broken
