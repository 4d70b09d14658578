"""What the service manager is told, and when; the journal's way of writing a line."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from probed.app import App
from probed.cli.logs import set_up_logging
from probed.config import loads
from probed.registry import Registry
from probed.systemd import Notifier, under_journal
from probed.testing import FakeClock, serve
from probed.text.redact import Redactor

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clean_environment")]
CONFIG = """\
service: {listen: 127.0.0.1:0}
telemetry: {listen: 127.0.0.1:0}
defaults: {interval: 200ms, fail_after: 1, recover_after: 1, confirm: 0}
checks: [%s]
"""


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard: list[dict[str, str]] = []

    async def next(self) -> dict[str, str]:
        await anyio.wait_readable(self._sock)
        message = self._sock.recv(4096).decode()
        self.heard.append(dict(line.split("=", 1) for line in message.splitlines()))
        return self.heard[-1]

    async def until(self, found: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        with anyio.fail_after(10):
            while not found(heard := await self.next()):
                pass
            return heard

    def silent(self) -> bool:
        try:
            self._sock.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
async def manager(request: Any, tmp_path: Path) -> AsyncIterator[tuple[Manager, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@probed-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind("\0" + name[1:] if name.startswith("@") else name)
        yield Manager(sock), name


async def made(checks: str, environ: dict[str, str], **more: Any) -> App:
    config = await to_thread.run_sync(lambda: loads(CONFIG % checks, Registry(), environ={}))
    return await to_thread.run_sync(partial(App, config, environ=environ, **more))


async def test_ready_once_it_probes_then_how_things_are_then_the_end(manager: Any) -> None:
    told, address = manager
    async with serve("refused") as peer:
        app = await made(
            f"{{name: web, probe: tcp, address: '127.0.0.1:{peer.port}'}}",
            {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())},
        )
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(app.run)
                first = await told.next()
                assert first == {"READY": "1", "STATUS": "0 of 1 checks down"}
                down = await told.until(lambda heard: "down: web" in heard.get("STATUS", ""))
                assert down["WATCHDOG"] == "1"
                # What has not changed is not said again.
                assert await told.until(lambda _: True) == {"WATCHDOG": "1"}
                app.stop()
        last = await told.until(lambda heard: "STOPPING" in heard)
    assert last == {"STOPPING": "1", "STATUS": "stopping"}
    assert told.silent()


async def test_a_reload_that_is_refused_ends_as_one_that_is_not(manager: Any) -> None:
    told, address = manager
    app = await made("{name: web, probe: tcp, address: '127.0.0.1:9'}", {"NOTIFY_SOCKET": address})
    async with anyio.create_task_group() as tasks:
        await tasks.start(app.run)
        await told.next()
        assert not (await app.reloader.reload()).ok
        reloading = await told.until(lambda heard: "RELOADING" in heard)
        assert int(reloading["MONOTONIC_USEC"]) > 0
        ready = await told.until(lambda heard: "READY" in heard)
        assert "the last reload was refused" in ready["STATUS"]
        app.stop()


async def test_no_sign_of_life_while_no_runs_are_started(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, address = manager
    clock = FakeClock()
    check = "{name: web, probe: tcp, address: '127.0.0.1:9', enabled: false}"
    app = await made(check, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"}, clock=clock)
    async with anyio.create_task_group() as tasks:
        await tasks.start(app.run)
        await told.next()
        await clock.advance(3)
        assert (await told.next())["WATCHDOG"] == "1"
        while not told.silent():
            await told.next()
        monkeypatch.setattr(type(app.monitor.scheduler), "overdue", lambda _: 60.0)
        await clock.advance(10)
        assert told.silent()
        app.stop()


@pytest.mark.parametrize(
    ("environ", "patience"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_of_another_process_is_not_ours(
    environ: dict[str, str], patience: float
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}).patience == patience


@pytest.mark.parametrize(
    "address", ["", "/nowhere/notify", "@nobody-listens-here", "/" + "x" * 300]
)
def test_nobody_to_tell_is_no_trouble(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert bool(notifier) == bool(address)
    notifier.ready("1\nREADY=2")
    notifier.reloading()
    notifier.alive("x" * 100_000)
    notifier.stopping()


def test_a_line_of_the_journal_has_its_priority(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    assert under_journal(os.environ, 2)
    assert not under_journal({"JOURNAL_STREAM": "1:2"}, 2)
    root, ours = logging.getLogger(), logging.getLogger("probed")
    before = root.handlers[:], root.level, ours.level
    try:
        with open(2, "w", closefd=False) as stream:  # a descriptor
            monkeypatch.setattr("sys.stderr", stream)
            set_up_logging(Redactor())
            logging.getLogger("probed").warning("web: up -> down\nhttp.status")
            logging.getLogger("probed").info("told")
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])
    assert capfd.readouterr().err.splitlines() == [r"<4>web: up -> down\x0ahttp.status", "<6>told"]
