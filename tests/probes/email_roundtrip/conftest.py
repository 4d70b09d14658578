"""A relay and a mailbox in memory, which can be made to lie."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import Peer, no_leaks, serve
from probed.testing.soundness import assert_sound
from probed.text.redact import Redactor
from probes.email_roundtrip import EmailRoundtripProbe
from probes.email_roundtrip.canary import canary, family_of

SENDER, RCPT = "a@probed.test", "b@probed.test"
DAY = 86400.0


@dataclass
class Mail:
    uid: int
    header: bytes
    flags: set[bytes] = field(default_factory=set)

    @property
    def token(self) -> bytes:
        found = re.search(rb"^X-Probed-Token: *(\S+)", self.header, re.MULTILINE)
        return found[1] if found else b""


@dataclass
class Post:
    """A relay that delivers to `folders`, and an IMAP server that shows them.

    `instead` replaces the answer to a command, `lies` are those of `LIES`. Mails have the UIDs from
    1000 on, those of others from 10 on.
    """

    folders: dict[bytes, list[Mail]] = field(default_factory=lambda: {b"INBOX": [], b"Junk": []})
    capability: bytes = b"IMAP4rev1 UIDPLUS"
    validity: bytes | None = b"7"
    instead: dict[bytes, Callable[[Peer], Awaitable[None]]] = field(default_factory=dict)
    lies: set[str] = field(default_factory=set)
    lines: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    username: str = "canary-name-55ce"
    password: str = "canary-pass-55ce"
    relay_lines: list[bytes] = field(default_factory=list)
    relay_answers: dict[bytes, bytes] = field(default_factory=dict)
    """The relay's replies to these commands; `.` is the end of the mail."""
    taken: list[bytes] = field(default_factory=list)
    """Mails as they came, without the line that ends them."""
    _next: int = 1000

    # --- what there is

    @property
    def commands(self) -> list[str]:
        return [line.partition(b" ")[2].decode() for line in self.lines]

    @property
    def marked(self) -> list[int]:
        return [mail.uid for mails in self.folders.values() for mail in mails if mail.flags]

    def uids(self, folder: bytes = b"INBOX") -> list[int]:
        return [mail.uid for mail in self.folders[folder]]

    def add(self, header: bytes, uid: int | None = None, folder: bytes = b"INBOX") -> int:
        self._next += uid is None
        uid = self._next - 1 if uid is None else uid
        self.folders[folder].append(Mail(uid, header.split(b"\n\n")[0].replace(b"\n", b"\r\n")))
        return uid

    def add_foreign(self, count: int, folder: bytes = b"INBOX") -> None:
        for uid in range(10, 10 + count):
            self.add(b"Subject: somebody's\nDate: Tue, 01 Jan 2019 00:00:00 +0000", uid, folder)

    def add_old(self, count: int, age: float = 3 * DAY) -> list[int]:
        """Mails of this check; call it only before `run`, which has the same relay."""
        return [self.add(self._canary("{family}-old-" + str(n), age)) for n in range(count)]

    def _canary(self, token: str, age: float) -> bytes:
        return canary(SENDER, RCPT, token, time.time() - age)

    # --- the peers

    async def relay(self, peer: Peer) -> None:
        await peer.send(b"220 mx ESMTP\r\n")
        while True:
            line = await peer.read_line()
            self.relay_lines.append(line)
            answer = self.relay_answers.get(line[:4], b"354 go" if line == b"DATA" else b"250 ok")
            if line == b"QUIT":
                await peer.send(b"221 bye\r\n")
                return
            await peer.send(answer + b"\r\n")
            if answer[:3] == b"354" and line == b"DATA":
                mail = await peer.read_until(b"\r\n.\r\n")
                self.taken.append(mail)
                if "loses" not in self.lies:
                    self.add(mail.replace(b"\r\n", b"\n"))
                await peer.send(self.relay_answers.get(b".", b"250 2.0.0 taken") + b"\r\n")

    async def imap(self, peer: Peer) -> None:
        await peer.send(b"* OK ready\r\n")
        selected: list[Mail] = []
        while True:
            line = await peer.read_line()
            self.lines.append(line)
            tag, _, command = line.partition(b" ")
            instead = next((v for k, v in self.instead.items() if command.startswith(k)), None)
            if instead is not None:
                await instead(peer)
                continue
            told, ok = b"", b"OK done"
            if command.startswith(b"AUTHENTICATE"):
                await peer.send(b"+ \r\n")
                self.answers.append(await peer.read_line())
            elif command.startswith(b"SELECT"):
                found = self.folders.get(command.partition(b" ")[2].strip(b'"'))
                selected = found if found is not None else []
                ok = ok if found is not None else b"NO none"
                told = b"* OK [UIDVALIDITY %s] ok\r\n" % self.validity if self.validity else b""
            elif command.startswith(b"CAPABILITY"):
                told = b"* CAPABILITY %s\r\n" % self.capability
            elif command.startswith(b"UID "):
                told = self._uid(command[4:], selected)
            await peer.send(told + tag + b" " + ok + b"\r\n")

    def _uid(self, command: bytes, selected: list[Mail]) -> bytes:
        verb, _, rest = command.partition(b" ")
        anew = f"new validity at {verb.decode()}" in self.lies
        told = b"* OK [UIDVALIDITY 8] new\r\n" if anew else b""
        if verb == b"SEARCH":
            return told + self._search(rest, selected)
        uids = {int(uid) for uid in rest.partition(b" ")[0].split(b",")}
        chosen = [mail for mail in selected if mail.uid in uids]
        if verb == b"FETCH":
            if "fetches another" not in self.lies:
                told += b"".join(self._fetched(mail, rest) for mail in chosen)
            else:
                told += b"".join(
                    self._fetched(mail, rest, uid)
                    for mail in selected for uid in uids if mail.token and mail.uid != uid
                )  # fmt: skip
        elif verb == b"STORE":
            for mail in chosen:
                mail.flags.add(b"\\Deleted")
        elif verb == b"EXPUNGE":
            selected[:] = [m for m in selected if m.uid not in uids or b"\\Deleted" not in m.flags]
        return told

    def _search(self, criteria: bytes, selected: list[Mail]) -> bytes:
        token = re.search(rb'HEADER X-Probed-Token "([^"]*)"', criteria)
        assert token is not None
        found = [mail.uid for mail in selected if token[1] in mail.token]
        if "ignores criteria" in self.lies:
            found = [mail.uid for mail in selected]
        if "finds others" in self.lies:
            found = [mail.uid for mail in selected if token[1] not in mail.token]
        return b"* SEARCH" + b"".join(b" %d" % uid for uid in found) + b"\r\n"

    def _fetched(self, mail: Mail, rest: bytes, uid: int | None = None) -> bytes:
        names = re.search(rb"\(([A-Z -]+)\)\]", rest)
        assert names is not None
        header = b"".join(
            line + b"\r\n"
            for line in mail.header.split(b"\r\n")
            if line.partition(b":")[0].upper() in names[1].split()
        ) + b"\r\n"  # fmt: skip
        head = b"* 1 FETCH (UID %d BODY[HEADER.FIELDS (%s)] {%d}\r\n"
        return head % (uid or mail.uid, names[1], len(header)) + header + b")\r\n"

    # --- a run

    async def run(self, timeout: float = 1.5, **more: Any) -> Result:
        async with serve(self.imap) as imap, serve(self.relay) as relay, no_leaks():
            family = family_of(SENDER, RCPT, str(relay.address)).encode()
            for mails in self.folders.values():
                for mail in mails:
                    mail.header = mail.header.replace(b"{family}", family)
            probe = EmailRoundtripProbe(
                relay={"name": "mx", "host": "127.0.0.1", "port": relay.port, "tls": "none"},
                imap={"host": "127.0.0.1", "port": imap.port, "tls": "none",
                      "username": self.username, "secret": self.password},
                helo="probe.test", poll="20ms", **{"from": SENDER, "rcpt": RCPT}, **more,
            )  # fmt: skip
            redactor = Redactor([self.username, self.password])
            result = await execute(
                probe, network=Network(), timeout=timeout, memory={}, redactor=redactor
            )
        assert_sound(probe, result)
        return result


@pytest.fixture
def post() -> Post:
    return Post()
