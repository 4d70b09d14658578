"""HTTP/2 against peers that keep to it, and against raw ones that do not: bounded in every way."""

from __future__ import annotations

import gzip
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import anyio
import h2.config
import h2.connection
import h2.events
import hpack
import pytest

from probed import ProbeError, Reason, Request, Url
from probed.clock import SystemClock
from probed.engine.runner import execute
from probed.http import fetch
from probed.http.http2 import exchange
from probed.model import Outcome, Result
from probed.net import Network, Stream
from probed.record import Recorder
from probed.testing import Authority, no_leaks, serve
from probed.testing.peer import Gone, Peer
from probed.text.redact import Redactor
from probes.gateway import GatewayProbe

pytestmark = pytest.mark.anyio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
TIMEOUT = 1.0


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    length = len(payload).to_bytes(3, "big")
    return length + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def block(*fields: tuple[str, str]) -> bytes:
    return bytes(hpack.Encoder().encode(list(fields), huffman=False))


def headers(*fields: tuple[str, str], flags: int = END_HEADERS, status: str = "200") -> bytes:
    return frame(HEADERS, block((":status", status), *fields), flags, 1)


OK = frame(SETTINGS) + headers()
END = frame(DATA, b"", END_STREAM, 1)
Talk = Callable[[Peer], Awaitable[None]]


def says(*parts: bytes) -> Talk:
    """Answer any request with these bytes, and stay."""

    async def talk(peer: Peer) -> None:
        await peer.read_exactly(len(PREFACE))
        for part in parts:
            await peer.send(part)
        await peer.until_gone()

    return talk


def floods(part: bytes, before: bytes = frame(SETTINGS)) -> Talk:
    """Send the part again and again, and read nothing of what it brings about."""

    async def talk(peer: Peer) -> None:
        await peer.read_exactly(len(PREFACE))
        await peer.send(before)
        for _ in range(20_000):
            await peer.send(part * 50)
        raise Gone

    return talk


def closes(*parts: bytes) -> Talk:
    async def talk(peer: Peer) -> None:
        await peer.read_exactly(len(PREFACE))
        for part in parts:
            await peer.send(part)

    return talk


async def ask(talk: Talk, *, timeout: float = TIMEOUT, **more: Any) -> Result:
    async with serve(talk) as server:  # type: ignore[arg-type]  # it returns nothing
        probe = GatewayProbe(url=f"http://127.0.0.1:{server.port}/", http2=True, **more)
        async with no_leaks():
            return await execute(probe, network=Network(), timeout=timeout)


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


async def test_an_answer_is_taken_with_its_phases() -> None:
    body = json.dumps({"status": "pass"}).encode()
    parts = OK, frame(DATA, body[:5], 0, 1), frame(DATA, body[5:], END_STREAM, 1)
    result = await ask(says(*parts))
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    names = [phase.name for phase in result.phases]
    assert names == ["resolve", "connect", "request", "wait", "receive"]
    assert result.facts["network.protocol.version"] == "2"
    size = [m.value for m in result.measures if m.measure.name == "probed.http.response.body.size"]
    assert size == [len(body)]


@pytest.mark.parametrize(
    "parts",
    [
        [OK, END],
        [frame(SETTINGS), headers(flags=END_HEADERS | END_STREAM)],
        [frame(SETTINGS), headers(status="103"), headers(status="100"), headers(), END],
        [OK, frame(DATA, b"{}", 0, 1), frame(HEADERS, block(("x-sum", "1")), 0x5, 1)],
        [frame(SETTINGS), frame(PING, b"8 bytes.") * 5, frame(0xBE, b"?"), headers(), END],
        [OK, frame(DATA, b"\x05{}" + b"\x00" * 5, END_STREAM | PADDED, 1)],
        [OK, END, frame(RST, struct.pack(">I", 0), 0, 1)],
        [OK, frame(DATA, b"{}", END_STREAM, 1) + frame(GOAWAY, struct.pack(">II", 1, 0))],
        [OK + END + b"garbage"],
        [
            frame(SETTINGS),
            frame(HEADERS, block((":status", "200"))[:1], 0, 1),
            frame(CONTINUATION, block(("x-a", "b")), END_HEADERS, 1),
            END,
        ],
    ],
)  # fmt: skip
async def test_what_a_peer_may_do_is_ok(parts: list[bytes]) -> None:
    assert found(await ask(says(*parts))) == []


async def test_a_goodbye_does_not_take_back_the_answer_that_is_on_its_way() -> None:
    """RFC 9113 section 6.8: streams up to the last one named are still answered."""
    goodbye = frame(GOAWAY, struct.pack(">II", 1, 0))
    assert found(await ask(says(frame(SETTINGS), goodbye, headers(), END))) == []


