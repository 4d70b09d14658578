"""A program's output, streamed and bounded; and what postfix and others say of their queue in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from probed import Outcome, Reason, Run
from probes.email_queue.child import Ended, run_program
from probes.email_queue.reasons import QueueReason
from probes.email_queue.settings import Command, Postqueue
from probes.email_queue.tally import Tally, is_count
from probes.email_queue.times import epoch_of

LINES = 200_000
OUTPUT = 64 << 20
LINE = 1 << 20
SECONDS = 10.0
DOCUMENT = 1 << 20
"""Bytes that a command may say."""
RECIPIENTS = 100
DELAY_REASONS = 200
"""Delay reasons that are read of a command's document."""
_UNAVAILABLE, _NOT_ALLOWED = 69, 77
"""sysexits.h, as postfix uses it: EX_UNAVAILABLE and EX_NOPERM."""


class _Lines:
    """The lines of a program's output, within limits. `cut` says where it was stopped."""

    def __init__(self, run: Run, use: Callable[[bytes], None]) -> None:
        self.cut: str | None = None
        self._clock = run.clock
        self._until = run.clock.monotonic() + SECONDS
        self._use = use
        self._held = bytearray()
        self._size = 0
        self._count = 0
        self._skipping = False

    def read(self, chunk: bytes) -> bool:
        """Read a piece; False where the limits are reached."""
        self._size += len(chunk)
        first, newline, rest = chunk.partition(b"\n")
        self._hold(first)
        if newline:
            *whole, last = rest.split(b"\n")
            for line in (self._end(), *whole):
                if line is not None and len(line) <= LINE:
                    self._use(line)
            self._count += 1 + len(whole)
            self._hold(last)
        if self._count > LINES or self._size > OUTPUT or self._clock.monotonic() > self._until:
            self.cut = f"after {self._count} lines, {self._size >> 10} KiB"
        return self.cut is None

    def end(self) -> None:
        """Read the last line, which has no end."""
        line = self._end()
        if line and self.cut is None:
            self._use(line)

    def _hold(self, part: bytes) -> None:
        if len(self._held) + len(part) > LINE:
            self._held.clear()
            self._skipping = True
        if not self._skipping:
            self._held += part

    def _end(self) -> bytes | None:
        """The line that is complete now; None where it was too long."""
        line = None if self._skipping else bytes(self._held)
        self._held.clear()
        self._skipping = False
        return line


def _judge_end(ended: Ended, run: Run, name: str) -> None:
    code = ended.code
    if code == 0 or code is None:
        return
    evidence = {"exit_code": code, "said": ended.complaint}
    if code == _UNAVAILABLE:
        run.fail(QueueReason.DOWN, evidence=evidence)
    level = Outcome.UNKNOWN
    reason = Reason.SELF_PERMISSION if code == _NOT_ALLOWED else QueueReason.UNREADABLE
    run.find(level, reason, f"{name} ended with exit code {code}.", evidence=evidence)


async def read_postqueue(run: Run, source: Postqueue, tally: Tally) -> None:
    """Phase `query`: a line for each message (postqueue(1), JSON OBJECT FORMAT)."""
    odd = 0

    def count(line: bytes) -> None:
        nonlocal odd
        odd += bool(line.strip()) and not _count(line, tally)

    with run.phase("query"):
        lines = _Lines(run, count)
        ended = await run_program(source.run, lines.read)
        lines.end()
        tally.truncated = lines.cut
        _judge_end(ended, run, source.run[0])
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
        said = bytearray()

        def read(chunk: bytes) -> bool:
            said.extend(chunk[: DOCUMENT + 1 - len(said)])
            return len(said) <= DOCUMENT

        ended = await run_program(source.run, read)
        if len(said) > DOCUMENT:
            message = f"{source.run[0]} says more than {DOCUMENT >> 20} MiB."
            run.unknown(QueueReason.NOT_UNDERSTOOD, message)
            return
        _judge_end(ended, run, source.run[0])
        if ended.code == 0:
            _read_document(run, bytes(said), tally)


def _read_document(run: Run, said: bytes, tally: Tally) -> None:
    left = DELAY_REASONS
    try:
        document = json.loads(said)
        queues = document.get("queues", [document])
        for queue in queues[:1000]:
            depth, oldest = queue["depth"], queue.get("oldest_age_s")
            if not is_count(depth) or not (oldest is None or _is_age(oldest)):
                raise ValueError  # noqa: TRY301  # as whatever else is not understood
            tally.lot(str(queue.get("name", "queue")), depth, oldest)
            reasons: Mapping[str, Any] = queue.get("delay_reasons") or {}
            for text, count in islice(reasons.items(), left):
                left -= 1
                if is_count(count):
                    tally.reason(text, count)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        run.unknown(QueueReason.NOT_UNDERSTOOD, evidence={"said": said[:200]})


def _is_age(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
