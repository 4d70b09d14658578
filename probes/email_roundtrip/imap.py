"""As much of IMAP4rev1 (RFC 3501) as it takes to find a mail and to remove old ones.

Over our own stream: unlike the standard library's client it needs no thread that cannot be cancelled,
and bounds what the server sends, literals too.
"""

from __future__ import annotations

import base64
import re

from probed import ProbeError, Reason, Stream
from probes.email_roundtrip.reasons import RoundtripReason

LINE = 8192
LITERAL = 256 * 1024
ANSWER = 1 << 20
"""Bytes of a line, of a literal, and of all that is said to one command."""
UIDS = 1000
_LITERAL = re.compile(rb"\{(\d{1,10})\+?\}\Z")


class Refused(Exception):  # noqa: N818  # the command was
    """The server answered NO or BAD; `text` is what it said, not made safe."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("utf-8", "replace"))
        self.text = text


class Imap:
    """One conversation. Raises Refused, ProbeError or OSError."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._held = b""
        self._size = 0
        self._count = 0

    async def greeting(self) -> None:
        """Raises Refused where it says BYE, ProbeError where it is no IMAP."""
        line = await self._line()
        if line[:5].upper() == b"* BYE":
            raise Refused(line[6:])
        if line[:4].upper() != b"* OK" and line[:9].upper() != b"* PREAUTH":
            raise _not_imap()

    @property
    def ahead(self) -> bytes:
        """Return the unsolicited responses since the last one."""
        return self._held

    async def do(self, command: bytes, more: bytes | None = None) -> list[bytes]:
        """The untagged answers to a command, literals in place. `more` is said when it is asked to go
        on; what it says then is not of interest.
        """
        self._count += 1
        self._size = 0
        tag = b"p%d" % self._count
        await self._stream.send(tag + b" " + command + b"\r\n")
        told: list[bytes] = []
        while True:
            line = await self._answer()
            if line.startswith(b"+"):
                # A second one, as XOAUTH2 sends with an error, is answered by nothing.
                await self._stream.send((more or b"") + b"\r\n")
                more = None
            elif line.startswith(b"* "):
                told.append(line[2:])
            elif line.startswith(tag + b" "):
                rest = line[len(tag) + 1 :]
                if rest[:2].upper() == b"OK":
                    return told
                raise Refused(rest)
            else:
                raise _not_imap()

    async def log_in(self, mechanism: str, username: str, secret: str) -> None:
        if mechanism == "plain":
            said = f"\0{username}\0{secret}"
        else:
            said = f"user={username}\x01auth=Bearer {secret}\x01\x01"
        await self.do(
            b"AUTHENTICATE " + mechanism.upper().encode(), base64.b64encode(said.encode())
        )

    async def capabilities(self) -> set[str]:
        told = await self.do(b"CAPABILITY")
        words = b" ".join(line for line in told if line.upper().startswith(b"CAPABILITY "))
        return {word.decode("ascii", "replace").upper() for word in words.split()}

    async def select(self, folder: str) -> None:
        await self.do(b"SELECT " + quoted(folder))

    async def search(self, criteria: bytes) -> list[int]:
        """The identifiers (UIDs) of those that match, at most `UIDS`."""
        told = await self.do(b"UID SEARCH " + criteria)
        words = b" ".join(line[6:] for line in told if line.upper().startswith(b"SEARCH")).split()
        return [int(word) for word in words[:UIDS] if word.isdigit() and len(word) <= 10]

    async def headers(self, uid: int, names: tuple[str, ...]) -> bytes:
        """These fields of its header, as they stand there."""
        fields = " ".join(names).upper().encode()
        told = await self.do(b"UID FETCH %d (BODY.PEEK[HEADER.FIELDS (%s)])" % (uid, fields))
        for line in told:
            head, found, rest = line.partition(b"}\r\n")
            if found and b" FETCH " in head.upper():
                return rest
        return b""

    async def remove(self, uids: list[int], *, only_these: bool) -> None:
        """Mark them as deleted, and have them expunged where the server can do so with these alone
        (UIDPLUS, RFC 4315).
        """
        chosen = ",".join(map(str, uids)).encode()
        await self.do(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % chosen)
        if only_these:
            await self.do(b"UID EXPUNGE %s" % chosen)

    async def _answer(self) -> bytes:
        """One answer, the literals in it included."""
        whole = b""
        while True:
            line = await self._line()
            whole += line
            literal = _LITERAL.search(line)
            if literal is None:
                return whole
            size = int(literal[1])
            if size > LITERAL:
                raise _too_much()
            whole += b"\r\n" + await self._exactly(size)

    async def _line(self) -> bytes:
        while b"\n" not in self._held:
            if len(self._held) > LINE:
                raise _too_much()
            await self._more()
        line, _, self._held = self._held.partition(b"\n")
        return line.removesuffix(b"\r")

    async def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        found, self._held = self._held[:count], self._held[count:]
        return found

    async def _more(self) -> None:
        data = await self._stream.receive(16384)
        if not data:
            raise ProbeError(Reason.CONNECT_CLOSED)
        self._size += len(data)
        if self._size > ANSWER:
            raise _too_much()
        self._held += data


def quoted(text: str) -> bytes:
    """A quoted string; of printable ASCII."""
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'


def _not_imap() -> ProbeError:
    return ProbeError(RoundtripReason.IMAP_PROTOCOL)


def _too_much() -> ProbeError:
    return ProbeError(RoundtripReason.IMAP_PROTOCOL, "The mailbox's server says too much.")
