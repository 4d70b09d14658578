"""smtp: a reply that a command cannot have is a failure of the protocol, never ok (RFC 5321, 4.3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from probed import Tls
from probed.model import Result
from probed.testing import Authority

pytestmark = pytest.mark.anyio
ENVELOPE = {"from": "a@sender.example", "rcpt": "b@rcpt.example"}
ODD = [
    b"354 go",
    b"334 go",
    b"300 go",
    b"399 go",
    b"199 go",
    b"150 go",
    b"000 go",
    b"600 go",
    b"999 go",
]
ELSEWHERE = [b"220 ok", b"221 bye", b"235 ok", b"252 ok", b"211 ok", b"200 ok"]
"""Codes that other commands can have."""


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


@pytest.mark.parametrize("code", [*ODD, *ELSEWHERE])
@pytest.mark.parametrize("command", [b"EHLO", b"MAIL", b"RCPT", b"RSET"])
async def test_a_reply_that_the_command_cannot_have(
    run: Any, script: Any, command: bytes, code: bytes
) -> None:
    told = script(answers={command: code + b"\r\n"})
    assert found(await run(told, envelope=ENVELOPE)) == [("failed", "smtp.protocol")]
    assert command.decode() in told.commands


@pytest.mark.parametrize("code", [*ODD, b"250 ok", b"221 bye", b"235 ok"])
async def test_a_greeting_that_is_no_greeting(run: Any, script: Any, code: bytes) -> None:
    result = await run(script(banner=code + b"\r\n"))
    assert found(result)[0] in (("failed", "smtp.protocol"), ("failed", "smtp.not_smtp"))


@pytest.mark.parametrize("code", [*ODD, b"250 ok", b"235 ok", b"221 bye"])
async def test_tls_begins_after_220_only(
    run: Any, script: Any, authority: Authority, trusting: Tls, code: bytes
) -> None:
    told = script(offers=(b"mx", b"STARTTLS"), answers={b"STARTTLS": code + b"\r\n"},
                  tls=authority.issue("127.0.0.1").context)  # fmt: skip
    result = await run(told, mode="starttls", tls={"ca": trusting.ca})
    assert found(result) == [("failed", "smtp.protocol")]


@pytest.mark.parametrize("code", [b"250 ok", b"251 will forward"])
async def test_a_recipient_that_is_accepted(run: Any, script: Any, code: bytes) -> None:
    assert found(await run(script(answers={b"RCPT": code + b"\r\n"}), envelope=ENVELOPE)) == []


async def test_helo_too_has_one_code(run: Any, script: Any) -> None:
    told = script(answers={b"EHLO": b"502 no\r\n", b"HELO": b"354 go\r\n"})
    assert found(await run(told)) == [("failed", "smtp.protocol")]
