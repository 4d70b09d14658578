"""email_roundtrip: mailboxes that prompt for the wrong thing, twice, or without being asked to."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import Peer, no_leaks, serve
from probed.testing.soundness import assert_sound
from probed.text.redact import Redactor
from probes.email_roundtrip import EmailRoundtripProbe

pytestmark = pytest.mark.anyio
USER, SECRET = "canary-name-q3xf", "canary-pass-q3xf"
GIVEN = {
    "plain": base64.b64encode(f"\0{USER}\0{SECRET}".encode()),
    "xoauth2": base64.b64encode(f"user={USER}\x01auth=Bearer {SECRET}\x01\x01".encode()),
}
NAME, WORD = b"+ VXNlcm5hbWU6\r\n", b"+ UGFzc3dvcmQ6\r\n"
ERROR = b"+ " + base64.b64encode(b'{"status":"400"}') + b"\r\n"


class Mailbox:
    """Answers each line with its next reply; `%s` in one is the tag of the last command."""

    def __init__(self, *replies: bytes, greeting: bytes = b"* OK ready\r\n") -> None:
        self.replies, self.greeting = list(replies), greeting
        self.lines: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.send(self.greeting)
        tag = b""
        while True:
            line = await peer.read_line()
            self.lines.append(line)
            if line[:1] == b"p":
                tag = line.partition(b" ")[0]
            await peer.send(
                (self.replies.pop(0) if self.replies else b"%s OK\r\n").replace(b"%s", tag)
            )


async def ask(mailbox: Mailbox, mechanism: str) -> Result:
    async with serve(mailbox) as server, no_leaks():
        probe = EmailRoundtripProbe(
            relay={"name": "mx", "host": "127.0.0.1", "port": 9, "tls": "none"},
            imap={"host": "127.0.0.1", "port": server.port, "tls": "none", "username": USER,
                  "secret": SECRET, "mechanism": mechanism},
            helo="probe.test", **{"from": "a@probed.test", "rcpt": "b@probed.test"},
        )  # fmt: skip
        settings: dict[str, Any] = {"network": Network(), "timeout": 1.0, "memory": {}}
        result = await execute(probe, redactor=Redactor([USER, SECRET]), **settings)
    assert_sound(probe, result)
    assert "q3xf" not in repr(result)
    return result


def reason(result: Result) -> str:
    return str(result.findings[0].reason)


@pytest.mark.parametrize("mechanism", ["plain", "xoauth2"])
@pytest.mark.parametrize("prompt", [b"+ \r\n", b"+\r\n"])
async def test_an_empty_prompt_is_answered_once(mechanism: str, prompt: bytes) -> None:
    mailbox = Mailbox(prompt)
    await ask(mailbox, mechanism)
    assert mailbox.lines[:2] == [b"p1 AUTHENTICATE " + mechanism.upper().encode(), GIVEN[mechanism]]
    mailbox = Mailbox(prompt, prompt)
    assert reason(await ask(mailbox, mechanism)) == "imap.protocol"
    assert mailbox.lines[1:] == [GIVEN[mechanism], b"*"]


@pytest.mark.parametrize("mechanism", ["plain", "xoauth2"])
@pytest.mark.parametrize(
    "prompt", [NAME, WORD, b"+ go ahead\r\n", b"+ \r\n+ \r\n", b"+ {5}\r\nhello\r\n"]
)
async def test_a_prompt_that_is_not_due_gets_no_credential(mechanism: str, prompt: bytes) -> None:
    mailbox = Mailbox(prompt)
    assert reason(await ask(mailbox, mechanism)) == "imap.protocol"
    assert mailbox.lines[1:] == [b"*"]


async def test_an_error_of_xoauth2_is_answered_by_an_empty_line_once() -> None:
    mailbox = Mailbox(b"+ \r\n", ERROR, b"%s NO\r\n")
    assert reason(await ask(mailbox, "xoauth2")) == "imap.auth_rejected"
    assert mailbox.lines[1:] == [GIVEN["xoauth2"], b""]
    mailbox = Mailbox(b"+ \r\n", ERROR, ERROR)
    assert reason(await ask(mailbox, "xoauth2")) == "imap.protocol"
    assert mailbox.lines[1:] == [GIVEN["xoauth2"], b"", b"*"]
    mailbox = Mailbox(b"+ \r\n", ERROR)
    assert reason(await ask(mailbox, "plain")) == "imap.protocol"
    assert mailbox.lines[1:] == [GIVEN["plain"], b"*"]


async def test_a_login_that_was_not_made_is_not_accepted() -> None:
    assert reason(await ask(Mailbox(b"%s OK\r\n"), "plain")) == "imap.protocol"
    mailbox = Mailbox(greeting=b"* PREAUTH ready\r\n")
    assert reason(await ask(mailbox, "plain")) == "imap.protocol"
    assert mailbox.lines == []


@pytest.mark.parametrize(
    "command", ["SELECT", "UID SEARCH", "UID FETCH", "CAPABILITY", "UID STORE", "UID EXPUNGE"]
)
async def test_no_other_command_is_continued(post: Any, command: str) -> None:
    """The secret was the answer to every continuation request before."""
    post.add_old(3)

    async def prompt(peer: Peer) -> None:
        await peer.send(b"+ \r\n")

    post.instead[command.encode()] = prompt
    result = await post.run()
    assert reason(result) == "imap.protocol"
    assert post.commands[-1].startswith(command)
    assert sum(post.password.encode() in base64.b64decode(line) for line in post.answers) == 1
