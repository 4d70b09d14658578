"""email_queue: a program's processes end with the run, and its output with the program."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import no_leaks
from probed.testing.soundness import assert_sound
from probes.email_queue import EmailQueueProbe, child

pytestmark = pytest.mark.anyio
GOOD = '{"depth": 3, "oldest_age_s": 1}'


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


async def look(source: str, run: list[str], timeout: float = 10.0) -> Result:
    settings: dict[str, Any] = {source: {"run": run}}
    probe = EmailQueueProbe(**settings)
    async with no_leaks():
        result = await execute(probe, network=Network(), timeout=timeout, memory={})
    assert_sound(probe, result)
    return result


class Marked:
    """`sleep` for ten minutes by an argument that no other process has."""

    def __init__(self) -> None:
        self.sleep = f"sleep 600.{secrets.randbelow(10**12):012d}"

    def left(self) -> list[int]:
        """Processes of it that are alive. What a killed one leaves has no command line."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if entry.name.isdigit() and self.sleep.split()[1].encode() in b" ".join(words):
                found.append(int(entry.name))
        return found

    async def gone(self) -> None:
        with anyio.fail_after(10):
            while self.left():  # noqa: ASYNC110  # other processes have no event
                await anyio.sleep(0.01)

    async def here(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self.left()) < count:  # noqa: ASYNC110
                await anyio.sleep(0.01)


@pytest.fixture
def marked() -> Marked:
    return Marked()


SOURCES = pytest.mark.parametrize("source", ["command", "postqueue"])
FORMS: dict[str, Callable[[str], str]] = {
    "itself": lambda sleep: sleep,
    "children": lambda sleep: f"{sleep} & {sleep}",
    "a pipe": lambda sleep: f"{sleep} | cat",
    "deaf": lambda sleep: f"trap '' TERM HUP INT; {sleep} & {sleep}; {sleep}",
    "grandchildren": lambda sleep: f"sh -c '{sleep} & {sleep}' & wait",
}


@SOURCES
@pytest.mark.parametrize("form", FORMS)
async def test_nothing_is_left_of_a_program_that_does_not_end(
    marked: Marked, source: str, form: str
) -> None:
    result = await look(source, ["sh", "-c", FORMS[form](marked.sleep)], timeout=0.4)
    assert found(result) == [("failed", "timeout.query")]
    await marked.gone()


@SOURCES
async def test_nothing_is_left_of_a_run_that_is_cancelled(marked: Marked, source: str) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, source, ["sh", "-c", f"{marked.sleep} & {marked.sleep}"])
        await marked.here(2)
        tasks.cancel_scope.cancel()
    await marked.gone()


@SOURCES
@pytest.mark.parametrize("code", [0, 3])
async def test_nothing_is_left_of_a_program_that_ended(
    marked: Marked, source: str, code: int
) -> None:
    """Its child keeps standard output and error open."""
    said = GOOD if source == "command" else '{"queue_name": "a", "arrival_time": 1}'
    result = await look(source, ["sh", "-c", f"{marked.sleep} & echo '{said}'; exit {code}"], 5.0)
    reasons = {reason for _, reason in found(result)}
    assert reasons <= {"queue.old"} if code == 0 else "queue.unreadable" in reasons
    await marked.gone()


async def test_nothing_is_left_of_a_program_that_says_too_much(marked: Marked) -> None:
    result = await look("command", ["sh", "-c", f"{marked.sleep} & yes"])
    assert found(result) == [("unknown", "queue.not_understood")]
    await marked.gone()


async def test_a_child_with_a_session_of_its_own_does_not_hold_the_run(tmp_path: Path) -> None:
    """It keeps the pipe, and cannot be found; what it says later is not read."""
    text = f"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists({str(tmp_path / "pid")!r}):
    time.sleep(0.01)
print({GOOD!r})
"""
    result = await look("command", [sys.executable, "-I", "-S", "-c", text], timeout=8.0)
    assert found(result) == []
    os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_all_is_read_of_a_program_that_ends_at_once(tmp_path: Path) -> None:
    file = tmp_path / "document"
    file.write_text('{"queues": [{"name": "' + "x" * 300_000 + '", "depth": 7}]}')
    for _ in range(10):
        result = await look("command", ["cat", str(file)])
        assert found(result) == []
        assert [m.value for m in result.measures if m.measure.name.endswith("depth")] == [7]


# --- what cannot be started


@SOURCES
async def test_what_is_no_program_is_a_reason(tmp_path: Path, source: str) -> None:
    script = tmp_path / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    lost = tmp_path / "lost"
    lost.write_text("#!/nowhere/sh\n")
    lost.chmod(0o755)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    empty = tmp_path / "empty"
    empty.write_text("")
    empty.chmod(0o755)
    busy = tmp_path / "busy"
    shutil.copy("/bin/true", busy)
    busy.chmod(0o755)
    with busy.open("ab"):
        for run, reason, words in (
            ([str(script)], "queue.unreadable", "begins with #!"),
            ([str(empty)], "queue.unreadable", "begins with #!"),
            ([str(folder)], "self.permission", "may not be run"),
            ([str(lost)], "queue.unreadable", "There is no program"),
            ([str(script / "below")], "queue.unreadable", "There is no program"),
            ([str(loop)], "queue.unreadable", "symbolic links"),
            ([str(busy)], "queue.unreadable", "Text file busy"),
            (["x" * 1000], "queue.unreadable", "File name too long"),
            (["true", "a\0b"], "queue.unreadable", "arguments"),
        ):
            result = await look(source, run)
            assert found(result) == [("unknown", reason)], run
            assert words in result.findings[0].message


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.E2BIG, "queue.unreadable"), (errno.ENOMEM, "self.resources"),
        (errno.EAGAIN, "self.resources"), (errno.EMFILE, "self.resources"),
        (errno.EIO, "queue.unreadable"), (errno.EACCES, "self.permission"),
        (errno.EPERM, "self.permission"), (errno.EINVAL, "queue.unreadable"),
    ],
)  # fmt: skip
async def test_errors_of_the_system(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(child.subprocess, "Popen", fail)
    assert found(await look("command", ["true"])) == [("unknown", reason)]


async def test_a_kernel_without_pidfd_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, marked: Marked
) -> None:
    def fail(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", fail)
    result = await look("command", ["sh", "-c", f"{marked.sleep} & {marked.sleep}"])
    assert found(result) == [("unknown", "self.resources")]
    await marked.gone()
