"""smtp: relays that prompt for the wrong thing, twice, or without being asked to."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from probed import Outcome, Tls
from probed.model import Result
from probed.testing import Authority, Peer
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio

USER, SECRET = "canary-user-q7xe", "canary-secret-q7xe"
NAME, WORD, EMPTY = b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6", b"334 "
CHALLENGE = b"334 " + base64.b64encode(b"<1234.5678@mx.test>")
ERROR = b"334 " + base64.b64encode(b'{"status":"401"}')


class Prompter:
    """A relay over TLS that answers AUTH, and each line after it, by its list of replies."""

    def __init__(self, tls: Any, mechanism: str, replies: tuple[bytes, ...]) -> None:
        self.tls, self.mechanism, self.replies = tls, mechanism.upper().encode(), list(replies)
        self.lines: list[bytes] = []
        """Lines that came as, and after, AUTH."""

    async def __call__(self, peer: Peer) -> None:
        await peer.start_tls(self.tls)
        await peer.send(b"220 mx ESMTP\r\n")
        while True:
            line = await peer.read_line()
            if line.startswith(b"EHLO"):
                await peer.send(b"250-mx\r\n250 AUTH %s\r\n" % self.mechanism)
            elif line.startswith(b"AUTH") or self.lines:
                self.lines.append(line)
                if line == b"QUIT":
                    await peer.send(b"221 bye\r\n")
                    return
                if line == b"*":
                    await peer.send(b"501 cancelled\r\n")
                else:
                    await peer.send((self.replies.pop(0) if self.replies else b"235 ok") + b"\r\n")
            else:
                await peer.send(b"250 ok\r\n")

    @property
    def given(self) -> list[str]:
        """All that the relay was given in base64, in order, decoded where it is."""
        words = [word for line in self.lines for word in line.split() if word not in self._known]
        return [base64.b64decode(word).decode() for word in words]

    _known = (b"AUTH", b"LOGIN", b"PLAIN", b"XOAUTH2", b"CRAM-MD5", b"*", b"QUIT")


@pytest.fixture
def ask(run: Any, authority: Authority, trusting: Tls) -> Any:
    async def ask(mechanism: str, *replies: bytes, secret: str = SECRET) -> tuple[Prompter, Result]:
        relay = Prompter(authority.issue("127.0.0.1").context, mechanism, replies)
        run.redactor = Redactor([USER, secret])
        auth = {"mechanism": mechanism, "username": USER, "secret": secret}
        result = await run(relay, mode="implicit", tls={"ca": trusting.ca}, auth=auth)
        assert "q7xe" not in repr(result)
        return relay, result

    return ask


PLAIN, TOKEN = f"\0{USER}\0{SECRET}", f"user={USER}\x01auth=Bearer {SECRET}\x01\x01"
DIGEST = "canary-user-q7xe "


@pytest.mark.parametrize(
    ("mechanism", "replies", "given"),
    [
        ("login", (NAME, WORD, b"235 ok"), [USER, SECRET]),
        ("login", (b"334 VXNlciBOYW1lAA==", b"334 UGFzc3dvcmQA", b"235 ok"), [USER, SECRET]),
        ("plain", (b"235 ok",), [PLAIN]),
        ("plain", (EMPTY, b"235 ok"), [PLAIN, PLAIN]),
        ("plain", (b"334", b"235 ok"), [PLAIN, PLAIN]),
        ("xoauth2", (b"235 ok",), [TOKEN]),
        ("cram-md5", (CHALLENGE, b"235 ok"), [DIGEST]),
    ],
)
async def test_a_prompt_that_is_due_is_answered(
    ask: Any, mechanism: str, replies: tuple[bytes, ...], given: list[str]
) -> None:
    relay, result = await ask(mechanism, *replies)
    assert result.outcome is Outcome.OK, result.findings
    assert relay.lines[-1] == b"QUIT"
    assert len(relay.given) == len(given)
    assert all(one.startswith(other) for one, other in zip(relay.given, given, strict=True))


NOT_DUE: list[tuple[str, tuple[bytes, ...], list[str]]] = [
    ("login", (NAME, NAME), [USER]),
    ("login", (WORD,), []),
    ("login", (WORD, NAME), []),
    ("login", (EMPTY,), []),
    ("login", (b"334 ok",), []),
    ("login", (b"334 UElOOg==",), []),
    ("login", (NAME, b"334 UElOOg=="), [USER]),
    ("login", (NAME, EMPTY), [USER]),
    ("login", (NAME, WORD, WORD), [USER, SECRET]),
    ("login", (NAME, WORD, NAME), [USER, SECRET]),
    ("login", (NAME + b"\r\n" + WORD,), []),
    ("login", (b"334-VXNlcm5hbWU6\r\n" + WORD,), []),
    ("plain", (NAME,), [PLAIN]),
    ("plain", (WORD,), [PLAIN]),
    ("plain", (EMPTY, EMPTY), [PLAIN, PLAIN]),
    ("plain", (ERROR,), [PLAIN]),
    ("xoauth2", (ERROR, ERROR), [TOKEN]),
    ("xoauth2", (ERROR, EMPTY), [TOKEN]),
    ("xoauth2", (EMPTY, EMPTY), [TOKEN, TOKEN]),
    ("cram-md5", (CHALLENGE, CHALLENGE), [DIGEST]),
    ("cram-md5", (EMPTY,), []),
    ("cram-md5", (WORD,), []),
    ("cram-md5", (b"334 " + b"PDE" * 1000,), []),
]


@pytest.mark.parametrize(("mechanism", "replies", "given"), NOT_DUE)
async def test_a_prompt_that_is_not_due_cancels_the_login(
    ask: Any, mechanism: str, replies: tuple[bytes, ...], given: list[str]
) -> None:
    relay, result = await ask(mechanism, *replies)
    assert [(f.level.value, str(f.reason)) for f in result.findings] == [
        ("failed", "smtp.protocol")
    ]
    assert re.search("login prompt|asked for|challenge", result.findings[0].message)
    assert relay.lines[-2:] == [b"*", b"QUIT"]
    assert len(relay.given) == len(given)
    assert all(one.startswith(other) for one, other in zip(relay.given, given, strict=True))


@pytest.mark.parametrize(
    ("mechanism", "replies"),
    [
        ("login", (b"235 ok",)), ("login", (NAME, b"235 ok")), ("cram-md5", (b"235 ok",)),
        ("plain", (b"250 ok",)), ("plain", (b"200 ok",)), ("plain", (b"354 go",)),
        ("plain", (b"335 go",)), ("plain", (b"221 bye",)), ("login", (b"354 go",)),
        ("login", (NAME, WORD, b"250 ok")), ("cram-md5", (CHALLENGE, b"252 ok")),
        ("xoauth2", (ERROR, b"250 ok")),
    ],
)  # fmt: skip
async def test_a_login_that_was_not_accepted_by_its_own_code(
    ask: Any, mechanism: str, replies: tuple[bytes, ...]
) -> None:
    _, result = await ask(mechanism, *replies)
    assert [(f.level.value, str(f.reason)) for f in result.findings] == [
        ("failed", "smtp.protocol")
    ]


@pytest.mark.parametrize(
    ("mechanism", "replies"),
    [("login", (NAME, b"535 no")), ("login", (NAME, WORD, b"535 no")), ("xoauth2", (ERROR, b"535 no")),
     ("cram-md5", (CHALLENGE, b"535 no"))],
)  # fmt: skip
async def test_a_login_that_is_refused_is_held(
    ask: Any, run: Any, mechanism: str, replies: tuple[bytes, ...]
) -> None:
    _, result = await ask(mechanism, *replies)
    assert str(result.findings[0].reason) == "smtp.auth_rejected"
    again, result = await ask(mechanism)
    assert result.findings[0].evidence["held"] is True
    assert not again.given


async def test_a_response_too_long_for_a_command_waits_for_its_prompt(ask: Any) -> None:
    """RFC 4954, section 4: the command line keeps its limit of 512 bytes."""
    secret = "canary-secret-q7xe" + "x" * 1000
    relay, result = await ask("xoauth2", EMPTY, b"235 ok", secret=secret)
    assert result.outcome is Outcome.OK, result.findings
    assert relay.lines[0] == b"AUTH XOAUTH2"
    assert len(relay.given) == 1
    relay, result = await ask("xoauth2", NAME, secret=secret)
    assert str(result.findings[0].reason) == "smtp.protocol"
    assert not relay.given
