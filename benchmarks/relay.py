"""`python -m benchmarks.relay STARTTLS BANNER STATUS FOLDER`: a mail relay, one that rejects with a
554, and a page with the number of conversations of the first, like nginx's stub_status.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP


async def serve(starttls: int, banner: int, status: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    context.options |= ssl.OP_NO_TICKET
    count = 0

    def relay() -> SMTP:
        nonlocal count
        count += 1
        return SMTP(object(), hostname="mx.bench.test", tls_context=context, loop=loop)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 5.7.1 Service refused\r\n")
        await reader.read()
        writer.close()

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f"server accepts handled requests\n {count} {count} {count}\n"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    await loop.create_server(relay, "127.0.0.1", starttls, backlog=4096)
    await asyncio.start_server(refuse, "127.0.0.1", banner)
    await asyncio.start_server(tell, "127.0.0.1", status)
    await asyncio.Event().wait()


if __name__ == "__main__":
    first, second, third = map(int, sys.argv[1:4])
    asyncio.run(serve(first, second, third, Path(sys.argv[4])))
