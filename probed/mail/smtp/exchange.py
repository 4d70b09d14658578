"""Commands and replies: each within its limit, and every word of the server made safe to show."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException

from probed.fields import HostPort, format_duration
from probed.judgement import TimedOut, within
from probed.mail.smtp.protocol import BoundedProtocol, Broken
from probed.mail.smtp.replies import TEXT_LIMIT, Reply, without_people, without_secrets
from probed.mail.smtp.troubles import Trouble
from probed.net import Network, Stream
from probed.reasons import Reason, Reasons
from probed.record import Recorder

NOTES = 8
RESERVE = 0.07
"""The part of the caller's time that is kept back: a dialogue that is cut off cannot say what was
heard.
"""
_LINE_END = re.compile(rb"\r\n|\r|\n")
NO_EVIDENCE: Mapping[str, Any] = {}


class SmtpError(Exception):
    """The end of a dialogue: why, in a message and in evidence that are safe to show."""

    def __init__(self, reason: Reasons, message: str, evidence: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.evidence = evidence


class Notice(Protocol):
    """Takes note of something that does not end the dialogue."""

    def __call__(
        self, reason: Reasons, message: str | None = None, *, evidence: Mapping[str, Any]
    ) -> None: ...


class Limits(Protocol):
    """Seconds that each step may take. `tls` and `connect` are without the replies around them."""

    @property
    def connect(self) -> float: ...
    @property
    def tls(self) -> float: ...
    @property
    def banner(self) -> float: ...
    @property
    def command(self) -> float: ...
    @property
    def auth(self) -> float: ...


class Slow(Protocol):
    """Seconds after which each step is slow; None where it never is."""

    @property
    def connect(self) -> float | None: ...
    @property
    def tls(self) -> float | None: ...
    @property
    def banner(self) -> float | None: ...
    @property
    def command(self) -> float | None: ...
    @property
    def auth(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a dialogue: where it is written down, what connects it, and how long it may last.

    `remaining` returns the seconds that are left, but for the reserve that it is given. `reasons`
    says which reason each trouble is to the caller. `secured` is called once TLS is spoken.
    """

    recorder: Recorder
    network: Network
    connect: Callable[[HostPort], AbstractAsyncContextManager[Stream]]
    remaining: Callable[[float], float]
    notice: Notice
    reasons: Callable[[Trouble], Reasons]
    secured: Callable[[], None] = lambda: None


