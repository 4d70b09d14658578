"""Relays that say what a test tells them to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from probed import Tls
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import Authority, Peer, Server, no_leaks, serve
from probed.testing.soundness import assert_memory, assert_sound
from probed.text.redact import Redactor
from probes.smtp import SmtpProbe

EHLO = (b"mx.example.test", b"SIZE 1000000", b"8BITMIME", b"ENHANCEDSTATUSCODES")


@dataclass
class Script:
    """What a relay says. `answers` are by the beginning of the command; None closes."""

    banner: bytes | None = b"220 mx.example.test ESMTP\r\n"
    offers: tuple[bytes, ...] = EHLO
    secure_offers: tuple[bytes, ...] | None = None
    answers: Mapping[bytes, bytes | None] = field(default_factory=dict)
    starttls: bytes = b"220 2.0.0 Ready\r\n"
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    then: Callable[[Peer], Awaitable[None]] | None = None
    """What it does in place of greeting, or, over TLS, of going on."""
    delay: float = 0.0
    heard: list[bytes] = field(default_factory=list)

    async def __call__(self, peer: Peer) -> None:
        if self.implicit:
            assert self.tls is not None
            await peer.start_tls(self.tls)
            if self.then is not None:
                await self.then(peer)
                return
        elif self.tls is None and self.then is not None:
            await self.then(peer)
            return
        if self.delay:
            await peer.pause(self.delay)
        if self.banner is None:
            return
        await peer.send(self.banner)
        await self._converse(peer, self.offers)

    async def _converse(self, peer: Peer, offers: tuple[bytes, ...]) -> None:
        while True:
            line = await peer.read_line()
            self.heard.append(line)
            known = next((k for k in self.answers if line.upper().startswith(k)), None)
            if known is not None:
                answer = self.answers[known]
                if answer is None:
                    return None
                await peer.send(answer)
            elif line.startswith(b"EHLO"):
                await peer.send(_multiline(offers))
            elif line == b"STARTTLS" and self.tls is not None:
                await peer.send(self.starttls)
                await peer.start_tls(self.tls)
                if self.then is not None:
                    await self.then(peer)
                    return None
                return await self._converse(peer, self.secure_offers or offers)
            elif line == b"QUIT":
                await peer.send(b"221 2.0.0 Bye\r\n")
                return None
            else:
                await peer.send(b"250 2.0.0 Ok\r\n")

    @property
    def commands(self) -> list[str]:
        return [line.decode("latin-1").partition(" ")[0].upper() for line in self.heard]


def _multiline(lines: tuple[bytes, ...]) -> bytes:
    return b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Any) -> Tls:
    return Tls(ca=authority.pem_file(tmp_path))


def relay(server: Server, name: str = "mx", tls: str = "none", **more: Any) -> dict[str, Any]:
    return {"name": name, "host": server.host, "port": server.port, "tls": tls, **more}


@dataclass
class Run:
    """Runs a probe of scripts, and sees that the result is sound."""

    timeout: float = 3.0
    memory: dict[str, Any] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)

    async def __call__(self, *scripts: Any, **settings: Any) -> Result:
        """Of a script for each relay, `tls` of all said by `mode`; the first is the primary."""
        mode = settings.pop("mode", "none")
        async with self.serving(*scripts) as servers:
            names = ["primary", "backup", "third"] if len(scripts) > 1 else ["mx"]
            relays = [
                relay(server, name, mode) for server, name in zip(servers, names, strict=False)
            ]
            return await self.of(relays, **settings)

    @asynccontextmanager
    async def serving(self, *scripts: Any) -> AsyncIterator[list[Server]]:
        from contextlib import AsyncExitStack

        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(serve(script)) for script in scripts]

    async def of(self, relays: list[dict[str, Any]], **settings: Any) -> Result:
        probe = SmtpProbe(relays=relays, helo=settings.pop("helo", "probe.test"), **settings)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with no_leaks():
            result = await execute(
                probe, network=Network(), timeout=self.timeout, memory=self.memory,
                redactor=self.redactor,
            )  # fmt: skip
        assert loop.time() - began < self.timeout + 0.3
        assert_sound(probe, result)
        assert_memory(self.memory)
        return result


@pytest.fixture
def run() -> Run:
    return Run()
