"""Strangers hold all connections that they can: the daemon answers others, and stays small."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.programs import Daemon, ask, wait_until

CONFIG = """\
service: {{listen: '127.0.0.1:0'}}
telemetry: {{listen: '127.0.0.1:0'}}
defaults: {{interval: 1s, timeout: 900ms, confirm: 0}}
checks:
"""
ROOM = 64 << 20
"""Bytes that strangers may cost."""
ENDLESS_HEAD = b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 4000
ENDLESS_LINE = b"GET / HTTP/1.1\r\nx: ", b"y" * 65536
ENDLESS_BODY = b"POST /checks/c0/run HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n" * 4000  # fmt: skip
REQUESTS = (
    b"",
    b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    * 500,
)
JUNK = b"", b"\0\1\2\n" * 500


@pytest.fixture
def daemon(start: Any) -> Iterator[Daemon]:
    """A daemon with 300 checks: its page and metrics are some hundred KiB."""
    checks = "".join(
        f"  - {{name: c{n}, probe: tcp, address: '127.0.0.1:9', interval: 60s}}\n"
        for n in range(300)
    )
    made = start(CONFIG.format() + checks)
    yield made
    assert made.stop() == 0
    made.sound()


def memory(daemon: Daemon) -> int:
    """Return the resident bytes of the daemon."""
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def answers(daemon: Daemon, *, seconds: float = 3.0) -> None:
    """Raise where liveness is not answered within a second, or metrics, page or API within so many."""
    large = (f"{daemon.metrics}/metrics", f"{daemon.api}/", f"{daemon.api}/api/v1/checks")
    for url, limit in ((f"{daemon.metrics}/livez", 1.0), *((url, seconds) for url in large)):
        begun = time.monotonic()
        assert ask(url)[0] == 200, url
        took = time.monotonic() - begun
        assert took < limit, f"{url} took {took:.1f} s"


def place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


@contextmanager
def idle(daemon: Daemon, count: int, first: bytes = b"") -> Iterator[None]:
    """So many connections to each listener that send only this, or nothing."""
    with ExitStack() as stack:
        for url in (daemon.metrics, daemon.api):
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection(place(url), 5))
                if first:
                    try:
                        sock.sendall(first)
                    except OSError:
                        pass  # closed for a newer one
        yield


@contextmanager
def senders(daemon: Daemon, first: bytes, piece: bytes, count: int = 8) -> Iterator[None]:
    """Clients of each listener that send without end, and begin again when they are closed."""
    done = threading.Event()

    def send(url: str) -> None:
        while not done.is_set():
            try:
                with socket.create_connection(place(url), 5) as sock:
                    sock.settimeout(0.5)
                    sock.sendall(first)
                    while not done.is_set():
                        sock.sendall(piece)
            except OSError:
                done.wait(0.01)

    threads = [
        threading.Thread(target=send, args=(url,))
        for url in (daemon.metrics, daemon.api)
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nx: "], ids=["silent", "half a head"])
@pytest.mark.parametrize("count", [64, 500, 5000])
def test_strangers_that_hold_connections_keep_nobody_out(
    daemon: Daemon, count: int, first: bytes
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        answers(daemon)
        before = memory(daemon)
        with idle(daemon, min(count, (hard - 500) // 2), first):
            for _ in range(3):
                answers(daemon)
            assert memory(daemon) - before < ROOM
        answers(daemon)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_strangers_that_take_the_last_file_descriptors_keep_nobody_out(daemon: Daemon) -> None:
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    answers(daemon)
    used = len([*Path(f"/proc/{daemon.pid}/fd").iterdir()])
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 20, hard))
    with idle(daemon, 60):
        for _ in range(3):
            assert ask(f"{daemon.metrics}/livez")[0] == 200
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    answers(daemon)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("first", "piece"), [ENDLESS_HEAD, ENDLESS_LINE, ENDLESS_BODY, REQUESTS, JUNK],
    ids=["head", "line", "body", "requests", "junk"],
)  # fmt: skip
def test_strangers_that_send_without_end_keep_nobody_out(
    daemon: Daemon, first: bytes, piece: bytes
) -> None:
    answers(daemon)
    before = memory(daemon)
    with senders(daemon, first, piece):
        wait_until(
            lambda: daemon.total("probed_listener_closed_total") > 20, "some clients are closed"
        )
        for _ in range(3):
            assert ask(f"{daemon.metrics}/livez")[0] == 200
        assert memory(daemon) - before < ROOM
    answers(daemon)
    assert len(daemon.lines()) < 10, "no line for each of them"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["/metrics", "/", "/api/v1/checks", "/events"])
def test_strangers_that_read_no_answer_keep_nobody_out(daemon: Daemon, path: str) -> None:
    answers(daemon)
    before = memory(daemon)
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    with idle(daemon, 300, request):
        for _ in range(3):
            answers(daemon, seconds=5.0)  # they ask for as much, and come first
        assert memory(daemon) - before < ROOM
    answers(daemon)
