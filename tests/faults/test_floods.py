"""Peers that send faster than anybody reads, of each message that a protocol has: they hold neither the
event loop nor a run, and fill no memory. The peer is a process of its own.
"""

from __future__ import annotations

import asyncio
import re
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.engine.runner import execute
from probed.net import Network, Resolver
from probed.testing import Authority, no_leaks
from probed.testing.flood import Flood, flooding
from probed.testing.watchdog import Watchdog
from probes.dns import DnsProbe
from probes.gateway import GatewayProbe
from probes.tcp import TcpProbe

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

TIMEOUT = 1.0
GRACE = 0.3
"""Seconds after its deadline at which a run has ended."""
STOP = 0.1
"""Seconds of processor time for which nothing else may have a turn."""
ROOM = 64 << 20
"""Bytes that one run may add to the memory."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = b"a" * 8192

HTTP = {
    "headers": Flood(b"a: b\r\n", replies=(OK,)),
    "one header": Flood(LONG, replies=(OK + b"a: ",)),
    "folded header": Flood(b" a\r\n", replies=(OK + b"a: b\r\n",)),
    "one status line": Flood(LONG, replies=(b"HTTP/1.1 200 ",)),
    "empty lines first": Flood(b"\r\n"),
    "informational responses": Flood(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"),
    "chunks of one byte": Flood(b"1\r\na\r\n", replies=(CHUNKED,)),
    "chunks with extensions": Flood(b"1;a=b;c=d\r\na\r\n", replies=(CHUNKED,)),
    "one extension": Flood(LONG, replies=(CHUNKED + b"1;a=",)),
    "one chunk size": Flood(b"0" * 8192, replies=(CHUNKED,)),
    "trailers": Flood(b"a: b\r\n", replies=(CHUNKED + b"0\r\n",)),
    "one trailer": Flood(LONG, replies=(CHUNKED + b"0\r\na: ",)),
    "trailers in pieces": Flood(b"a: b\r\n", replies=(CHUNKED + b"0\r\n",), piece=6),
    "a body without end": Flood(LONG, replies=(OK + b"\r\n",)),
    "a body of a petabyte": Flood(LONG, replies=(OK + b"Content-Length: 1000000000000000\r\n\r\n",)),
    "responses after the response": Flood(OK + b"Content-Length: 0\r\n\r\n"),
    "a response, then noise": Flood(b"\0", replies=(OK + b"Content-Length: 2\r\n\r\nok",)),
    "binary noise": Flood(bytes(range(256))),
}  # fmt: skip
MAY_BE_OK = {"responses after the response", "a response, then noise", "a body without end"}
"""What is sent after the end of a response is not part of it; a body may be longer than is read."""


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113 section 4.1)."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


SETTINGS = frame(4)
HEAD = frame(1, 4, 1, b"\x88")  # :status 200
HTTP2 = {
    "pings": Flood(frame(6, payload=bytes(8)), replies=(SETTINGS,)),
    "settings": Flood(SETTINGS, replies=(SETTINGS,)),
    "window updates": Flood(frame(8, payload=b"\0\0\0\1"), replies=(SETTINGS,)),
    "unknown frames": Flood(frame(0x60), replies=(SETTINGS,)),
    "priorities": Flood(frame(2, stream=1, payload=b"\0\0\0\3\0"), replies=(SETTINGS,)),
    "a header block without end": Flood(
        frame(9, stream=1, payload=b"\x40\1a\1b"), replies=(SETTINGS + frame(1, 0, 1),)
    ),
    "empty continuations": Flood(frame(9, stream=1), replies=(SETTINGS + frame(1, 0, 1),)),
    "empty data": Flood(frame(0, stream=1), replies=(SETTINGS + HEAD,)),
    "padding": Flood(frame(0, 8, 1, b"\xff" + bytes(255)), replies=(SETTINGS + HEAD,)),
    "data of one byte": Flood(frame(0, stream=1, payload=b"a"), replies=(SETTINGS + HEAD,)),
    "trailers": Flood(frame(1, 4, 1, b"\x40\1a\1b"), replies=(SETTINGS + HEAD,)),
    "resets of other streams": Flood(frame(3, stream=3, payload=bytes(4)), replies=(SETTINGS,)),
    "promises": Flood(frame(5, 4, 1, b"\0\0\0\2\x82"), replies=(SETTINGS,)),
    "a frame of 16 MiB": Flood(LONG, replies=(SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1",)),
}

TLS = {
    "alerts": Flood(b"\x15\x03\x03\0\2\x01\x5a"),
    "changes of the cipher": Flood(b"\x14\x03\x03\0\1\1"),
    "empty records": Flood(b"\x16\x03\x03\0\0"),
    "hello requests": Flood(b"\x16\x03\x03\0\4\0\0\0\0"),
    "a message of 16 MiB": Flood(b"\x16\x03\x03\x10\0" + bytes(4096), greeting=b"\x16\x03\x03\0\4\2\xff\xff\xff"),
    "application data": Flood(b"\x17\x03\x03\x10\0" + bytes(4096)),
    "text": Flood(b"220 ready\r\n"),
}  # fmt: skip
OVER_TLS = {
    "session tickets": Flood(b"", tickets=1_000_000, greeting=OK),
    "records of one byte": Flood(b"a: b\r\n", replies=(OK,), piece=1),
    "headers": Flood(b"a: b\r\n", replies=(OK,)),
    "trailers": Flood(b"a: b\r\n", replies=(CHUNKED + b"0\r\n",)),
}

BANNER = {
    "a line without end": Flood(LONG, greeting=b"220 "),
    "a line in pieces": Flood(b"2", greeting=b"220 ", piece=1),
    "empty lines": Flood(b"\n", greeting=b"\n"),
    "lines": Flood(b"999 no\r\n", greeting=b"999 no\r\n"),
}

QUESTION = b"\1a\4test\0\0\1\0\1"
TINY = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\0"
DNS = {
    "junk": Flood(b"\xff\xff" + bytes(40), udp=True),
    "junk with the right id": Flood(b"\0\0" + b"\xff" * 40, udp=True, echo_id=True),
    "one byte": Flood(b"\0", udp=True),
    "answers to another question": Flood(
        b"\0\0\x81\x80\0\1\0\0\0\0\0\0\1b\4test\0\0\1\0\1", udp=True, echo_id=True
    ),
    "a great many records": Flood(
        b"\0\0\x81\x80\0\1\x0f\xa0\0\0\0\0" + QUESTION + TINY * 1300, udp=True, echo_id=True
    ),
    "a large answer": Flood(
        b"\0\0\x81\x80\0\1\x13\x88\0\0\0\0" + QUESTION + TINY * 5000, udp=True, echo_id=True
    ),
    "names that point to names": Flood(
        b"\0\0\x81\x80\0\1\0\x40\0\0\0\0" + QUESTION + b"\xc0\x0c\0\5\0\1\0\0\0\0\0\2\xc0\x0c" * 64,
        udp=True, echo_id=True,
    ),
    "pointers in a circle": Flood(
        b"\0\0\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c\0\1\0\1", udp=True, echo_id=True
    ),
    "cut off": Flood(b"\0\0\x83\x80\0\1\0\0\0\0\0\0" + QUESTION, udp=True, echo_id=True),
}  # fmt: skip


ROWS = {
    "HTTP/1.1": HTTP, "HTTP/2": HTTP2, "TLS: records": TLS, "TLS: session": OVER_TLS,
    "a first line": BANNER, "DNS: junk": DNS,
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_the_fault_matrix_counts_them(row: str) -> None:
    page = (Path(__file__).parents[2] / "docs/faults.md").read_text()
    (found,) = re.findall(rf"^\| {re.escape(row)}[^|]*\|[^|]*\| (\d+) \|", page, re.MULTILINE)
    assert int(found) == len(ROWS[row])


async def withstand(flood: Flood, make: Callable[[HostPort], Probe], *, ok: bool = False) -> None:
    """Run the probe against the flood, and assert what must hold whatever a peer sends."""
    async with flooding(flood) as address, no_leaks(), Watchdog() as watchdog:
        probe = make(address)
        network = Network()
        network.resolver.prepare("prepared.test")
        await _run(probe, network, 0.05)  # loads what is loaded once
        watchdog.longest = 0.0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.monotonic()
        outcome, reasons = await _run(probe, network, TIMEOUT)
        took = time.monotonic() - begun
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert took < TIMEOUT + GRACE, f"it took {took:.2f} s"
    assert watchdog.longest < STOP, f"the loop stood for {watchdog.longest * 1000:.0f} ms"
    assert grown < ROOM, f"{grown >> 20} MiB"
    assert "internal.error" not in reasons
    assert ok or outcome is not Outcome.OK, "the flood was ok"


async def _run(probe: Probe, network: Network, timeout: float) -> tuple[Outcome, list[str]]:
    result = await execute(probe, timeout=timeout, network=network)
    return result.outcome, [str(found.reason) for found in result.findings]


@pytest.mark.parametrize("name", HTTP)
async def test_http(name: str) -> None:
    def make(address: HostPort) -> Probe:
        return GatewayProbe(url=f"http://{address}/")

    await withstand(HTTP[name], make, ok=name in MAY_BE_OK)


@pytest.mark.parametrize("name", HTTP2)
async def test_http2(name: str) -> None:
    def make(address: HostPort) -> Probe:
        return GatewayProbe(url=f"http://{address}/", http2=True)

    await withstand(HTTP2[name], make)


@pytest.mark.parametrize("name", TLS)
async def test_tls_records(name: str) -> None:
    await withstand(TLS[name], lambda address: GatewayProbe(url=f"https://{address}/"))


@pytest.mark.parametrize("name", OVER_TLS)
async def test_over_tls(name: str, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").files(tmp_path)
    flood = OVER_TLS[name]
    served = Flood(
        flood.unit, flood.greeting, flood.replies, certificate=str(certificate), key=str(key),
        tickets=flood.tickets, piece=flood.piece,
    )  # fmt: skip
    tls = Tls(ca=authority.pem_file(tmp_path))
    await withstand(served, lambda address: GatewayProbe(url=f"https://{address}/", tls=tls))


@pytest.mark.parametrize("name", BANNER)
async def test_banner(name: str) -> None:
    await withstand(BANNER[name], lambda address: TcpProbe(address=address, expect="^220 ready"))


@pytest.mark.parametrize("name", DNS)
async def test_name_server(name: str) -> None:
    await withstand(DNS[name], lambda address: DnsProbe(query="a.test", server=address))


@pytest.mark.parametrize("name", DNS)
async def test_name_server_of_the_resolver(name: str) -> None:
    async with flooding(DNS[name]) as server, no_leaks(), Watchdog() as watchdog:
        network = Network(Resolver([(server.host, server.port)], hosts=None))
        network.resolver.prepare("a.test")
        begun = time.monotonic()
        outcome, reasons = await _run(GatewayProbe(url="http://a.test/"), network, TIMEOUT)
        took = time.monotonic() - begun
    assert took < TIMEOUT + GRACE
    assert watchdog.longest < STOP, f"the loop stood for {watchdog.longest * 1000:.0f} ms"
    assert outcome is not Outcome.OK
    assert "internal.error" not in reasons


async def test_floods_together_do_not_delay_another_run() -> None:
    """Each of a few floods has its turn, and so has everybody else."""
    floods = [HTTP["trailers"], HTTP["chunks of one byte"], BANNER["a line without end"]]
    async with flooding(floods[0]) as a, flooding(floods[1]) as b, flooding(DNS["junk"]) as c:
        network = Network()
        probes = (
            GatewayProbe(url=f"http://{a}/"), GatewayProbe(url=f"http://{b}/"),
            DnsProbe(query="a.test", server=c),
        )  # fmt: skip
        async with Watchdog() as watchdog:
            await asyncio.gather(*(_run(probe, network, TIMEOUT) for probe in probes))
    assert watchdog.longest < STOP
