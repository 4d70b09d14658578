"""email_roundtrip: a relay's reply that a command cannot have does not hand over a mail."""

from __future__ import annotations

from typing import Any

import pytest

from probed.mail.smtp.exchange import as_data

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"MAIL", b"354 go"), (b"RCPT", b"354 go"), (b"RCPT", b"252 ok"), (b"DATA", b"250 ok"),
        (b"DATA", b"334 go"), (b"DATA", b"220 ok"), (b"DATA", b"150 ok"), (b".", b"354 go"),
        (b".", b"220 ok"), (b".", b"221 bye"), (b".", b"235 ok"),
    ],
)  # fmt: skip
async def test_a_reply_that_the_command_cannot_have(post: Any, command: bytes, code: bytes) -> None:
    post.relay_answers[command] = code
    result = await post.run()
    assert [str(f.reason) for f in result.findings] == ["smtp.protocol"]
    assert command != b"DATA" or not post.taken


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (b"DATA", b"554 no", "roundtrip.mail_rejected"), (b".", b"550 no", "roundtrip.mail_rejected"),
        (b"DATA", b"451 later", "roundtrip.mail_deferred"), (b".", b"452 later", "roundtrip.mail_deferred"),
        (b".", b"421 closing", "smtp.service_unavailable"),
    ],
)  # fmt: skip
async def test_a_mail_that_is_refused(post: Any, command: bytes, code: bytes, reason: str) -> None:
    post.relay_answers[command] = code
    result = await post.run()
    assert [str(f.reason) for f in result.findings] == [reason]


async def test_the_mail_arrives_as_it_was_made(post: Any) -> None:
    await post.run()
    [mail] = post.taken
    assert mail.startswith(b"From: a@probed.test\r\n")
    assert mail.endswith(b"removed later.")
    assert b"\n" not in mail.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("mail", "data"),
    [
        (b"a\n", b"a\r\n.\r\n"), (b"a", b"a\r\n.\r\n"), (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b".\n.a\n", b"..\r\n..a\r\n.\r\n"), (b"a\r.\rb\n", b"a\r\n..\r\nb\r\n.\r\n"), (b"", b"\r\n.\r\n"),
    ],
)  # fmt: skip
def test_a_mail_cannot_end_itself(mail: bytes, data: bytes) -> None:
    assert as_data(mail) == data
