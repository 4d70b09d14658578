"""Misbehaviours in HTTP/1.1. Each reads the head of the request first, except `answer_first`."""

from __future__ import annotations

import gzip
import random
import zlib
from functools import lru_cache

from probed.testing.peer import Peer
from probed.testing.tcp_behaviours import FLOOD, HOSTILE, SEED, Talk

BOMB = 1 << 30
"""Bytes to which a bomb expands."""
_BLOCK = 1 << 20
_BOMB_CRC = 0x5B64C2B0
"""CRC-32 of `BOMB` zero bytes."""
_BOMB_ADLER = (BOMB % 65521) << 16 | 1
_OK = b"HTTP/1.1 200 OK\r\n"
_HELLO = b"Content-Length: 5\r\n\r\nhello"


def canned(answer: bytes, sentence: str) -> Talk:
    """A behaviour that answers the request with these bytes and closes."""

    async def answering(peer: Peer) -> None:
        await peer.read_until(b"\r\n\r\n")
        await peer.send(answer)

    answering.__doc__ = sentence
    return answering


def status(line: bytes, sentence: str) -> Talk:
    """A behaviour that answers with this status line, and `hello`."""
    return canned(line + b"\r\n" + _HELLO, sentence)


async def answer_first(peer: Peer) -> None:
    """It answers before the request."""
    await peer.send(_OK + _HELLO)
    await peer.until_gone()


async def stall_body(peer: Peer) -> None:
    """It sends the headers and a piece of the body, and stays silent."""
    await peer.read_until(b"\r\n\r\n")
    await peer.send(_OK + b"Content-Length: 1000\r\n\r\nhel")
    await peer.until_gone()


