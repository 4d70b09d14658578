"""Misbehaviours below the application protocol: connection, first line, TLS handshake."""

from __future__ import annotations

import random
import ssl
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

from probed.testing.certificates import Authority
from probed.testing.peer import Peer

Talk: TypeAlias = Callable[[Peer], Awaitable[None]]
"""Coroutine function that serves one connection, which is closed when it returns."""

SEED = 20260101
FLOOD = 64 << 20
"""Bytes of a flood; a client that reads them all has no limit."""
CANARY = "canary-d0n0tl3ak-9b1f"
"""A secret that misbehaving peers echo. It must not appear in anything that is stored or printed."""
ESCAPES = "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J\u202eevil\u2066\u200b\ufeff\x08\x7f"
"""Sequences that mislead terminals, logs or readers."""
HOSTILE = f"{ESCAPES} {CANARY} {ESCAPES}".encode()


async def silent(peer: Peer) -> None:
    """It accepts and never answers."""
    await peer.until_gone()


def drip(interval: float = 1.0, start: bytes = b"") -> Talk:
    """A behaviour that sends an endless first line, one byte every `interval` seconds."""

    async def dripping(peer: Peer) -> None:
        """It sends an endless first line, one byte at a time."""
        await peer.send(start)
        while True:
            await peer.send(b"2")
            await peer.pause(interval)

    return dripping


async def reset(peer: Peer) -> None:
    """It resets the connection at once."""
    peer.reset()


async def reset_mid_line(peer: Peer) -> None:
    """It resets the connection within its first line."""
    await peer.send(b"220 ma")
    await peer.pause(0.02)  # a reset overtakes what was not read yet
    peer.reset()


async def close_early(peer: Peer) -> None:
    """It closes the connection at once."""


async def half_close(peer: Peer) -> None:
    """It closes its sending direction at once, and keeps reading."""
    peer.half_close()
    await peer.until_gone()


async def half_line(peer: Peer) -> None:
    """It closes within its first line."""
    await peer.send(b"220 ma")


async def endless_line(peer: Peer) -> None:
    """Its first line never ends."""
    chunk = b"2" * 65536
    for _ in range(FLOOD // len(chunk)):
        await peer.send(chunk)


async def endless_lines(peer: Peer) -> None:
    """Its greeting never ends."""
    chunk = b"220-mail.example.com says hello\r\n" * 2000
    for _ in range(FLOOD // len(chunk)):
        await peer.send(chunk)


async def garbage(peer: Peer) -> None:
    """It sends random bytes, always the same ones."""
    await peer.send(random.Random(SEED).randbytes(4096))  # noqa: S311  # garbage is no secret
    await peer.until_gone()


async def hostile_line(peer: Peer) -> None:
    """Its first line holds terminal escapes, bidirectional overrides, NUL and a secret."""
    await peer.send(b"220 \x00" + HOSTILE + b"\r\n")
    await peer.until_gone()


async def plain_on_tls(peer: Peer) -> None:
    """It speaks plain text where TLS is expected."""
    await peer.send(b"220 mail.example.com ESMTP\r\n")
    await peer.until_gone()


async def tls_on_plain(peer: Peer) -> None:
    """It speaks TLS where plain text is expected."""
    await peer.start_tls(Authority.self_signed("127.0.0.1").context)


async def tls_old(peer: Peer) -> None:
    """It supports TLS up to 1.1 only."""
    await peer.start_tls(_old())


@lru_cache(maxsize=1)
def _old() -> ssl.SSLContext:
    context = replace(Authority.self_signed("127.0.0.1"), security=0).context
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


async def tls_stall(peer: Peer) -> None:
    """It reads the ClientHello and stays silent."""
    await _client_hello(peer)
    await peer.until_gone()


async def tls_close(peer: Peer) -> None:
    """It reads the ClientHello and closes."""
    await _client_hello(peer)


async def tls_alert(peer: Peer) -> None:
    """It answers the ClientHello with a handshake_failure alert."""
    await _client_hello(peer)
    await peer.send(bytes.fromhex("15 03 03 00 02 02 28"))
    await peer.until_gone()


async def _client_hello(peer: Peer) -> None:
    header = await peer.read_exactly(5)
    await peer.read_exactly(int.from_bytes(header[3:5], "big"))
