"""One request, one connection: exact phases, bounded reads, and what the wire said."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import httpx2
import pytest

from probed import ProbeError, Reason, Request, SecretStr, Tls, Url
from probed.clock import SystemClock
from probed.http import Response, fetch
from probed.http.client import Transport
from probed.net import Network
from probed.record import Recorder
from probed.testing.certificates import Authority
from probed.testing.leaks import no_leaks
from probed.testing.servers import serve
from probed.testing.webserver import Answer, http_server
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio


def recorder() -> Recorder:
    return Recorder(SystemClock(), Redactor())


async def get(url: str, noted: Recorder | None = None, limit: int = 1 << 20) -> Response:
    return await fetch(noted or recorder(), Network(), Request(Url.parse(url)), body_limit=limit)


def says(raw: bytes):  # noqa: ANN201  # a behaviour of the test servers
    async def talk(peer) -> None:  # noqa: ANN001
        await peer.read_until(b"\r\n\r\n")
        await peer.send(raw)

    return talk


async def test_an_answer_and_its_phases() -> None:
    async with http_server({"/health": Answer(body="hello")}) as server, no_leaks():
        noted = recorder()
        answer = await get(server.url("/health?key=hunter2"), noted)
        request = server.requests[0]
    assert (answer.status, answer.body, answer.version, answer.truncated) == (
        200,
        b"hello",
        "1.1",
        False,
    )
    assert [phase.name for phase in noted.phases] == [
        "resolve", "connect", "request", "wait", "receive",
    ]  # fmt: skip
    assert noted.facts["url.full"].endswith("/health?key=REDACTED")  # type: ignore[union-attr]
    assert noted.facts["http.response.status_code"] == 200
    assert request.target == "/health?key=hunter2"
    assert request.headers["connection"] == "close"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("probed/")


async def test_over_tls_the_handshake_is_a_phase_of_its_own(tmp_path: Path) -> None:
    authority = Authority()
    async with (
        http_server(
            {"/": Answer(body="hello")}, tls=authority.issue("localhost").context
        ) as server,
        no_leaks(),
    ):
        noted = recorder()
        request = Request(
            Url.parse(server.url("/", host="localhost")),
            tls=Tls(ca=authority.pem_file(tmp_path)),
        )
        answer = await fetch(noted, Network(), request)
    assert answer.body == b"hello"
    assert [phase.name for phase in noted.phases][2] == "tls"


async def test_headers_replace_the_default_ones_and_secrets_are_not_shown() -> None:
    async with http_server({"/": Answer()}) as server:
        url = Url.parse(server.url())
        request = Request(
            url, headers={"Host": "other.test", "X-Key": SecretStr("hunter2"), "user-agent": "mine"}
        )
        await fetch(recorder(), Network(), request)
        received = server.requests[0]
    assert received.headers["host"] == "other.test"
    assert received.headers["x-key"] == "hunter2"
    assert received.headers["user-agent"] == "mine"
    assert "hunter2" not in repr(request)


@pytest.mark.parametrize(
    ("name", "value"),
    [("X Y", "v"), ("", "v"), ("X", "a\r\nInjected: 1"), ("X", "a\x00"), ("X", "✔")],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ValueError) as raised:
        Request(Url.parse("http://a.test/"), headers={name: value})
    assert "Injected" not in str(raised.value)


async def test_a_chunked_body_is_put_together() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
    async with serve(says(raw)) as server:
        answer = await get(f"http://127.0.0.1:{server.port}/")
    assert answer.body == b"hello world"
    assert answer.header("x-t") is None


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async with serve(says(b"HTTP/1.0 200 OK\r\n\r\nhello")) as server:
        answer = await get(f"http://127.0.0.1:{server.port}/")
    assert (answer.body, answer.version) == (b"hello", "1.0")


async def test_informational_answers_are_passed_over() -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with serve(says(raw)) as server:
        answer = await get(f"http://127.0.0.1:{server.port}/")
    assert (answer.status, answer.body, answer.header("link")) == (200, b"ok", None)


async def test_bytes_after_the_answer_do_not_change_it() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nokHTTP/1.1 500 No\r\n\r\n"
    async with serve(says(raw)) as server:
        answer = await get(f"http://127.0.0.1:{server.port}/")
    assert (answer.status, answer.body) == (200, b"ok")


async def test_a_body_over_the_limit_is_cut_and_says_so() -> None:
    async with http_server({"/": Answer(body="x" * 5000)}) as server, no_leaks():
        answer = await get(server.url(), limit=1000)
    assert (len(answer.body), answer.truncated) == (1000, True)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"hello")),
        ("x-gzip", gzip.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")),
        ("identity", b"hello"),
    ],
)
async def test_an_encoding_that_was_not_asked_for_is_undone(encoding: str, body: bytes) -> None:
    async with http_server(
        {"/": Answer(headers={"Content-Encoding": encoding}, body=body)}
    ) as server:
        assert (await get(server.url())).body == b"hello"


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "nonsense"])
async def test_an_encoding_that_cannot_be_undone_is_named(encoding: str) -> None:
    async with http_server(
        {"/": Answer(headers={"Content-Encoding": encoding}, body="hello")}
    ) as server:
        answer = await get(server.url())
    assert (answer.undecoded, answer.body) == (encoding, b"")


async def test_a_bomb_expands_to_no_more_than_the_limit() -> None:
    async with serve("gzip_bomb") as server, no_leaks():
        answer = await get(f"http://127.0.0.1:{server.port}/", limit=4 << 20)
    assert len(answer.body) == 4 << 20
    assert answer.truncated


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("endless_headers", Reason.HTTP_HEADERS_TOO_LARGE),
        ("endless_header_line", Reason.HTTP_HEADERS_TOO_LARGE),
        ("informational_flood", Reason.HTTP_PROTOCOL),
        ("garbage", Reason.HTTP_PROTOCOL),
        ("http_09", Reason.HTTP_PROTOCOL),
        ("bad_chunk_size", Reason.HTTP_PROTOCOL),
        ("duplicate_length", Reason.HTTP_PROTOCOL),
        ("negative_length", Reason.HTTP_PROTOCOL),
        ("close_mid_headers", Reason.CONNECT_CLOSED),
        ("close_mid_body", Reason.CONNECT_CLOSED),
        ("close_mid_chunk", Reason.CONNECT_CLOSED),
    ],
)
async def test_a_peer_that_breaks_the_protocol_has_its_reason(
    behaviour: str, reason: Reason
) -> None:
    async with serve(behaviour) as server, no_leaks():
        with pytest.raises(ProbeError) as raised:
            await get(f"http://127.0.0.1:{server.port}/")
    assert raised.value.reason is reason


async def test_a_body_of_a_gigabyte_is_left_at_the_limit() -> None:
    async with serve("huge_body") as server, no_leaks():
        answer = await get(f"http://127.0.0.1:{server.port}/")
    assert (len(answer.body), answer.truncated) == (1 << 20, True)


def transport() -> Transport:
    return Transport(Network(), SystemClock(), Redactor())


async def test_httpx2_speaks_through_the_same_wire() -> None:
    def echo(request) -> Answer:  # noqa: ANN001
        return Answer(status=201, headers={"X-A": "b"}, body=request.body)

    async with (
        http_server({"/p": echo}) as server,
        no_leaks(),
        httpx2.AsyncClient(transport=transport(), trust_env=False) as client,
    ):
        answer = await client.post(server.url("/p?q=1"), content=b"payload", headers={"X-B": "c"})
        received = server.requests[0]
    assert (answer.status_code, answer.content, answer.headers["x-a"]) == (201, b"payload", "b")
    assert (received.method, received.target, received.headers["x-b"]) == ("POST", "/p?q=1", "c")


async def test_httpx2_decodes_what_was_decoded_no_second_time() -> None:
    answer = Answer(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"hello"))
    async with (
        http_server({"/": answer}) as server,
        httpx2.AsyncClient(transport=transport(), trust_env=False) as client,
    ):
        assert (await client.get(server.url())).text == "hello"
        assert (await client.head(server.url())).status_code == 200


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [("refused", httpx2.ConnectError), ("garbage", httpx2.RemoteProtocolError)],
)
async def test_errors_are_those_of_httpx2_with_the_cause_chained(
    behaviour: str, error: type[Exception]
) -> None:
    async with (
        serve(behaviour) as server,
        no_leaks(),
        httpx2.AsyncClient(transport=transport(), trust_env=False) as client,
    ):
        with pytest.raises(error) as raised:
            await client.get(f"http://127.0.0.1:{server.port}/")
    assert isinstance(raised.value.__cause__, OSError | ProbeError)
