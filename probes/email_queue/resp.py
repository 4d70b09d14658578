"""The part of the Redis protocol (RESP2) that measuring a queue needs."""

from __future__ import annotations

import re
from typing import TypeAlias

from probed import Outcome, ProbeError, Stream
from probes.email_queue.reasons import QueueReason
from probes.email_queue.tally import count_of

Value: TypeAlias = "bytes | int | list[Value] | None"
BULK = 1 << 20
ITEMS = 4096
REPLY = 4 << 20
"""Bytes of an item, and items and bytes of a reply with all that is nested in it."""
DEPTH = 4
LINE = 64 * 1024
CHUNK = 64 * 1024
_KINDS = (b"+", b"-", b":", b"$", b"*")
_NUMBER = re.compile(rb"-?\d{1,18}\Z")


class RespError(Exception):
    """The server answered with an error; `word` is the first of it, such as WRONGTYPE."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("utf-8", "replace"))
        self.word = text.split(b" ", 1)[0].decode("ascii", "replace")


def not_redis(message: str = "What answers is not Redis.") -> ProbeError:
    """Return the error of a reply that Redis does not give."""
    return ProbeError(QueueReason.NOT_UNDERSTOOD, message, level=Outcome.FAILED)


class Resp:
    """A connection that sends commands and reads replies, each within limits.

    Methods raise RespError, ProbeError or OSError.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._held = bytearray()
        self._items = 0
        self._size = 0

    async def command(self, *words: str | bytes) -> Value:
        """Send a command and return its reply."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        sent = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._items, self._size = 0, len(self._held)
        await self._stream.send(b"*%d\r\n%s" % (len(parts), sent))
        return await self._value(0)

    async def done(self, *words: str | bytes) -> None:
        """Send a command that is answered with OK."""
        if await self.command(*words) != b"OK":
            raise not_redis(f"The reply to {words[0]!s} is not OK.")

    async def count(self, *words: str | bytes) -> int:
        """Send a command that is answered with a count."""
        return count_of(await self.command(*words))

    async def items(self, *words: str | bytes) -> list[Value]:
        """Send a command that is answered with a list."""
        found = await self.command(*words)
        if not isinstance(found, list):
            raise not_redis(f"The reply to {words[0]!s} is not a list.")
        return found

    async def _value(self, depth: int) -> Value:
        self._items += 1
        if self._items > ITEMS:
            raise _too_large()
        line = await self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RespError(rest)
        if depth > DEPTH or not _NUMBER.match(rest):
            raise not_redis()
        number = int(rest)
        if kind == b":":
            return number
        if number == -1:
            return None
        if number < 0 or number > (BULK if kind == b"$" else ITEMS):
            raise _too_large()
        if kind == b"*":
            return [await self._value(depth + 1) for _ in range(number)]
        text = await self._exactly(number + 2)
        if text[-2:] != b"\r\n":
            raise not_redis()
        return text[:-2]

    async def _line(self) -> bytes:
        seen = 0
        while (end := self._held.find(b"\r\n", seen)) < 0:
            if len(self._held) > LINE or not self._may_begin():
                raise not_redis()
            seen = max(0, len(self._held) - 1)
            await self._more()
        if end > LINE or not self._may_begin():
            raise not_redis()
        return (await self._exactly(end + 2))[:-2]

    def _may_begin(self) -> bool:
        return not self._held or self._held[:1] in _KINDS

    async def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        found = bytes(self._held[:count])
        del self._held[:count]
        return found

    async def _more(self) -> None:
        data = await self._stream.receive(CHUNK)
        if not data:
            raise EOFError
        self._size += len(data)
        if self._size > REPLY:
            raise _too_large()
        self._held += data


def _too_large() -> ProbeError:
    return not_redis("An item of the queue is too large.")
