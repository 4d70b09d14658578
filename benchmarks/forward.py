"""Forwarder that gives one server many addresses: `python -m benchmarks.forward PORT COUNT [BACKEND]`.

It listens on 127.0.0.1 to 127.0.0.COUNT and forwards to 127.0.0.1:BACKEND; without a BACKEND it
accepts and never answers.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

_CHUNK = 1 << 16


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def _serve(
    backend: int | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if backend is None:
        while await reader.read(_CHUNK):
            pass
        writer.close()
        return
    there, back = await asyncio.open_connection("127.0.0.1", backend)
    await asyncio.gather(_pass(reader, back), _pass(there, writer))


async def _main(port: int, count: int, backend: int | None) -> None:
    serve = partial(_serve, backend)
    hosts = [f"127.0.0.{n}" for n in range(1, count + 1)]
    async with await asyncio.start_server(serve, hosts, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    port, count, *backend = map(int, sys.argv[1:])
    asyncio.run(_main(port, count, backend[0] if backend else None))
