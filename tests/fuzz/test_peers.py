"""What peers say on the wire: HTTP, a first line, DNS, certificates."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network, Resolver
from probed.net.tls import Certificates
from probed.probe import Probe
from probed.registry import Registry
from probed.testing import serve
from probed.testing.certificates import Authority
from probed.testing.soundness import assert_sound

pytestmark = pytest.mark.anyio
FUZZ = settings.get_profile(os.environ.get("PROBED_FUZZ", "suite"))
_REGISTRY = Registry()
KINDS = {kind: _REGISTRY.load(kind) for kind in ("dns", "gateway", "tcp", "tls")}
TIMEOUT = 0.4
DNS_TIMEOUT = 0.1  # what is no answer to the question is waited past

LINES = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 No\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 200\r\n",
    b"HTTP/2 200\r\n", b"HTTP/1.1 304 Not\r\n", b"HTTP/1.1 999 ?\r\n", b"HTTP/1.1 204 None\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 5, 6\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Encoding: br, gzip\r\n",
    b"Content-Type: application/json\r\n", b"Content-Type: application/health+json\r\n",
    b"Location: http://169.254.169.254/\r\n", b"Location: \xff\x00\r\n", b"Retry-After: 1e400\r\n",
    b"X: " + b"y" * 9000 + b"\r\n", b" folded\r\n", b"no colon\r\n", b"\x00: \x00\r\n", b"\r\n",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", b'{"status": "DOWN", "components": {"db": {"status": "UP"}}}',
    b'{"status": ' + b"[" * 3000, b"Healthy", b"Unhealthy", b"[+]ping ok\n[-]etcd failed: reason withheld\n",
    b"220 ready\r\n", b"\xe2\x80\xae220\r\n", b"SSH-2.0-x\r\n",
]  # fmt: skip
PIECES = st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=60)), max_size=12)
ENDS = st.sampled_from(["close", "reset", "half"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def speaks(pieces: Sequence[bytes], end: str) -> Any:
    async def talk(peer: Any) -> None:
        for piece in pieces:
            await peer.send(piece)
        if end == "reset":
            peer.reset()
        elif end == "half":
            await peer.until_gone()

    return talk


async def judged(probe: Probe, network: Network | None = None, timeout: float = TIMEOUT) -> Result:
    """A run that ends in time, with a sound result that blames nothing of ours."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    result = await execute(probe, timeout=timeout, network=network or Network())
    assert loop.time() - begun < timeout + 0.5
    assert_sound(probe, result)
    assert all(finding.reason != "internal.error" for finding in result.findings), result.findings
    return result


def made(kind: str, **settings_: Any) -> Probe:
    return KINDS[kind].model_validate(settings_)


@settings(FUZZ)
@given(pieces=PIECES, end=ENDS)
@example([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n", b"\r\n", b"hello"], "close")
@example([b"HTTP/1.1 100 Continue\r\n\r\n"] * 12, "close")
async def test_answers_of_a_gateway(pieces: list[bytes], end: str) -> None:
    async with serve(speaks(pieces, end)) as peer:
        await judged(
            made(
                "gateway",
                url=f"http://127.0.0.1:{peer.port}/",
                latency={"failed": "5s", "trend": 3},
                expect={
                    "headers": {"x": "y+"},
                    "body": ["ok|pass"],
                    "json": [{"path": "$.status", "equals": "UP"}, {"path": "$.*", "below": 3}],
                },
            )
        )


@settings(FUZZ)
@given(pieces=PIECES, end=ENDS)
async def test_first_lines(pieces: list[bytes], end: str) -> None:
    async with serve(speaks(pieces, end)) as peer:
        await judged(made("tcp", address=f"127.0.0.1:{peer.port}", expect="^220 "))


@settings(FUZZ)
@given(pieces=st.lists(st.binary(max_size=60), max_size=6), end=ENDS)
async def test_handshakes(pieces: list[bytes], end: str) -> None:
    async with serve(speaks([b"\x16\x03\x03\x00\x31", *pieces], end)) as peer:
        result = await judged(made("tls", address=f"127.0.0.1:{peer.port}"))
    assert result.outcome is Outcome.FAILED


HEAD = st.sampled_from([b"\x81\x80", b"\x81\x83", b"\x83\x80", b"\x00\x00"])
COUNTS = st.sampled_from(
    [b"\x00\x01\x00\x01\x00\x00\x00\x00", b"\x00\x01\xff\xff\x00\x00\x00\x00", b"\x00" * 8]
)
RECORDS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01",  # an address
            b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x05\x04\x1b[2J",  # text that is no text
            b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c",  # a name for itself
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\xff\xff\x7f",  # longer than it is
        ]),
    ),
    max_size=6,
)  # fmt: skip


class _Answers(asyncio.DatagramProtocol):
    """The question's id and name, then whatever it is told."""

    def __init__(self, head: bytes, counts: bytes, rest: bytes) -> None:
        self.head, self.counts, self.rest = head, counts, rest

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\x00", 12) + 5
        self.transport.sendto(data[:2] + self.head + self.counts + data[12:end] + self.rest, addr)


@asynccontextmanager
async def answering(head: bytes, counts: bytes, rest: bytes) -> AsyncIterator[int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Answers(head, counts, rest), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@settings(FUZZ)
@given(head=HEAD, counts=COUNTS, records=RECORDS, kind=st.sampled_from(["A", "TXT", "MX", "CNAME"]))
async def test_answers_of_a_name_server(
    head: bytes, counts: bytes, records: list[bytes], kind: str
) -> None:
    async with answering(head, counts, b"".join(records)) as port:
        await judged(
            made("dns", query="a.test", type=kind, server=f"127.0.0.1:{port}"), None, DNS_TIMEOUT
        )


@settings(FUZZ)
@given(head=HEAD, counts=COUNTS, records=RECORDS)
async def test_answers_on_the_way_to_a_peer(
    head: bytes, counts: bytes, records: list[bytes]
) -> None:
    async with answering(head, counts, b"".join(records)) as port:
        network = Network(Resolver([("127.0.0.1", port)]))
        await judged(made("tcp", address="a.test:1"), network, DNS_TIMEOUT)


GOOD = Authority().issue("localhost", "127.0.0.1")


@settings(FUZZ)
@given(
    cuts=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    end=st.integers(0, 2000),
)
def test_certificates(cuts: list[tuple[int, int]], end: int) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der = bytearray(x509.load_pem_x509_certificate(GOOD.chain).public_bytes(Encoding.DER))
    for at, value in cuts:
        der[at % len(der)] = value
    found = Certificates()._get(bytes(der[:end] if end < len(der) else der), None)
    if found is not None:
        assert isinstance(found.not_after, float)
