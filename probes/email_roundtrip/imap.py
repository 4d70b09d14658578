"""As much of IMAP4rev1 (RFC 3501) as it takes to find a mail and to remove old ones.

Over our own stream: unlike the standard library's client it needs no thread that cannot be cancelled,
and bounds what the server sends, literals too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probed import ProbeError, Reason, Stream
from probed.mail.sasl import Mechanism, PromptError, client_of
from probes.email_roundtrip.reasons import RoundtripReason

LINE = 8192
LITERAL = 256 * 1024
ANSWER = 1 << 20
"""Bytes of a line, of a literal, and of all responses to one command."""
RESPONSES = 10_000
"""Untagged responses to one command."""
UIDS = 1000
_LITERAL = re.compile(rb"\{(\d{1,10})\+?\}\Z")
_VALIDITY = re.compile(rb"OK \[UIDVALIDITY (\d{1,10})\]", re.IGNORECASE)
_FETCH = re.compile(rb"\d{1,10} FETCH \(", re.IGNORECASE)
_UID = re.compile(rb"[( ]UID (\d{1,10})(?=[ )])", re.IGNORECASE)
_FIELDS = re.compile(rb"[( ]BODY\[HEADER\.FIELDS \([^)]*\)\] \{\d+\+?\}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """A response: its text, with the sizes of literals in place, and the literals."""

    text: bytes
    literals: tuple[bytes, ...] = ()


class Refused(Exception):  # noqa: N818  # the command was
    """The server answered NO or BAD; `text` is what it said, not made safe."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("utf-8", "replace"))
        self.text = text