class Exchange:
    """Sends commands to one server and judges its replies. Raises SmtpError, ProbeError, OSError or
    ssl.SSLError.

    `replies` are the steps and codes of all replies; `late` says that a step has timed out.
    """

    def __init__(
        self, caller: Caller, address: HostPort, helo: str, limits: Limits, slow: Slow
    ) -> None:
        self.recorder = caller.recorder
        self.notice = caller.notice
        self.address = address
        self.client = SMTP(local_hostname=helo, timeout=None, use_tls=False, start_tls=False)
        self.protocol: BoundedProtocol
        self.replies: list[tuple[str, int]] = []
        self.late = False
        self.phase = "connect"
        self._caller = caller
        self._reasons = caller.reasons
        self._limits = limits
        self._slow = slow
        self._notes: list[str] = []

    def attach(self, stream: Stream) -> None:
        """Speak over this stream from now on."""
        self.protocol = BoundedProtocol(stream, self.recorder.clock.monotonic)
        self.client.protocol = self.protocol
        self.client.transport = self.protocol.transport

    @contextmanager
    def step(self, name: str, limit: float | None = None) -> Iterator[Callable[[], float]]:
        """Open a phase with a limit in seconds. What it gives returns, afterwards, its length."""
        self.phase = name
        limit = self._limits.command if limit is None else limit
        with self.recorder.phase(name) as phase, self.limited(limit, name):
            yield lambda: phase.duration
        if name != "banner":
            self.judge_pace("auth" if name == "auth" else "command", phase.duration)

    async def reply_to(self, say: Callable[[], Awaitable[object]]) -> Reply:
        """Return the reply to what `say` sends. Fails where it is none, and where the server says
        goodbye.
        """
        protocol = self.protocol
        protocol.forget()
        try:
            await say()
        except SMTPException:
            pass  # the library's opinion of the reply
        except Broken as broken:
            self._broken(broken)
        except OSError:
            if self._closed_after_tls():
                self.end(Trouble.CLOSED_AFTER_TLS, evidence=self.evidence())
            raise
        reply = protocol.reply
        if reply is None:
            self.end(Trouble.PROTOCOL, evidence=self.evidence())
        self._record(reply)
        if reply.code == 421:
            self.fail(self._reasons(Trouble.SERVICE_UNAVAILABLE), reply, temporary=True)
        return reply

    def expect(self, reply: Reply, *codes: int) -> None:
        """Fail where a reply that is no refusal is none that the command has (RFC 5321, 4.3.2)."""
        if reply.code < 400 and reply.code not in codes:
            self.fail_trouble(Trouble.PROTOCOL, reply)

    async def send_mail(self, mail: bytes) -> Reply:
        """DATA and a mail. Return the reply to the mail, or the refusal of DATA."""
        reply = await self.reply_to(partial(self.protocol.execute_command, b"DATA"))
        self.expect(reply, 354)
        if reply.code >= 400:
            return reply
        reply = await self.reply_to(partial(self.protocol.execute_text, as_data(mail)))
        self.expect(reply, 250)
        return reply

    def _record(self, reply: Reply) -> None:
        self.replies.append((self.phase, reply.code))
        self.recorder.fact("smtp.reply.code", reply.code)
        self.recorder.fact("smtp.reply.enhanced_status", reply.enhanced)
        self.recorder.fact("smtp.reply.text", self.show(reply.text))
        if reply.mixed:
            codes = ", ".join(map(str, reply.mixed))
            self.notice_trouble(
                Trouble.MIXED_CODES, evidence=self.evidence(reply) | {"codes": codes}
            )
        if reply.odd:
            self.note(f"the answer in {self.phase} holds what is not printable UTF-8")
        if self.protocol.surplus:
            evidence = self.evidence() | {"text": self.show(self.protocol.surplus)}
            self.protocol.surplus = b""
            self.notice_trouble(Trouble.UNSOLICITED, evidence=evidence)

    def _broken(self, broken: Broken) -> NoReturn:
        evidence = self.evidence() | ({"text": self.show(broken.heard)} if broken.heard else {})
        if broken.trouble is not None:
            self.end(broken.trouble, broken.message, evidence=evidence)
        if self._closed_after_tls():
            self.end(Trouble.CLOSED_AFTER_TLS, evidence=evidence)
        reason = Reason.CONNECT_CLOSED
        raise SmtpError(reason, reason.sentence, evidence)

    def _closed_after_tls(self) -> bool:
        """Whether the server closed with the first thing that it might have said over TLS."""
        return False

    # --- what comes of it

    def end(
        self,
        trouble: Trouble,
        message: str | None = None,
        *,
        evidence: Mapping[str, Any] = NO_EVIDENCE,
    ) -> NoReturn:
        """End the dialogue. Raises SmtpError."""
        reason = self._reasons(trouble)
        raise SmtpError(reason, message or reason.sentence, evidence)

    def fail(self, reason: Reasons, reply: Reply, **more: Any) -> NoReturn:
        """End the dialogue with what the server said. Raises SmtpError."""
        said = self.show(f"{reply.code} {reply.text}")
        message = f"{reason.sentence.rstrip('.')}: {said}"
        raise SmtpError(reason, message, self.evidence(reply) | more)

    def fail_trouble(self, trouble: Trouble, reply: Reply, **more: Any) -> NoReturn:
        """End the dialogue with what the server said. Raises SmtpError."""
        self.fail(self._reasons(trouble), reply, **more)

    def notice_trouble(
        self, trouble: Trouble, message: str | None = None, *, evidence: Mapping[str, Any]
    ) -> None:
        """Tell the caller of something that does not end the dialogue."""
        self.notice(self._reasons(trouble), message, evidence=evidence)

    def evidence(self, reply: Reply | None = None) -> dict[str, Any]:
        """Return where in the dialogue we are, and the reply."""
        found: dict[str, Any] = {"relay": str(self.address), "phase": self.phase}
        if reply is not None:
            found |= {"code": reply.code, "text": self.show(reply.text)}
            if reply.enhanced is not None:
                found["enhanced_status"] = reply.enhanced
        return found

    def show(self, text: str | bytes) -> str:
        """Return what a server said as it may be shown: safe, short, without people and secrets."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace").strip("\r\n").replace("\r\n", " / ")
        # All of it, which is bounded: a secret must not be cut before it is looked for.
        text = without_secrets(text, self.protocol.spoken)
        return self.recorder.clean(without_people(self.recorder.redactor.redact(text)), TEXT_LIMIT)

    def note(self, text: str) -> None:
        """Note something odd that is shown as a fact."""
        if len(self._notes) < NOTES:
            self._notes.append(text)

    def write_notes(self) -> None:
        if self._notes:
            self.recorder.fact("smtp.notes", self.recorder.clean("; ".join(self._notes)))

    # --- time

    @contextmanager
    def limited(self, seconds: float, name: str | None = None) -> Iterator[None]:
        """Limit the block, inside of the phase `name` if there is one, and a little before the
        caller's deadline.
        """
        seconds = min(seconds, self._caller.remaining(RESERVE))
        try:
            with within(self.recorder, seconds, name):
                yield
        except TimedOut as late:
            self._too_late(late, seconds, name)

    def _too_late(self, late: TimedOut, seconds: float, name: str | None) -> NoReturn:
        self.late = True
        reason, message = late.reason, late.message
        evidence: dict[str, Any] = {"relay": str(self.address), "phase": late.phase}
        if name is not None and self.protocol.heard:
            evidence["text"] = self.show(self.protocol.heard)
            if name == "banner":
                reason = self._reasons(Trouble.BANNER_INCOMPLETE)
                message = f"{reason.sentence.rstrip('.')} within {seconds:.3g} s."
        elif name == "banner":
            message += " A port that waits for TLS, or for HTTP, is silent too."
        raise SmtpError(reason, message, evidence)

    def judge_pace(self, bound: str, seconds: float) -> None:
        """Tell the caller where a step took longer than it should."""
        slow = getattr(self._slow, bound)
        if slow is not None and seconds > slow:
            took = f"{seconds * 1000:.0f} ms, more than {format_duration(slow)}"
            self.notice_trouble(
                Trouble.SLOW, f"{self.phase} took {took}.", evidence=self.evidence()
            )


def as_data(mail: bytes) -> bytes:
    """Return a mail as DATA sends it: CRLF at line ends, dots stuffed, the last line a dot alone
    (RFC 5321 section 4.5.2).
    """
    lines = _LINE_END.sub(b"\r\n", mail).removesuffix(b"\r\n").split(b"\r\n")
    stuffed = (b"." + line if line[:1] == b"." else line for line in lines)
    return b"\r\n".join([*stuffed, b".", b""])
