"""Over a unix socket: asked as over TCP, but for a name to resolve."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from probed.config import ConfigError, loads
from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network
from probed.registry import Registry
from probed.testing import Answer, Authority, http_server, no_leaks
from probes.gateway import GatewayProbe

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening(path: Path, *answers: bytes, **more: Any) -> AsyncIterator[list[bytes]]:
    """Answers one request after the other. What was asked is in the list."""
    heard: list[bytes] = []
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async with await asyncio.start_unix_server(talk, path, **more):
        yield heard


def answer(status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def ask(url: str, path: Path, **more: Any) -> Result:
    async with no_leaks():
        probe = GatewayProbe(url=url, uds=path, **more)
        return await execute(probe, network=Network(), timeout=2.0)


def found(result: Result) -> list[tuple[str, str, str]]:
    return [(f.level.value, str(f.reason), f.message) for f in result.findings]


async def test_a_request_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    async with listening(path, answer()) as heard:
        result = await ask("http://app.test/health", path)
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    assert [phase.name for phase in result.phases] == ["connect", "request", "wait", "receive"]
    assert result.facts["network.peer.address"] == str(path)
    assert b"Host: app.test\r\n" in heard[0]


async def test_tls_over_a_unix_socket_is_for_the_name_of_the_url(tmp_path: Path) -> None:
    authority = Authority()
    tls = {"ca": authority.pem_file(tmp_path)}
    path = tmp_path / "app.sock"
    context = authority.issue("app.test").context
    async with listening(path, answer(), ssl=context):
        assert found(await ask("https://app.test/", path, tls=tls)) == []
        result = await ask("https://other.test/", path, tls=tls)
    assert [reason for _, reason, _ in found(result)] == ["tls.wrong_name"]
    # The second look at the certificate goes over the socket too.
    assert result.findings[0].evidence["certificate.names"] == "app.test"


async def test_a_redirect_stays_on_the_socket_as_long_as_it_stays_with_the_origin(
    tmp_path: Path,
) -> None:
    path = tmp_path / "app.sock"
    async with http_server({"/": Answer()}) as other:
        moved = answer("302 Found", "Location: /there")
        away = answer("302 Found", f"Location: {other.url()}")
        async with listening(path, moved, away) as heard:
            result = await ask("http://app.test/", path, redirects=3)
        assert found(result) == []
        assert [line.split()[1] for line in heard] == [b"/", b"/there"]
        assert len(other.requests) == 1


async def test_where_nobody_listens(tmp_path: Path) -> None:
    result = await ask("http://app.test/", tmp_path / "none.sock")
    assert found(result) == [("failed", "connect.refused", "The unix socket does not exist.")]
    assert result.findings[0].evidence["phase"] == "connect"
    (tmp_path / "file").touch()
    result = await ask("http://app.test/", tmp_path / "file")
    assert found(result) == [
        (
            "failed",
            "connect.refused",
            "Connection refused: nothing is listening on the unix socket.",
        )
    ]


async def test_where_nobody_accepts(tmp_path: Path) -> None:
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        result = await ask("http://app.test/", path)
    assert found(result) == [("failed", "connect.refused", "The unix socket's queue is full.")]


async def test_a_socket_of_another_type(tmp_path: Path) -> None:
    path = tmp_path / "datagrams.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        result = await ask("http://app.test/", path)
    assert [reason for _, reason, _ in found(result)] == ["connect.failed"]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            f"uds: /{'x' * 107}",
            r"checks\[0\]\.uds: the path of a unix socket has at most 107 bytes",
        ),
        ("uds: /run/app.sock, family: ipv4", "write either uds or a family"),
    ],
)
def test_what_cannot_be_is_refused(rest: str, message: str) -> None:
    text = f"checks: [{{name: a, probe: gateway, url: 'http://h/', {rest}}}]"
    with pytest.raises(ConfigError, match=message):
        loads(text, Registry({"gateway": GatewayProbe}), environ={})
