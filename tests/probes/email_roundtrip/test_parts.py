"""email_roundtrip: what a hostile mailbox says, what a receiver thinks, and what may be written."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import Peer, no_leaks, serve
from probed.testing.soundness import assert_memory, assert_sound
from probed.text.redact import Redactor
from probes.email_roundtrip import EmailRoundtripProbe
from probes.email_roundtrip.canary import canary, family_of
from probes.email_roundtrip.results import read_results

pytestmark = pytest.mark.anyio
USER, SECRET = "canary-name-4c1d", "canary-pass-4c1d"


def settings(port: int, /, **more: Any) -> dict[str, Any]:
    given = {
        "relay": {"name": "mx", "host": "127.0.0.1", "port": 9, "tls": "none"},
        "imap": {"host": "127.0.0.1", "port": port, "tls": "none", "username": USER, "secret": SECRET},
        "from": "a@probed.test", "rcpt": "b@probed.test", "helo": "probe.test", "poll": "50ms",
    }  # fmt: skip
    return given | more


async def ask(talk: Callable[[Peer], Awaitable[None]], memory: Any = None, **more: Any) -> Result:
    memory = {} if memory is None else memory
    async with serve(talk) as server, no_leaks():
        probe = EmailRoundtripProbe(**settings(server.port, **more))
        result = await execute(
            probe, network=Network(), timeout=1.0, memory=memory, redactor=Redactor([USER, SECRET])
        )
    assert_sound(probe, result)
    assert_memory(memory)
    return result


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def answering(answers: dict[bytes, bytes], greeting: bytes = b"* OK ready\r\n") -> Any:
    async def talk(peer: Peer) -> None:
        await peer.send(greeting)
        while True:
            tag, _, command = (await peer.read_line()).partition(b" ")
            talk.heard.append(command)  # type: ignore[attr-defined]
            if command.startswith(b"AUTHENTICATE"):
                await peer.send(b"+ \r\n")
                await peer.read_line()
            known = next((k for k in answers if command.startswith(k)), None)
            await peer.send((answers[known] if known else b"%s OK\r\n").replace(b"%s", tag))

    talk.heard = []  # type: ignore[attr-defined]
    return talk


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"* BYE too many\r\n", "imap.refused"),
        (b"220 mx ESMTP\r\n", "imap.protocol"),
        (b"+OK POP3\r\n", "imap.protocol"),
        (b"* OK" + b"x" * 9000, "imap.protocol"),
    ],
)
async def test_a_greeting_that_is_none(greeting: bytes, reason: str) -> None:
    assert found(await ask(answering({}, greeting))) == [("failed", reason)]


@pytest.mark.parametrize(
    "answer",
    [
        b"what\r\n", b"p9 OK\r\n", b"* X {99999999}\r\n", b"* X {300000}\r\n" + b"x" * 300_000,
        b"* SEARCH 1\r\n" * 90_000,
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_or_too_much(answer: bytes) -> None:
    assert found(await ask(answering({b"AUTHENTICATE": answer}))) == [("failed", "imap.protocol")]


async def test_a_login_that_is_refused_is_held_off_and_not_repeated_in_words() -> None:
    echo = base64.b64encode(f"\0{USER}\0{SECRET}".encode())
    talk = answering({b"AUTHENTICATE": b"%s NO " + echo + b" " + USER.encode() + b"\r\n"})
    memory: dict[str, Any] = {}
    results = [await ask(talk, memory) for _ in range(3)]
    assert [found(r) for r in results] == [[("failed", "imap.auth_rejected")]] * 3
    assert [r.findings[0].evidence["held"] for r in results] == [False, True, True]
    assert len([c for c in talk.heard if c.startswith(b"AUTHENTICATE")]) == 1
    for result in results:
        assert "4c1d" not in repr(result)
        assert echo.decode()[:16] not in repr(result)


async def test_nothing_is_sent_where_it_could_not_be_looked_for() -> None:
    async def relay(peer: Peer) -> None:
        raise AssertionError("the relay was asked")

    async with serve(relay) as server:
        result = await ask(answering({b"AUTHENTICATE": b"%s NO\r\n"}), relay={
            "name": "mx", "host": "127.0.0.1", "port": server.port, "tls": "none",
        })  # fmt: skip
        assert server.connections == 0
    assert [p.name for p in result.phases if not p.skipped][-1] == "imap/auth"


async def test_a_relay_that_is_away_is_told_as_by_the_smtp_kind() -> None:
    async with serve("refused") as server:
        result = await ask(answering({}), relay={
            "name": "mx", "host": "127.0.0.1", "port": server.port, "tls": "none",
        })  # fmt: skip
    assert found(result) == [("failed", "connect.refused")]
    assert [p.name for p in result.phases if p.error] == ["connect"]


# --- what the receiver thinks


@pytest.mark.parametrize(
    ("header", "results"),
    [
        (b"Authentication-Results: mx.test; spf=pass smtp.mailfrom=a; dkim=fail (x; dkim=pass); dmarc=none",
         {"spf": "pass", "dkim": "fail", "dmarc": "none"}),
        (b"Authentication-Results: mx.test 1; dkim=fail header.d=a;\r\n\tdkim=PASS header.d=b",
         {"dkim": "pass"}),
        (b"Authentication-Results: other.test; spf=pass", None),
        (b"Authentication-Results: mx.test; none", {}),
        (b"Authentication-Results: (mx.test) evil.test; spf=pass", None),
        (b"Authentication-Results: mx.test; spf=fail\r\nAuthentication-Results: mx.test; spf=pass",
         {"spf": "fail"}),
        (b"Subject: x", None), (b"", None),
    ],
)  # fmt: skip
def test_results_of_the_receiver_and_no_other(header: bytes, results: Any) -> None:
    assert read_results(header + b"\r\n\r\n", "MX.test") == results


@given(st.binary(max_size=2000))
def test_any_header_can_be_read(header: bytes) -> None:
    read_results(b"Authentication-Results: mx.test;" + header + b"\r\n\r\n", "mx.test")


# --- the mail and the settings


def test_the_mail_is_marked_and_answered_by_no_machine() -> None:
    family = family_of("a@b.test", "c@d.test", "relay:25")
    mail = message_from_bytes(canary("a@b.test", "c@d.test", f"{family}-1", 1_767_225_600))
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Probed-Token"] == f"{family}-1"
    assert mail["Message-ID"] == f"<{family}-1@b.test>"
    assert family != family_of("a@b.test", "c@d.test", "relay:26")
    assert "b.test" not in family


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"imap": {"host": "mail.test", "tls": "none", "username": "a", "secret": "b"}}, "without TLS"),
        ({"auth": {"username": "a", "secret": "b"}}, "has no TLS"),
        ({"imap": {"host": "mail.test", "inbox": "a\r\nb", "username": "a", "secret": "b"}}, "ASCII"),
        ({"poll": "1ms"}, "poll"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EmailRoundtripProbe(**settings(143, **more))