@pytest.mark.parametrize(
    ("name", "part", "before"),
    [
        ("settings", frame(SETTINGS), b""),
        ("settings with values", frame(SETTINGS, struct.pack(">HI", 3, 7)), b""),
        ("ping", frame(PING, b"8 bytes."), frame(SETTINGS)),
        ("window", frame(WINDOW, struct.pack(">I", 1)), frame(SETTINGS)),
        ("priority", frame(PRIORITY, struct.pack(">IB", 0, 1), 0, 3), frame(SETTINGS)),
        ("unknown", frame(0xBE), frame(SETTINGS)),
        ("altsvc", frame(0xA, b"\x00\x00"), frame(SETTINGS)),
        ("informational", headers(status="103"), frame(SETTINGS)),
        ("empty data", frame(DATA, b"", 0, 1), OK),
        ("tiny data", frame(DATA, b"x", 0, 1), OK),
        ("padding", frame(DATA, b"\xff" + b"\x00" * 255, PADDED, 1), OK),
        ("ping in the body", frame(PING, b"8 bytes."), OK),
        ("reset of others", frame(RST, struct.pack(">I", 8), 0, 3), frame(SETTINGS)),
        ("continuation", frame(CONTINUATION, b"", 0, 1), frame(HEADERS, b"", 0, 1)),
        ("long continuation", frame(CONTINUATION, b"x" * 16384, 0, 1), frame(HEADERS, b"", 0, 1)),
    ],
)
async def test_a_flood_ends_long_before_the_deadline(name: str, part: bytes, before: bytes) -> None:
    result = await ask(floods(part, before), timeout=20.0)
    assert [level for level, _ in found(result)] == ["failed"]
    assert found(result)[0][1] in {"http.protocol", "http.headers_too_large"}
    assert result.duration_s < 5.0


def indexed_bomb() -> bytes:
    """A header of 4 KB that is named once and referred to ever after: 64 KiB come to 200 MiB."""
    first = block((":status", "200"), ("x-bomb", "b" * 4000))
    return first + b"\xbe" * 16_000


def pieces(whole: bytes) -> Iterator[bytes]:
    parts = [whole[at : at + 16_000] for at in range(0, len(whole), 16_000)]
    for at, part in enumerate(parts):
        flags = END_HEADERS if at == len(parts) - 1 else 0
        yield frame(CONTINUATION if at else HEADERS, part, flags, 1)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([*pieces(indexed_bomb())], "http.headers_too_large"),
        ([*pieces(block((":status", "200"), ("x", "y" * 100_000)))], "http.headers_too_large"),
        ([headers(*((f"x-{at}", "") for at in range(300)))], "http.headers_too_large"),
        ([b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"], "http.protocol"),
        ([frame(DATA, b"x" * 16_385, 0, 1)], "http.protocol"),
        ([frame(HEADERS, b"\xff\xff\xff\xff\xff\xff\xff\xff", END_HEADERS, 1)], "http.protocol"),
        ([frame(HEADERS, block(("x", "y")), END_HEADERS, 1)], "http.protocol"),
        ([headers(status="20")], "http.protocol"),
        ([headers(status="2000")], "http.protocol"),
        ([headers(status="abc")], "http.protocol"),
        ([headers(("X-Upper", "1"))], "http.protocol"),
        ([headers(("connection", "close"))], "http.protocol"),
        ([frame(HEADERS, block((":status", "200")), END_HEADERS, 2)], "http.protocol"),
        ([frame(DATA, b"early", 0, 1)], "http.protocol"),
        ([frame(PUSH, struct.pack(">I", 2) + block((":path", "/")), 4, 1)], "http.protocol"),
        ([frame(WINDOW, struct.pack(">I", 0), 0, 0)], "http.protocol"),
        ([frame(WINDOW, struct.pack(">I", 0x7FFFFFFF), 0, 0)], "http.protocol"),
        ([frame(SETTINGS, struct.pack(">HI", 5, 1))], "http.protocol"),
        ([frame(SETTINGS, b"odd")], "http.protocol"),
        ([frame(PING, b"short")], "http.protocol"),
        ([headers(("content-length", "9")), frame(DATA, b"{}", END_STREAM, 1)], "http.protocol"),
        ([frame(RST, struct.pack(">I", 0x7), 0, 1)], "http.stream_reset"),
        ([frame(RST, struct.pack(">I", 0xD), 0, 1)], "http.version"),
        ([frame(RST, struct.pack(">I", 0xABCDEF), 0, 1)], "http.stream_reset"),
        ([headers(), frame(RST, struct.pack(">I", 0), 0, 1)], "http.stream_reset"),
        ([frame(GOAWAY, struct.pack(">II", 0, 0))], "http.stream_reset"),
        ([frame(GOAWAY, struct.pack(">II", 0, 0xB) + b"\x1b[31mtoo fast")], "http.stream_reset"),
        ([frame(GOAWAY, struct.pack(">II", 0, 0xD))], "http.version"),
    ],
)  # fmt: skip
async def test_what_a_peer_may_not_do_has_its_reason(parts: list[bytes], reason: str) -> None:
    result = await ask(says(frame(SETTINGS), *parts), timeout=5.0)
    assert found(result) == [("failed", reason)]
    assert result.duration_s < 2.0
    assert "too fast" not in repr(result)


