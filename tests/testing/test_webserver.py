"""HttpServer: a well-behaved peer."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from pathlib import Path

import pytest

from probed.testing.certificates import Authority
from probed.testing.leaks import no_leaks
from probed.testing.webserver import Answer, HttpServer, Received, http_server

pytestmark = pytest.mark.anyio


async def exchange(server: HttpServer, raw: bytes, client: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection(
        server.host, server.port, ssl=client, server_hostname="a.example" if client else None
    )
    try:
        writer.write(raw)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.transport.abort()


def get(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()


async def test_answers_by_target_then_by_path() -> None:
    answers = {"/a?b=1": Answer(201, body="target"), "/a": Answer(body=b"path")}
    async with no_leaks(), http_server(answers) as server:
        assert (await exchange(server, get("/a?b=1"))).startswith(b"HTTP/1.1 201 Created\r\n")
        assert (await exchange(server, get("/a?b=2"))).endswith(b"\r\n\r\npath")
        assert b" 404 " in await exchange(server, get("/b"))
        assert [r.target for r in server.requests] == ["/a?b=1", "/a?b=2", "/b"]
        assert server.requests[0].path == "/a"
        assert server.url("/a") == f"http://127.0.0.1:{server.port}/a"


async def test_headers_replace_the_default_and_vanish_when_empty() -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "", "X-A": "b"}
    async with http_server({"/": Answer(headers=headers, body="{}")}) as server:
        head = (await exchange(server, get("/"))).partition(b"\r\n\r\n")[0]
    assert b"content-type: application/json" in head
    assert b"x-a: b" in head
    assert b"content-length" not in head


async def test_answers_change_while_it_runs() -> None:
    async with http_server({"/": Answer()}) as server:
        assert b" 200 OK" in await exchange(server, get("/"))
        server.answers["/"] = Answer(503)
        assert b" 503 Service Unavailable" in await exchange(server, get("/"))
        server.answers["/"] = lambda request: Answer(body=request.method)
        assert (await exchange(server, get("/", "PUT"))).endswith(b"PUT")


async def test_bodies_are_recorded_on_a_kept_connection() -> None:
    raw = (
        b"POST /in HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: t\r\n\r\n"
    )
    async with http_server({"/in": Answer(204)}) as server:
        answer = await exchange(server, raw)
        assert answer.count(b"HTTP/1.1 204 No Content") == 2
        assert b"content-length" not in answer
        assert server.connections == 1
    first, second = server.requests
    assert (first.method, first.target, first.body) == ("POST", "/in", b"hello")
    assert first.headers["x-one"] == "1"
    assert second == Received("POST", "/in", second.headers, b"hello")


async def test_the_default_answers_other_targets_also_as_a_coroutine() -> None:
    async def echo(request: Received) -> Answer:
        await asyncio.sleep(0)
        return Answer(200, {"Connection": "close"}, request.target)

    async with http_server({"/": Answer(204)}) as server:
        server.default = echo
        # No `Connection: close` in the request: the answer's own closes.
        assert (await exchange(server, b"GET /x HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n/x")
        assert b" 204 " in await exchange(server, get("/"))


@pytest.mark.parametrize(
    "head",
    ["Content-Length: -5", "Content-Length: 99999999", "Transfer-Encoding: chunked\r\n\r\nxyz"],
)
async def test_a_body_that_cannot_be_read_is_a_bad_request(head: str) -> None:
    async with http_server({"/": Answer()}) as server:
        answer = await exchange(server, f"POST / HTTP/1.1\r\n{head}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert not server.requests


async def test_head_gets_no_body_and_delay_delays() -> None:
    async with http_server({"/": Answer(body="hello", delay=0.05)}) as server:
        loop = asyncio.get_running_loop()
        start = loop.time()
        answer = await exchange(server, get("/", "HEAD"))
        assert loop.time() - start >= 0.05
    assert b"content-length: 5" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_leaves_during_the_delay_ends_it() -> None:
    async with no_leaks(), http_server({"/": Answer(delay=20)}) as server:
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(get("/"))
        await server.until(lambda: bool(server.requests))
        writer.transport.abort()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.pem_file(tmp_path))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def test_over_tls_it_says_goodbye(authority: Authority, trusting: ssl.SSLContext) -> None:
    """TLS is closed cleanly, so that a body without a length differs from a truncated one."""
    issued = authority.issue("a.example")
    async with http_server({"/": Answer(body="hi")}, tls=issued.context) as server:
        assert server.url(host="a.example") == f"https://a.example:{server.port}/"
        assert (await exchange(server, get("/"), trusting)).endswith(b"hi")


async def test_the_standard_librarys_client_understands_it() -> None:
    def fetch(port: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.request("POST", "/", body=b"x" * 100_000)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    async with http_server({"/": Answer(body="hi")}) as server:
        assert await asyncio.to_thread(fetch, server.port) == (200, b"hi")
        assert server.connections == 1
        assert len(server.requests[1].body) == 100_000
