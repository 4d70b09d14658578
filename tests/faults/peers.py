"""Well-behaved peers as a program of its own: `python peers.py HOST FOLDER`.

Prints one JSON object of the ports and ends with its standard input. The certificate's authority is
`FOLDER/ca.pem`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from probed.testing import Answer, Authority, DnsServer, Peer, http_server, serve

PAUSE = 0.3
"""Seconds that the slow ones take."""


async def greet(peer: Peer) -> None:
    await peer.send(b"220 hello\r\n")
    await peer.until_gone()


async def greet_late(peer: Peer) -> None:
    await peer.pause(PAUSE)
    await greet(peer)


async def main(host: str, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    authority = Authority()
    authority.pem_file(folder)
    # A certificate that does not fit into one packet.
    issued = authority.issue(host, *(f"name-{n}.of.many.example.com" for n in range(60)))
    health = Answer(headers={"Content-Type": "application/json"}, body='{"status": "UP"}')
    answers = {"/health": health, "/big": Answer(body="x" * 20_000)}
    zone = {("peer.example.com", "A"): [host], ("peer.example.com", "AAAA"): ["2001:db8::2"]}
    async with AsyncExitStack() as stack:
        servers = {
            "line": serve(greet, host=host),
            "late": serve(greet_late, host=host),
            "http": http_server(answers, host=host),
            "tls": http_server(answers, tls=issued.context, host=host),
            # In a namespace of its own it can be where a resolver file leads to.
            "dns": DnsServer(zone, host=host, port=0 if host == "127.0.0.1" else 53),
        }
        for server in servers.values():
            await stack.enter_async_context(server)
        print(json.dumps({name: server.port for name, server in servers.items()}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
