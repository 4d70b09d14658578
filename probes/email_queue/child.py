"""A program in a session of its own, whose processes end with the run.

The process group is killed when the program has ended, and when the run ends or is cancelled. A child
that makes a session of its own escapes this, and so does every child if this process is killed by
SIGKILL: PR_SET_PDEATHSIG follows the thread that started the program, not the process.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

from probed import Outcome, ProbeError, Reason
from probes.email_queue.reasons import QueueReason

CHUNK = 16384
COMPLAINT = 4096
"""Maximum number of bytes of standard error that are kept."""
REMAINS = 1 << 20
"""Bytes that are read of each output after the program has ended: what fits in a pipe."""
REAP = 1.0
"""Seconds that a killed program may take to end."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a program: its exit code, None where it was killed because it said enough, and the
    beginning of its standard error.
    """

    code: int | None
    complaint: bytes


async def run_program(command: Sequence[str], read: Callable[[bytes], bool]) -> Ended:
    """Run a program, with `PATH` and no other variable, until it ends or `read` returns False.

    `read` is given its output piece by piece. Output ends with the program: a child that keeps the
    pipe open is not waited for. Raises ProbeError where the program cannot be started.
    """
    child = _Child(await to_thread.run_sync(_start, command))
    try:
        enough = await child.read(read)
    finally:
        child.kill()
        with anyio.CancelScope(shield=True), anyio.move_on_after(REAP):
            await child.ended()
        child.close()
    return Ended(None if enough else child.process.returncode, bytes(child.complaint))


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  # the operator's program, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={"PATH": _PATH, "LC_ALL": "C"},
            start_new_session=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason, message = _why_not(error, command[0][:80])
        raise ProbeError(reason, message, level=Outcome.UNKNOWN) from None


def _why_not(error: Exception, name: str) -> tuple[QueueReason | Reason, str]:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return QueueReason.UNREADABLE, f"There is no program {name}."
    if isinstance(error, PermissionError):
        return Reason.SELF_PERMISSION, f"{name} may not be run."
    if isinstance(error, OSError) and error.errno in _OURS:
        return Reason.SELF_RESOURCES, f"{name} could not be started: {os.strerror(error.errno)}."
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        return QueueReason.UNREADABLE, f"{name} is not a program, nor a script that begins with #!."
    known = isinstance(error, OSError) and error.errno is not None
    why = os.strerror(error.errno) if known else "its arguments cannot be passed on"  # type: ignore[attr-defined]
    return QueueReason.UNREADABLE, f"{name} could not be started: {why}."


class _Child:
    """A program that runs. It stays a zombie until its group is killed, so that the group is its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.complaint = bytearray()
        self._over = False
        self._waits = set[anyio.CancelScope]()
        self._pid_fd = -1
        assert process.stdout is not None
        assert process.stderr is not None
        self._out, self._err = process.stdout.fileno(), process.stderr.fileno()
        os.set_blocking(self._out, False)
        os.set_blocking(self._err, False)
        try:
            self._pid_fd = os.pidfd_open(process.pid)
        except OSError as error:
            self.kill()
            process.wait()
            self.close()
            message = f"A program cannot be watched: {error.strerror}."
            raise ProbeError(Reason.SELF_RESOURCES, message, level=Outcome.UNKNOWN) from None

    async def read(self, read: Callable[[bytes], bool]) -> bool:
        """Read its outputs until it ends; whether `read` had enough before."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(self._read, self._err, self._complain)
            enough = not await self._read(self._out, read)
            if enough:
                self.kill()
        return enough

    async def ended(self) -> None:
        """Wait for its end, and reap it."""
        while self.process.poll() is None:
            await anyio.wait_readable(self._pid_fd)

    def kill(self) -> None:
        """Kill its process group, unless it has been reaped."""
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass  # all of them have ended, or belong to another user

    def close(self) -> None:
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self._pid_fd >= 0:
            os.close(self._pid_fd)
            self._pid_fd = -1

    async def _watch(self) -> None:
        await anyio.wait_readable(self._pid_fd)
        self.kill()
        self._over = True
        for scope in self._waits:
            scope.cancel()

    def _complain(self, chunk: bytes) -> bool:
        self.complaint += chunk[: COMPLAINT - len(self.complaint)]
        return True

    async def _read(self, pipe: int, read: Callable[[bytes], bool]) -> bool:
        """Give what comes to `read`, until the pipe or the program ends; False where it had enough."""
        remains = REMAINS
        while remains > 0:
            try:
                chunk = os.read(pipe, CHUNK)
            except BlockingIOError:
                if self._over:
                    return True
                await self._wait(pipe)
                continue
            if not chunk:
                return True
            if not read(chunk):
                return False
            if self._over:
                remains -= len(chunk)
            await checkpoint()
        return True

    async def _wait(self, pipe: int) -> None:
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                await anyio.wait_readable(pipe)
            finally:
                self._waits.discard(scope)