async def test_a_peer_that_speaks_another_version_is_named() -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    assert found(await ask(says(answer))) == [("failed", "http.version")]


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.2\r\n" * 20, b"\xff" * 400, b"\x00" * 400])
async def test_a_peer_that_speaks_something_else_is_named(garbage: bytes) -> None:
    result = await ask(closes(garbage))
    assert found(result)[0][1] in {"http.protocol", "connect.closed", "connect.reset"}


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (closes(), "connect.closed"),
        (closes(frame(SETTINGS)), "connect.closed"),
        (closes(OK, frame(DATA, b"{}", 0, 1)), "connect.closed"),
        (says(), "timeout.wait"),
        (says(frame(SETTINGS), headers(status="103")), "timeout.wait"),
        (says(frame(SETTINGS), frame(HEADERS, b"", 0, 1)), "timeout.wait"),
        (says(OK, frame(DATA, b"{", 0, 1)), "timeout.receive"),
    ],
)
async def test_an_answer_that_does_not_end_is_named_by_its_phase(talk: Talk, reason: str) -> None:
    result = await ask(talk, timeout=0.4)
    assert found(result)[0][1] in {reason, "connect.reset"}
    assert result.duration_s < 0.9


async def test_a_body_over_the_limit_is_read_no_further() -> None:
    result = await ask(says(OK, frame(DATA, b"x" * 3000, 0, 1)), body_limit="2KiB")
    assert found(result) == [("degraded", "http.body_too_large")]


async def test_an_encoded_body_is_decoded_and_bounded() -> None:
    encoded = ("content-encoding", "gzip")
    small = gzip.compress(b'{"status": "fail"}')
    parts = frame(SETTINGS), headers(encoded), frame(DATA, small, END_STREAM, 1)
    assert found(await ask(says(*parts))) == [("failed", "health.down")]
    bomb = gzip.compress(b"x" * (4 << 20))
    parts = frame(SETTINGS), headers(encoded), frame(DATA, bomb, END_STREAM, 1)
    assert found(await ask(says(*parts))) == [("degraded", "http.body_too_large")]


class Origin:
    """A server that keeps to HTTP/2, by the other half of `h2`. `heard` are headers and bodies."""

    def __init__(
        self, answers: dict[str, tuple[str, dict[str, str]]], *, takes: bool = True
    ) -> None:
        self.answers = answers
        self.takes = takes
        self.heard: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, peer: Peer) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        state = h2.connection.H2Connection(config)
        state.initiate_connection()
        await peer.send(state.data_to_send())
        asked: dict[str, str] = {}
        body = b""
        while data := await peer.receive():
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    asked = {str(name): str(value) for name, value in event.headers or []}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data or b""
                    if self.takes:
                        state.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                elif isinstance(event, h2.events.StreamEnded):
                    self.heard.append((asked, body))
                    status, more = self.answers[asked[":path"]]
                    state.send_headers(1, [(":status", status), *more.items()], end_stream=True)
            await peer.send(state.data_to_send())


async def test_the_request_is_what_it_would_be_over_http_1() -> None:
    origin = Origin({"/a?b=c": ("204", {})})
    async with serve(origin) as server:
        probe = GatewayProbe(
            url=f"http://127.0.0.1:{server.port}/a?b=c",
            http2=True,
            headers={"X-Key": "k", "User-Agent": "me", "Upgrade": "h2c"},
        )
        result = await execute(probe, network=Network(), timeout=TIMEOUT)
    assert result.outcome is Outcome.OK
    ((heard, _),) = origin.heard
    traceparent = heard.pop("traceparent")
    assert traceparent.split("-")[1] == result.trace_id
    assert heard == {
        ":method": "GET",
        ":scheme": "http",
        ":path": "/a?b=c",
        ":authority": f"127.0.0.1:{server.port}",
        "user-agent": "me",
        "accept": "*/*",
        "accept-encoding": "identity",
        "x-key": "k",
    }


async def test_a_host_of_ones_own_is_the_authority() -> None:
    origin = Origin({"/": ("204", {})})
    async with serve(origin) as server:
        url = f"http://127.0.0.1:{server.port}/"
        probe = GatewayProbe(url=url, http2=True, headers={"Host": "api.example.com"})
        await execute(probe, network=Network(), timeout=TIMEOUT)
    ((heard, _),) = origin.heard
    assert heard[":authority"] == "api.example.com"
    assert "host" not in heard


