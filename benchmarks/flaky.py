"""Peers of the soak: `python -m benchmarks.flaky SEED` prints its HTTP port and its TCP ports.

One peer in a hundred is flaky: for some seconds each, it works or fails in one of several ways. An HTTP
peer is a path, `/17`; a TCP peer is a port. The first of each is flaky, the others never fail.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from contextlib import suppress

PORTS = 100
TURN = 7.0
"""Seconds between two changes of a flaky peer."""
WAYS = ("well", "reset", "stall", "garbage", "late", "error")
_OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"status": "pass"}'
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


def is_flaky(peer: int) -> bool:
    return peer % 100 == 0


class Peers:
    """Protocol that answers like each peer does now."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def _way(self, peer: int) -> str:
        if not is_flaky(peer):
            return "well"
        turn = int(time.monotonic() / TURN)
        return random.Random(f"{self._seed} {peer} {turn}").choice(WAYS)  # no secret

    async def _misbehave(self, writer: asyncio.StreamWriter, way: str) -> bool:
        """Fail in this way. Return False if the answer must still be sent."""
        if way == "reset":
            writer.transport.abort()
        elif way == "garbage":
            writer.write(bytes(range(256)) * 8)
            await writer.drain()
        elif way == "stall":
            await asyncio.sleep(30)
        elif way == "late":
            await asyncio.sleep(2)
            return False
        else:
            return False
        return True

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            match = re.match(rb"GET /(\d+) ", head)
            way = self._way(int(match[1]) if match else 1)
            if not await self._misbehave(writer, way):
                writer.write(_ERROR if way == "error" else _OK)
                await writer.drain()
        writer.close()

    async def line(
        self, peer: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            way = self._way(peer)
            if not await self._misbehave(writer, way):
                writer.write(b"554 no\r\n" if way == "error" else b"220 ready\r\n")
                await writer.drain()
                await reader.read(1)
        writer.close()


async def _main(seed: str) -> None:
    peers = Peers(seed)
    servers = [await asyncio.start_server(peers.http, "127.0.0.1", 0, backlog=1024)]
    for peer in range(PORTS):

        async def line(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: int = peer
        ) -> None:
            await peers.line(peer, reader, writer)

        servers.append(await asyncio.start_server(line, "127.0.0.1", 0, backlog=256))
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