def drip_body(interval: float = 1.0) -> Talk:
    """A behaviour that sends the body one byte every `interval` seconds."""

    async def dripping(peer: Peer) -> None:
        """It sends the body one byte at a time."""
        await peer.read_until(b"\r\n\r\n")
        await peer.send(_OK + b"Content-Length: 100000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await peer.pause(interval)

    return dripping


def slow_body(rate: float = 1000.0) -> Talk:
    """A behaviour that sends a long body at `rate` bytes a second."""

    async def trickling(peer: Peer) -> None:
        """It sends the body at 1 kB/s."""
        await peer.read_until(b"\r\n\r\n")
        await peer.send(_OK + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(1000):
            await peer.send(b"x" * 100)
            await peer.pause(100 / rate)

    return trickling


async def reset_mid_response(peer: Peer) -> None:
    """It resets the connection within the body."""
    await peer.read_until(b"\r\n\r\n")
    await peer.send(_OK + b"Content-Length: 1000\r\n\r\nhel")
    await peer.pause(0.02)  # a reset overtakes unread data
    peer.reset()


async def endless_headers(peer: Peer) -> None:
    """Its headers never end."""
    await peer.read_until(b"\r\n\r\n")
    await _flood(peer, _OK, b"X-Filler: " + b"a" * 100 + b"\r\n")


async def endless_header_line(peer: Peer) -> None:
    """One of its headers never ends."""
    await peer.read_until(b"\r\n\r\n")
    await _flood(peer, _OK + b"X-Filler: ", b"a" * 100)


async def informational_flood(peer: Peer) -> None:
    """Its informational responses never end."""
    await peer.read_until(b"\r\n\r\n")
    await _flood(peer, b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


async def _flood(peer: Peer, start: bytes, piece: bytes) -> None:
    chunk = piece * (65536 // len(piece))
    await peer.send(start)
    for _ in range(FLOOD // len(chunk)):
        await peer.send(chunk)


async def huge_body(peer: Peer) -> None:
    """It sends a chunked body of 1 GiB."""
    await peer.read_until(b"\r\n\r\n")
    await peer.send(_OK + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(BOMB // 65536):
        await peer.send(chunk)
    await peer.send(b"0\r\n\r\n")


async def chunked_garbage(peer: Peer) -> None:
    """Its chunked body is random bytes, always the same ones."""
    await peer.read_until(b"\r\n\r\n")
    noise = random.Random(SEED).randbytes(4096)  # noqa: S311  # garbage is no secret
    await peer.send(_OK + b"Transfer-Encoding: chunked\r\n\r\n" + noise)


async def redirect_loop(peer: Peer) -> None:
    """It redirects every request to itself."""
    head = await peer.read_until(b"\r\n\r\n")
    target = head.split(b" ")[1] if head.count(b" ") >= 2 else b"/"
    await peer.send(b"HTTP/1.1 302 Found\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n")


async def gzip_bomb(peer: Peer) -> None:
    """Its body of 1 MiB is gzip that expands to 1 GiB."""
    await _encoded(peer, b"gzip", _gzip())


async def double_gzip_bomb(peer: Peer) -> None:
    """Its body is gzip of gzip: a few KiB expand to 1 MiB, and that to 1 GiB."""
    await _encoded(peer, b"gzip, gzip", _double_gzip())


async def deflate_bomb(peer: Peer) -> None:
    """Its body of 1 MiB is deflate that expands to 1 GiB."""
    await _encoded(peer, b"deflate", _deflate())


async def _encoded(peer: Peer, encoding: bytes, body: bytes) -> None:
    await peer.read_until(b"\r\n\r\n")
    await peer.send(
        _OK + b"Content-Encoding: " + encoding + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    for start in range(0, len(body), 65536):
        await peer.send(body[start : start + 65536])


@lru_cache(maxsize=1)
def _zeros() -> bytes:
    """A raw deflate stream of `BOMB` zero bytes, from one compressed block that is repeated: a full
    flush makes it depend on nothing before it.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (BOMB // _BLOCK) + packer.flush()


@lru_cache(maxsize=1)
def _gzip() -> bytes:
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return head + _zeros() + _BOMB_CRC.to_bytes(4, "little") + BOMB.to_bytes(4, "little")


@lru_cache(maxsize=1)
def _double_gzip() -> bytes:
    return gzip.compress(_gzip(), mtime=0)


@lru_cache(maxsize=1)
def _deflate() -> bytes:
    return b"\x78\xda" + _zeros() + _BOMB_ADLER.to_bytes(4, "big")


CANNED: dict[str, Talk] = {
    "close_mid_body": canned(
        _OK + b"Content-Length: 1000\r\n\r\nhello", "It closes within the body."
    ),
    "close_mid_headers": canned(_OK + b"Content-Ty", "It closes within the headers."),
    "close_mid_chunk": canned(
        _OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhello", "It closes within a chunk."
    ),
    "bad_chunk_size": canned(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "The size of a chunk is negative.",
    ),
    "huge_chunk_size": canned(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nhello",
        "The size of a chunk fits no integer.",
    ),
    "negative_length": canned(
        _OK + b"Content-Length: -5\r\n\r\nhello", "The length of the body is negative."
    ),
    "huge_length": canned(
        _OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nhello",
        "The length of the body fits no integer.",
    ),
    "duplicate_length": canned(
        _OK + b"Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello", "The body has two lengths."
    ),
    "length_and_chunked": canned(
        _OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "The body has a length and is chunked.",
    ),
    "http_09": canned(b"<html>hello</html>\r\n", "It answers as HTTP/0.9 does, without headers."),
    "bad_gzip": canned(
        _OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        "The body is not gzip, although the header says so.",
    ),
    "status_999": status(b"HTTP/1.1 999 Whatever", "Its status is 999."),
    "status_600": status(b"HTTP/1.1 600 Whatever", "Its status is 600."),
    "status_000": status(b"HTTP/1.1 000 Whatever", "Its status is 000."),
    "status_words": status(b"HTTP/1.1 OK 200", "Its status is not a number."),
    "hostile_reason": status(
        b"HTTP/1.1 500 " + HOSTILE, "Its reason phrase holds terminal escapes and a secret."
    ),
    "hostile_header": canned(
        b"HTTP/1.1 302 Found\r\nServer: " + HOSTILE + b"\r\nLocation: " + HOSTILE
        + b"\r\nContent-Type: " + HOSTILE + b"\r\nContent-Length: 0\r\n\r\n",
        "Its headers hold terminal escapes, bidirectional overrides and a secret.",
    ),
    "redirect_to_metadata": canned(
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\n"
        b"Content-Length: 0\r\n\r\n",
        "It redirects to the metadata service of the cloud.",
    ),
    "nul_header": canned(_OK + b"X-Nul: a\x00b\r\n" + _HELLO, "One of its headers holds NUL."),
    "cr_header": canned(_OK + b"X-Cr: a\rX-B: b\r\n" + _HELLO, "One of its headers holds a CR."),
    "hostile_body": canned(
        b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(HOSTILE) + HOSTILE,
        "Its body holds terminal escapes, bidirectional overrides and a secret.",
    ),
    "no_content_with_body": canned(
        b"HTTP/1.1 204 No Content\r\n" + _HELLO, "It sends a body with status 204."
    ),
}  # fmt: skip