async def test_redirects_are_followed_over_http_2_as_well() -> None:
    origin = Origin({"/": ("302", {"location": "/there"}), "/there": ("204", {})})
    async with serve(origin) as server:
        probe = GatewayProbe(url=f"http://127.0.0.1:{server.port}/", http2=True, redirects=1)
        result = await execute(probe, network=Network(), timeout=TIMEOUT)
    assert result.outcome is Outcome.OK
    assert [heard[":path"] for heard, _ in origin.heard] == ["/", "/there"]


@pytest.mark.parametrize("takes", [True, False])
async def test_a_body_is_sent_as_far_as_the_window_allows(takes: bool) -> None:
    origin = Origin({"/": ("204", {})}, takes=takes)
    body = b"x" * 200_000
    recorder = Recorder(SystemClock(), Redactor())
    async with serve(origin) as server, no_leaks():
        url = Url.parse(f"http://127.0.0.1:{server.port}/")
        request = Request(url, method="POST", body=body, http2=True)
        with anyio.move_on_after(TIMEOUT) as scope:
            answer = await fetch(recorder, Network(), request)
    assert scope.cancelled_caught is not takes
    if takes:
        assert (answer.status, origin.heard[0][1]) == (204, body)
    else:
        assert recorder.failed_phase is not None
        assert recorder.failed_phase.name == "request"


async def test_over_tls_a_peer_that_does_not_agree_is_named(tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    tls = {"ca": authority.pem_file(tmp_path)}

    async def ask_tls() -> list[tuple[str, str]]:
        async with serve(Origin({"/": ("204", {})}), tls=issued.context) as server:
            url = f"https://127.0.0.1:{server.port}/"
            probe = GatewayProbe(url=url, http2=True, tls=tls)
            return found(await execute(probe, network=Network(), timeout=TIMEOUT))

    assert await ask_tls() == [("failed", "http.version")]
    issued.context.set_alpn_protocols(["http/1.1"])
    assert await ask_tls() == [("failed", "http.version")]
    issued.context.set_alpn_protocols(["h2", "http/1.1"])
    assert await ask_tls() == []


def test_a_context_for_http_2_is_not_that_for_http_1() -> None:
    network = Network()
    one, two = (
        Request(Url.parse("https://a.test/"), http2=http2).options for http2 in (False, True)
    )
    assert one is not None
    assert two is not None
    assert network.contexts.get(one) is not network.contexts.get(two)


async def test_a_header_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="contains a character"):
        Request(Url.parse("http://a.test/"), headers={"X": "a\r\nb"}, http2=True)


async def test_the_error_says_what_came_first() -> None:
    async with serve(says(frame(SETTINGS), headers(status="42"))) as server:
        request = Request(Url.parse(f"http://127.0.0.1:{server.port}/"), http2=True)
        with pytest.raises(ProbeError) as raised:
            await fetch(Recorder(SystemClock(), Redactor()), Network(), request)
    assert raised.value.reason is Reason.HTTP_PROTOCOL


@pytest.mark.parametrize("seed", range(5))
async def test_no_bytes_of_a_peer_are_an_error_of_ours(seed: int) -> None:
    """Good answers with some bytes changed, doubled or gone: an answer, or a reason of the peer."""
    random = Random(seed)
    whole = b"".join([
        frame(SETTINGS, struct.pack(">HI", 4, 65_535)), frame(PING, b"8 bytes."),
        frame(WINDOW, struct.pack(">I", 9)), headers(status="103"),
        headers(("content-type", "application/json"), ("x", "y" * 50)),
        frame(DATA, b'{"status": ', 0, 1), frame(RST, struct.pack(">I", 8), 0, 3),
        frame(DATA, b"\x03" + b'"ok"}' + b"\x00" * 3, PADDED, 1),
        frame(HEADERS, block(("x-sum", "1")), END_HEADERS | END_STREAM, 1),
    ])  # fmt: skip
    request = Request(Url.parse("http://127.0.0.1:1/"), http2=True)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(random.randint(1, 6)):
            at = random.randrange(len(data))
            change = random.randrange(3)
            if change == 0:
                data[at] = random.randrange(256)
            elif change == 1:
                del data[at : at + random.randint(1, 12)]
            else:
                data[at:at] = data[at : at + random.randint(1, 40)]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            recorder = Recorder(SystemClock(), Redactor())
            try:
                answer = await exchange(recorder, Stream(ours, "::"), request, b"", 1 << 20, None)
            except ProbeError:
                continue
        assert 200 <= answer.status <= 999
        assert answer.size <= len(data)
