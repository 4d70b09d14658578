"""aiosmtplib's protocol on a stream of ours: it reads what was asked for, within bounds, and keeps
what the library drops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

from probed.mail.smtp.replies import (
    LINE_LIMIT,
    REPLY_LIMIT,
    NotAReply,
    Reply,
    guess,
    may_begin,
    parse_line,
    reply_of,
)
from probed.mail.smtp.troubles import Trouble
from probed.net import Stream


class Broken(Exception):  # noqa: N818  # the conversation is
    """The server says what no server may say; `heard` is what there was of it. Without a `trouble` it
    has closed the connection.
    """

    def __init__(self, trouble: Trouble | None, heard: bytes, message: str | None = None) -> None:
        super().__init__(message or "closed")
        self.trouble = trouble
        self.heard = heard
        self.message = message


class _Wire(asyncio.Transport):
    """The transport for the library. The protocol does the writing and closing."""

    def __init__(self) -> None:
        super().__init__()
        self._closed = False

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True


class BoundedProtocol(SMTPProtocol):
    """One conversation. `reply` is the last whole reply, `heard` what there is of the one awaited,
    `first_byte` when that began (by `now`); `spoken` is what a reply may not repeat in public.
    """

    def __init__(self, stream: Stream, now: Callable[[], float]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.stream = stream
        self.reply: Reply | None = None
        self.first_byte: float | None = None
        self.greeted = False
        self.secret = False
        """Whether what is said from now on is secret."""
        self.spoken: list[str] = []
        self.surplus = b""
        """Text that the relay sent before its turn."""
        self._now = now
        self._unsent = b""
        self._held = b""
        self._lines: list[tuple[int, bytes]] = []
        self.waiting = False
        self.connection_made(_Wire())

    @property
    def heard(self) -> bytes:
        """The reply being read, so far."""
        lines = [b"%d %s" % line for line in self._lines]
        return b" / ".join([*lines, self._held] if self._held else lines)

    @property
    def ahead(self) -> bytes:
        """Text after the last reply, unsolicited."""
        return self._held

    def forget(self) -> None:
        """The last reply is of the past: the next one is what counts."""
        self.reply = None

    def write(self, data: bytes) -> None:
        """Keep it: it is sent before the reply is read."""
        if self.secret:
            words = data.decode("utf-8", "replace").split()
            words = words[2:] if words[:1] == ["AUTH"] else words
            self.spoken += [word for word in words if len(word) >= 4]
        self._unsent += data

    async def execute_text(self, text: bytes) -> SMTPResponse:
        """Send text that is no command, and read the reply to it."""
        self.write(text)
        return await self.read_response()

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ARG002
        """The next reply. Raises Broken, OSError, ssl.SSLError or ProbeError; time is limited by
        who calls.
        """
        data, self._unsent = self._unsent, b""
        if data and not self._held.startswith(b"421"):
            self.surplus += self._held[:LINE_LIMIT]
            self._held = b""
            await self.stream.send(data)
        self.waiting = True
        self.reply = reply = await self._read()
        self.waiting = False
        text = b"\n".join(line.strip(b" \t") for line in reply.lines)
        return SMTPResponse(reply.code, text.decode("utf-8", "surrogateescape"))

    async def _read(self) -> Reply:
        self._lines, self.first_byte = [], None
        size = 0
        while True:
            line = await self._line()
            size += len(line)
            try:
                code, more, text = parse_line(line)
            except NotAReply:
                raise self._not_smtp(line) from None
            self._lines.append((code, text))
            if not more:
                self.greeted = True
                reply, self._lines = reply_of(self._lines), []
                return reply
            if size > REPLY_LIMIT:
                raise Broken(Trouble.PROTOCOL_FLOOD, self.heard)

    async def _line(self) -> bytes:
        while True:
            line, newline, rest = self._held.partition(b"\n")
            if not may_begin(self._held):
                raise self._not_smtp(self._held)
            if len(line) > LINE_LIMIT:
                raise Broken(Trouble.PROTOCOL_FLOOD, line)
            if newline:
                self._held = rest
                return line.removesuffix(b"\r")
            data = await self.stream.receive(LINE_LIMIT)
            if not data:
                raise Broken(None, self.heard)
            if self.first_byte is None:
                self.first_byte = self._now()
            self._held += data

    def _not_smtp(self, begin: bytes) -> Broken:
        if self.greeted or self._lines:
            return Broken(Trouble.PROTOCOL, begin)
        what = guess(begin)
        message = None if what is None else f"What listens there speaks {what}, not SMTP."
        return Broken(Trouble.NOT_SMTP, begin, message)
