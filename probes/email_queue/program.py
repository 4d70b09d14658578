"""A program's output, streamed and bounded; and what postfix and others say of their queue in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import Process

from probed import Outcome, ProbeError, Reason, Run
from probes.email_queue.reasons import QueueReason
from probes.email_queue.settings import Command, Postqueue
from probes.email_queue.tally import Tally
from probes.email_queue.times import epoch_of

LINES = 200_000
OUTPUT = 64 << 20
LINE = 1 << 20
SECONDS = 10.0
DOCUMENT = 1 << 20
"""Bytes that a command may say."""
COMPLAINT = 4096
RECIPIENTS = 1000
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNAVAILABLE, _NOT_ALLOWED = 69, 77
"""sysexits.h, as postfix uses it: EX_UNAVAILABLE and EX_NOPERM."""


class Ended:
    """How a program ended."""

    def __init__(self) -> None:
        self.complaint = b""
        self.cut: str | None = None


@asynccontextmanager
async def _running(command: Sequence[str]) -> AsyncIterator[Process]:
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.DEVNULL, env={"PATH": _PATH, "LC_ALL": "C"}
        )
    except (FileNotFoundError, NotADirectoryError):
        raise ProbeError(
            QueueReason.UNREADABLE, f"There is no program {command[0]}.", level=Outcome.UNKNOWN
        ) from None
    except PermissionError:
        raise ProbeError(
            Reason.SELF_PERMISSION, f"{command[0]} may not be run.", level=Outcome.UNKNOWN
        ) from None
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()
            await process.aclose()


async def _lines(process: Process, ended: Ended, run: Run) -> AsyncIterator[bytes]:
    """The lines of its output, as many as are looked at."""
    assert process.stdout is not None
    held, size, count, skipping = b"", 0, 0, False
    until = run.clock.monotonic() + SECONDS
    async for chunk in process.stdout:
        size += len(chunk)
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            if not skipping and len(line) <= LINE:
                yield line
            skipping = False
        count += len(whole)
        if len(held) > LINE:
            held, skipping = b"", True
        if count > LINES or size > OUTPUT or run.clock.monotonic() > until:
            ended.cut = f"after {count} lines, {size >> 10} KiB"
            return
    if held and not skipping:
        yield held


async def _complaint(process: Process, ended: Ended) -> None:
    assert process.stderr is not None
    async for chunk in process.stderr:
        ended.complaint += chunk[: COMPLAINT - len(ended.complaint)]


def _judge_end(process: Process, ended: Ended, run: Run, name: str) -> None:
    code = process.returncode
    if code == 0 or ended.cut is not None:
        return
    evidence = {"exit_code": code, "said": ended.complaint[:COMPLAINT]}
    if code == _UNAVAILABLE:
        run.fail(QueueReason.DOWN, evidence=evidence)
    level = Outcome.UNKNOWN
    reason = Reason.SELF_PERMISSION if code == _NOT_ALLOWED else QueueReason.UNREADABLE
    run.find(level, reason, f"{name} ended with exit code {code}.", evidence=evidence)


async def read_postqueue(run: Run, source: Postqueue, tally: Tally) -> None:
    """Phase `query`: a line for each message (postqueue(1), JSON OBJECT FORMAT)."""
    odd = 0
    with run.phase("query"):
        ended = Ended()
        async with _running(source.run) as process:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_complaint, process, ended)
                async for line in _lines(process, ended, run):
                    odd += bool(line.strip()) and not _count(line, tally)
                if ended.cut is not None:
                    process.kill()
            await process.wait()
        tally.truncated = ended.cut
        _judge_end(process, ended, run, source.run[0])
    if odd:
        message = f"{odd} lines of {source.run[0]} were not understood."
        level = Outcome.DEGRADED if tally.depth else Outcome.UNKNOWN
        run.find(level, QueueReason.NOT_UNDERSTOOD, message)


def _count(line: bytes, tally: Tally) -> bool:
    try:
        message = json.loads(line)
        queue, arrived = message["queue_name"], epoch_of(message["arrival_time"])
        recipients = message.get("recipients", ())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    if not isinstance(queue, str) or not isinstance(recipients, list | tuple):
        return False
    if tally.message(queue, arrived):
        for recipient in recipients[:RECIPIENTS]:
            reason = recipient.get("delay_reason") if isinstance(recipient, dict) else None
            if isinstance(reason, str):
                tally.reason(reason)
    return True


async def read_command(run: Run, source: Command, tally: Tally) -> None:
    """Phase `query`: one JSON document, `{"depth": 3, "oldest_age_s": 12.5}` or
    `{"queues": [{"name": "mail", "depth": 3, "oldest_age_s": 12.5, "delay_reasons": {"…": 2}}]}`.
    """
    with run.phase("query"):
        ended, said = Ended(), b""
        async with _running(source.run) as process:
            assert process.stdout is not None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_complaint, process, ended)
                async for chunk in process.stdout:
                    said += chunk
                    if len(said) > DOCUMENT:
                        process.kill()
                        break
            await process.wait()
        if len(said) > DOCUMENT:
            message = f"{source.run[0]} says more than {DOCUMENT >> 20} MiB."
            run.unknown(QueueReason.NOT_UNDERSTOOD, message)
            return
        _judge_end(process, ended, run, source.run[0])
        if process.returncode == 0:
            _read_document(run, said, tally)


def _read_document(run: Run, said: bytes, tally: Tally) -> None:
    try:
        document = json.loads(said)
        queues = document.get("queues", [document])
        for queue in queues[:1000]:
            depth, oldest = queue["depth"], queue.get("oldest_age_s")
            if not _is_count(depth) or not (oldest is None or _is_age(oldest)):
                raise ValueError  # noqa: TRY301  # as whatever else is not understood
            tally.lot(str(queue.get("name", "queue")), depth, oldest)
            reasons: Mapping[str, Any] = queue.get("delay_reasons") or {}
            for text, count in list(reasons.items())[:1000]:
                if _is_count(count):
                    tally.reason(text, count)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        run.unknown(QueueReason.NOT_UNDERSTOOD, evidence={"said": said[:200]})


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_age(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
