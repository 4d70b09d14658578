"""email_roundtrip: through a real postfix into a real dovecot, and found there."""

from __future__ import annotations

import imaplib
import ssl
import time
from collections.abc import Iterator
from typing import Any

import anyio.to_thread
import pytest

from probed import Outcome
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import no_leaks
from probed.text.redact import Redactor
from probes.email_roundtrip import EmailRoundtripProbe
from probes.email_roundtrip.canary import canary, family_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.debian("postfix"),
    pytest.mark.debian("dovecot-imapd"),
    pytest.mark.root,
    pytest.mark.timeout(90),
]


def probe(mail: Any, **more: Any) -> EmailRoundtripProbe:
    imap = {"host": "127.0.0.1", "port": mail.imaps, "username": mail.user, "secret": mail.password}
    settings: dict[str, Any] = {
        "relay": {"name": "mx", "host": "127.0.0.1", "port": mail.starttls},
        "imap": imap | more.pop("imap", {}),
        "from": mail.user,
        "rcpt": mail.user,
        "helo": "probe.test",
        "auth": {"username": mail.user, "secret": mail.password},
        "tls": {"ca": mail.ca},
        "poll": "100ms",
    }
    return EmailRoundtripProbe(**(settings | more))


async def run(mail: Any, timeout: float = 15.0, **more: Any) -> Result:
    async with no_leaks():
        return await execute(
            probe(mail, **more), network=Network(), timeout=timeout,
            redactor=Redactor([mail.user, mail.password]),
        )  # fmt: skip


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def values(result: Result) -> dict[str, float]:
    return {
        m.measure.name.removeprefix("probed.email_roundtrip."): m.value for m in result.measures
    }


@pytest.fixture
def mailbox(mail: Any) -> Iterator[imaplib.IMAP4_SSL]:
    context = ssl.create_default_context(cafile=str(mail.ca))
    with imaplib.IMAP4_SSL("127.0.0.1", mail.imaps, ssl_context=context) as client:
        client.login(mail.user, mail.password)
        yield client


@pytest.mark.parametrize("way", ["implicit", "starttls"])
async def test_a_mail_arrives(mail: Any, way: str) -> None:
    port = mail.imaps if way == "implicit" else mail.imap
    result = await run(mail, imap={"tls": way, "port": port})
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    assert 0 < values(result)["delivery.duration"] < 5
    assert values(result)["junk"] == 0
    names = [phase.name for phase in result.phases]
    assert names.index("imap/auth") < names.index("data") < names.index("imap/search")
    assert mail.user not in repr(result)


async def test_a_mail_among_the_junk(mail: Any) -> None:
    result = await run(mail, rcpt="canary+Junk@probed.test")
    assert found(result) == [("degraded", "roundtrip.junk")]
    assert values(result)["junk"] == 1


async def test_a_mail_that_does_not_arrive(mail: Any) -> None:
    result = await run(mail, rcpt="canary+Elsewhere@probed.test", delivery={"failed": "1s"})
    assert found(result) == [("failed", "roundtrip.not_arrived")]
    assert "within 1s" in result.findings[0].message


async def test_a_mail_that_takes_too_long(mail: Any) -> None:
    result = await run(mail, delivery={"degraded": "1ms"})
    assert found(result) == [("degraded", "roundtrip.slow")]


async def test_what_the_receiver_thinks_of_it(mail: Any) -> None:
    wanted = {"authserv_id": "mx.probed.test", "dkim": ["none", "pass"]}
    result = await run(mail, results=wanted)
    assert found(result) == [("failed", "roundtrip.auth_result")]
    assert "dmarc=fail; pass is expected" in result.findings[0].message
    assert result.facts["probed.email_roundtrip.spf"] == "pass"
    assert found(await run(mail, results=wanted | {"dmarc": None})) == []
    result = await run(mail, results={"authserv_id": "elsewhere.example"})
    assert found(result) == [("degraded", "roundtrip.no_auth_results")]


async def test_a_wrong_password_of_the_mailbox_sends_nothing(mail: Any) -> None:
    before = mail.log().count("status=sent")
    result = await run(mail, imap={"secret": "wrong-password"})
    assert found(result) == [("failed", "imap.auth_rejected")]
    assert mail.log().count("status=sent") == before


async def test_our_own_old_mails_are_removed_and_no_others(
    mail: Any, mailbox: imaplib.IMAP4_SSL
) -> None:
    family = family_of(mail.user, mail.user, f"127.0.0.1:{mail.starttls}")
    now = time.time()

    def put(token: str, age: float) -> None:
        date = imaplib.Time2Internaldate(now - age)
        mailbox.append("INBOX", "", date, canary(mail.user, mail.user, token, now - age))

    def fill() -> None:
        for number in range(3):
            put(f"{family}-old-{number}", 3 * 86400)
        put(f"{family}-young", 3600)
        put("probed-other-old", 3 * 86400)
        # SEARCH finds this one: its header contains our part of the token.
        put(f"copy-of-{family}-1", 3 * 86400)

    def left(token: str) -> int:
        mailbox.select("INBOX")
        _, told = mailbox.uid("SEARCH", "HEADER", "X-Probed-Token", token)
        return len(told[0].split())

    await anyio.to_thread.run_sync(fill)
    assert await anyio.to_thread.run_sync(left, f"{family}-old") == 3
    result = await run(mail)
    assert found(result) == []
    assert values(result)["removed"] == 3
    counts = [
        await anyio.to_thread.run_sync(left, token)
        for token in (f"{family}-old", f"{family}-young", "probed-other-old", f"copy-of-{family}")
    ]
    assert counts == [0, 1, 1, 1]