class Imap:
    """One conversation. Raises Refused, ProbeError or OSError."""

    def __init__(self, stream: Stream) -> None:
        self.validity: int | None = None
        """UIDVALIDITY of the selected folder; None where the server has no lasting UIDs."""
        self._stream = stream
        self._held = bytearray()
        self._size = 0
        self._count = 0

    async def greeting(self) -> None:
        """Raises Refused where it says BYE, ProbeError where it is no IMAP."""
        line = await self._line()
        if line[:5].upper() == b"* BYE":
            raise Refused(line[6:])
        if line[:9].upper() == b"* PREAUTH":
            # As whom is not known: the mailbox may be somebody else's.
            raise ProbeError(
                RoundtripReason.IMAP_PROTOCOL, "The server says that we are logged in already."
            )
        if line[:4].upper() != b"* OK":
            raise _not_imap()

    @property
    def ahead(self) -> bytes:
        """Return the unsolicited responses since the last one."""
        return bytes(self._held)

    async def do(
        self, command: bytes, answer: Callable[[bytes], bytes] | None = None
    ) -> list[Response]:
        """Send a command and return its untagged responses.

        `answer` returns the line for each continuation request, or raises PromptError, which
        cancels the command. Without it a continuation request is not due.
        """
        self._count += 1
        self._size = 0
        tag = b"p%d" % self._count
        await self._stream.send(tag + b" " + command + b"\r\n")
        told: list[Response] = []
        while len(told) <= RESPONSES:
            response = await self._response()
            line = response.text
            if line.startswith(b"+") and answer is not None:
                await self._continue(answer, line[1:].strip())
            elif line.startswith(b"* "):
                told.append(Response(line[2:], response.literals))
            elif line.startswith(tag + b" "):
                rest = line[len(tag) + 1 :]
                if rest[:2].upper() == b"OK":
                    return told
                raise Refused(rest)
            else:
                raise _not_imap()
        raise _too_much()

    async def _continue(self, answer: Callable[[bytes], bytes], prompt: bytes) -> None:
        try:
            if self._held:
                raise PromptError("The server sent text ahead of our answer.")  # noqa: TRY301
            said = answer(prompt)
        except PromptError as error:
            await self._stream.send(b"*\r\n")
            raise ProbeError(RoundtripReason.IMAP_PROTOCOL, str(error)) from None
        await self._stream.send(said + b"\r\n")

    async def log_in(self, mechanism: Mechanism, username: str, secret: str) -> None:
        """AUTHENTICATE without an initial response. Raises Refused, and ProbeError where the server
        prompts for what is not due or accepts a login that was not made.
        """
        client = client_of(mechanism, username, secret)
        await self.do(b"AUTHENTICATE " + mechanism.upper().encode(), client.answer)
        if not client.complete:
            raise ProbeError(
                RoundtripReason.IMAP_PROTOCOL, "The server accepted a login that was not made."
            )

    async def capabilities(self) -> set[str]:
        told = await self.do(b"CAPABILITY")
        words = b" ".join(r.text for r in told if r.text.upper().startswith(b"CAPABILITY "))
        return {word.decode("ascii", "replace").upper() for word in words.split()}

    async def select(self, folder: str) -> None:
        """Open a folder. UIDs of before mean nothing from now on."""
        self.validity = None
        told = await self.do(b"SELECT " + quoted(folder))
        found = _validities(told)
        self.validity = found.pop() if len(found) == 1 else None

    async def search(self, criteria: bytes) -> list[int]:
        """Return the identifiers (UIDs) of those that match as the server says, at most `UIDS`."""
        told = await self._do_selected(b"UID SEARCH " + criteria)
        found = (r.text.split() for r in told if r.text[:6].upper() == b"SEARCH")
        uids = {int(word) for words in found for word in words[1:] if _is_uid(word)}
        return sorted(uids)[-UIDS:]

    async def headers(self, uids: Sequence[int], names: tuple[str, ...]) -> dict[int, bytes]:
        """Return these fields of the messages' headers, as they stand there, by UID.

        A message of another UID is dropped, and so is one that is answered twice or in part.
        """
        chosen = ",".join(map(str, uids)).encode()
        fields = " ".join(names).upper().encode()
        told = await self._do_selected(
            b"UID FETCH %s (UID BODY.PEEK[HEADER.FIELDS (%s)])" % (chosen, fields)
        )
        found: dict[int, list[bytes]] = {}
        for response in told:
            said = _UID.findall(response.text)
            whole = len(said) == 1 == len(response.literals) and _FIELDS.search(response.text)
            if whole and _FETCH.match(response.text):
                found.setdefault(int(said[0]), []).append(response.literals[0])
        return {uid: found[uid][0] for uid in uids if len(found.get(uid, ())) == 1}

    async def remove(self, uids: Sequence[int], *, only_these: bool) -> None:
        """Mark them as deleted, and have them expunged where the server can do so with these alone
        (UIDPLUS, RFC 4315).
        """
        chosen = ",".join(map(str, uids)).encode()
        await self._do_selected(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % chosen)
        if only_these:
            await self._do_selected(b"UID EXPUNGE %s" % chosen)

    async def _do_selected(self, command: bytes) -> list[Response]:
        """Do it, unless UIDs have come to mean other messages (RFC 3501 section 2.3.1.1)."""
        told = await self.do(command)
        if _validities(told) - {self.validity}:
            raise ProbeError(
                RoundtripReason.IMAP_PROTOCOL,
                "The server changed UIDVALIDITY while the folder was open.",
            )
        return told

    async def _response(self) -> Response:
        """The next response, whole."""
        text, literals = bytearray(), list[bytes]()
        while True:
            line = await self._line()
            text += line
            literal = _LITERAL.search(line)
            if literal is None:
                return Response(bytes(text), tuple(literals))
            size = int(literal[1])
            if size > LITERAL:
                raise _too_much()
            literals.append(await self._exactly(size))

    async def _line(self) -> bytes:
        seen = 0
        while (end := self._held.find(b"\n", seen)) < 0:
            seen = len(self._held)
            if seen > LINE:
                raise _too_much()
            await self._more()
        if end > LINE:
            raise _too_much()
        return (await self._exactly(end + 1))[:-1].removesuffix(b"\r")

    async def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        found = bytes(self._held[:count])
        del self._held[:count]
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


def _validities(told: list[Response]) -> set[int]:
    return {int(match[1]) for response in told if (match := _VALIDITY.match(response.text))}


def _is_uid(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 10 and int(word) > 0


def _not_imap() -> ProbeError:
    return ProbeError(RoundtripReason.IMAP_PROTOCOL)


def _too_much() -> ProbeError:
    return ProbeError(RoundtripReason.IMAP_PROTOCOL, "The mailbox's server says too much.")
