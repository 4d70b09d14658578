"""The control socket: who may ask, what is bounded, and what is left behind."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from probed.control import server
from probed.control.client import UnreachableError, places, send_request
from probed.control.server import CONNECTIONS, REQUEST_LIMIT, ControlServer, Handler, bind
from probed.testing import no_leaks

pytestmark = pytest.mark.anyio


async def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"said": request.get("word")}


async def refuse(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ValueError("that makes no sense")


async def crash(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise RuntimeError("a mistake of ours")


@asynccontextmanager
async def listening(path: Path, **more: Handler) -> AsyncIterator[Path]:
    bound = await to_thread.run_sync(bind, path, {})
    assert bound is not None
    control = ControlServer(*bound, {"echo": echo, "refuse": refuse, "crash": crash, **more})
    async with anyio.create_task_group() as tasks:
        await tasks.start(control.run)
        yield path
        tasks.cancel_scope.cancel()


async def asked(path: Path, **request: Any) -> dict[str, Any]:
    return await to_thread.run_sync(lambda: send_request(request, path=str(path), timeout=10))


async def raw(path: Path, said: bytes) -> bytes:
    """All that it answers to these bytes, until it closes."""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(said)
        await stream.send_eof()
        found = b""
        try:
            while True:
                found += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return found


async def test_it_answers_its_own_user_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with no_leaks(), listening(path):
        assert stat.S_IMODE((await anyio.Path(path).stat()).st_mode) == 0o600
        assert await asked(path, command="echo", word="ü") == {"said": "ü"}
        assert await asked(path, command="refuse") == {"error": "that makes no sense"}
        what = "unknown command; the commands are echo, refuse, crash"
        assert await asked(path, command="fly") == {"error": what}
    assert not await anyio.Path(path).exists()


@pytest.mark.parametrize(
    "said",
    [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b'{"command": []}\n', b"\xff\xfe\n", b"[" * 9999 + b"\n",
     b"GET / HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_what_is_no_request_gets_a_word_or_nothing(tmp_path: Path, said: bytes) -> None:
    async with listening(tmp_path / "s") as path:
        answer = await raw(path, said)
        assert not answer or "unknown command; the commands are" in json.loads(answer)["error"]
        assert await asked(path, command="echo", word=1) == {"said": 1}


async def test_a_request_that_is_too_long_is_let_go(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as path:
        assert await raw(path, b" " * (REQUEST_LIMIT - 1)) == b""
        async with await anyio.connect_unix(path) as stream:
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(b"x" * (REQUEST_LIMIT * 8))
        assert await asked(path, command="echo", word=1) == {"said": 1}


async def test_a_mistake_in_a_command_ends_nothing(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as path:
        with pytest.raises(UnreachableError, match="the daemon exited before it responded"):
            await asked(path, command="crash")
        assert await asked(path, command="echo", word=1) == {"said": 1}


async def test_who_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)
    async with listening(tmp_path / "s") as path, await anyio.connect_unix(path) as stream:
        with anyio.fail_after(5), pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_for_a_connection_too_many_the_oldest_that_sends_nothing_is_closed(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path / "s") as path:
        idle = [await anyio.connect_unix(path) for _ in range(CONNECTIONS)]
        await anyio.wait_all_tasks_blocked()
        assert await asked(path, command="echo", word=1) == {"said": 1}
        with anyio.fail_after(5), pytest.raises(anyio.EndOfStream):
            await idle[0].receive()
        await idle[1].send(b'{"command": "echo", "word": 2}\n')
        with anyio.fail_after(5):
            assert json.loads(await idle[1].receive()) == {"said": 2}, "the others are served still"
        for stream in idle:
            await stream.aclose()


async def test_a_connection_that_is_being_served_is_not_closed_for_another(tmp_path: Path) -> None:
    path, done = tmp_path / "s", anyio.Event()

    async def work(_: Mapping[str, Any]) -> Mapping[str, Any]:
        await done.wait()
        return {"worked": True}

    async with listening(path, work=work):
        busy = [await anyio.connect_unix(path) for _ in range(CONNECTIONS)]
        for stream in busy:
            await stream.send(b'{"command": "work"}\n')
        await anyio.wait_all_tasks_blocked()
        async with await anyio.connect_unix(path) as late:
            with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await late.receive()
        done.set()
        for stream in busy:
            with anyio.fail_after(5):
                assert json.loads(await stream.receive()) == {"worked": True}
            await stream.aclose()


async def test_a_request_of_a_byte_now_and_then_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.2)
    async with listening(tmp_path / "s") as path, await anyio.connect_unix(path) as stream:

        async def drip() -> None:
            while True:
                await stream.send(b" ")
                with anyio.move_on_after(0.02):
                    await stream.receive()

        with anyio.fail_after(5), pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await drip()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
async def test_other_users_are_not_listened_to(tmp_path: Path) -> None:
    place = Path(f"/tmp/probed-test-{os.getpid()}.sock")
    async with listening(place) as path:
        await to_thread.run_sync(path.chmod, 0o666)  # as if the mode alone did not keep them out
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.setblocking(False)
            os.seteuid(65534)
            try:
                stranger.connect(str(path))
            finally:
                os.seteuid(0)
            with anyio.fail_after(5):
                await anyio.wait_readable(stranger)
            assert stranger.recv(99) == b"", "closed at once, without a request"
        assert await asked(path, command="echo", word=1) == {"said": 1}


# Binding.


def test_a_socket_of_a_daemon_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bound = bind(path, {})
    assert bound is not None
    bound[0].close()


def test_one_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = bind(path, {})
    assert first is not None
    with first[0], pytest.raises(OSError, match=f"cannot listen on {path}: another daemon"):
        bind(path, {})


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    with pytest.raises(OSError, match="cannot listen on"):
        bind(path, {})
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="its path is longer than 107 bytes"):
        bind(tmp_path / ("x" * 100), {})


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    place = tmp_path / "link" / "control.sock"
    monkeypatch.setattr(server, "places", lambda _: iter([place]))
    assert bind(None, {}) is None
    assert "the directory belongs to another user" in caplog.text


def test_the_usual_places() -> None:
    assert list(places({"PROBED_CONTROL": "/x/y"})) == [Path("/x/y")]
    assert list(places({"PROBED_CONTROL": ""})) == []
    found = list(places({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/7"}))
    assert found == [
        Path("/run/a/control.sock"),
        Path("/run/user/7/probed/control.sock"),
        Path("/run/probed/control.sock"),
        Path(f"/tmp/probed-{os.getuid()}/control.sock"),
    ]


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        send_request({"command": "status"}, path=str(tmp_path / "none"))
    assert str(caught.value) == (
        "no running daemon found:\n"
        f"  {tmp_path}/none: No such file or directory\ngive its socket with --socket"
    )
