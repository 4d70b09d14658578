"""The part of the Redis protocol (RESP2) that measuring a queue needs."""

from __future__ import annotations

from typing import TypeAlias

from probed import Outcome, ProbeError, Stream
from probes.email_queue.reasons import QueueReason

Value: TypeAlias = "bytes | int | list[Value] | None"
BULK = 1 << 20
ITEMS = 1000
DEPTH = 4
LINE = 64 * 1024
_KINDS = (b"", b"+", b"-", b":", b"$", b"*")


class RespError(Exception):
    """The server answered with an error; `word` is the first of it, such as WRONGTYPE."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("utf-8", "replace"))
        self.word = text.split(b" ", 1)[0].decode("ascii", "replace")


def _not_redis() -> ProbeError:
    return ProbeError(
        QueueReason.NOT_UNDERSTOOD, "What answers is not Redis.", level=Outcome.FAILED
    )


class Resp:
    """A connection that sends commands and reads bounded replies."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._held = b""

    async def command(self, *words: str | bytes) -> Value:
        """Send a command and return its reply. Raises RespError, ProbeError or OSError."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        sent = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        await self._stream.send(b"*%d\r\n%s" % (len(parts), sent))
        return await self._value(0)

    async def _value(self, depth: int) -> Value:
        line = await self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RespError(rest)
        if kind not in {b":", b"$", b"*"} or depth > DEPTH:
            raise _not_redis()
        try:
            number = int(rest)
        except ValueError:
            raise _not_redis() from None
        if kind == b":":
            return number
        if number == -1:
            return None
        if number < 0 or number > (BULK if kind == b"$" else ITEMS):
            raise ProbeError(QueueReason.NOT_UNDERSTOOD, "An item of the queue is too large.")
        if kind == b"*":
            return [await self._value(depth + 1) for _ in range(number)]
        return (await self._exactly(number + 2))[:-2]

    async def _line(self) -> bytes:
        while b"\r\n" not in self._held:
            if len(self._held) > LINE or self._held[:1] not in _KINDS:
                raise _not_redis()
            await self._more()
        line, _, self._held = self._held.partition(b"\r\n")
        return line

    async def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        found, self._held = self._held[:count], self._held[count:]
        return found

    async def _more(self) -> None:
        data = await self._stream.receive()
        if not data:
            raise EOFError
        self._held += data
