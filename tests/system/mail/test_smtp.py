"""smtp and email_queue against a real postfix, with SASL by dovecot."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from anyio import to_thread

from probed import Outcome
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import no_leaks
from probed.text.redact import Redactor
from probes.email_queue import EmailQueueProbe
from probes.smtp import SmtpProbe
from tests.programs import wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.debian("postfix"),
    pytest.mark.debian("dovecot-imapd"),
    pytest.mark.root,
    pytest.mark.timeout(90),
]
ENVELOPE = {"from": "canary@probed.test", "rcpt": "canary@probed.test"}


async def talk(mail: Any, way: str, memory: Any = None, **settings: Any) -> Result:
    tls = settings.pop("mode", "implicit" if way == "implicit" else "starttls")
    relay = {"name": "mx", "host": "127.0.0.1", "port": getattr(mail, way), "tls": tls}
    probe = SmtpProbe(relays=[relay], helo="probe.test", tls={"ca": mail.ca}, **settings)
    async with no_leaks():
        return await execute(
            probe, network=Network(), timeout=15.0, memory={} if memory is None else memory,
            redactor=Redactor([mail.user, mail.password]),
        )  # fmt: skip


def auth(mail: Any, mechanism: str = "plain", secret: str | None = None) -> dict[str, Any]:
    return {"mechanism": mechanism, "username": mail.user, "secret": secret or mail.password}


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


@pytest.mark.parametrize("way", ["starttls", "implicit"])
@pytest.mark.parametrize("mechanism", ["plain", "login"])
async def test_up_to_the_mail(mail: Any, way: str, mechanism: str) -> None:
    result = await talk(mail, way, auth=auth(mail, mechanism), envelope=ENVELOPE)
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    names = [phase.name for phase in result.phases]
    assert names[-5:] == ["auth", "mail", "rcpt", "rset", "quit"]
    assert result.facts["tls.protocol.version"] == "1.3"
    assert mail.user not in repr(result)


async def test_a_wrong_password_makes_one_login(mail: Any) -> None:
    memory: dict[str, Any] = {}
    before = mail.log().count("authentication failed")
    for held in (False, True, True):
        result = await talk(mail, "starttls", memory, auth=auth(mail, secret="wrong-password"))
        assert found(result) == [("failed", "smtp.auth_rejected")]
        assert result.findings[0].evidence["held"] is held
    assert mail.log().count("authentication failed") == before + 1


async def test_a_mechanism_that_postfix_does_not_offer(mail: Any) -> None:
    result = await talk(mail, "starttls", auth=auth(mail, "cram-md5"))
    assert found(result) == [("failed", "smtp.auth_not_offered")]


async def test_without_a_login_nothing_is_relayed_and_strangers_are_unknown(mail: Any) -> None:
    foreign = ENVELOPE | {"rcpt": "somebody@elsewhere.test"}
    result = await talk(mail, "starttls", envelope=foreign)
    assert found(result) == [("failed", "smtp.relay_denied")]
    assert "somebody" not in repr(result)
    stranger = ENVELOPE | {"rcpt": "nobody@probed.test"}
    result = await talk(mail, "starttls", envelope=stranger)
    assert found(result) == [("failed", "smtp.rcpt_unknown")]
    assert result.findings[0].evidence["enhanced_status"] == "5.1.1"


async def test_greylisting(mail: Any) -> None:
    result = await talk(mail, "greylists", envelope=ENVELOPE)
    assert found(result) == [("degraded", "smtp.rcpt_deferred")]
    result = await talk(mail, "greylists", envelope=ENVELOPE | {"rcpt_expect": ["ok", "deferred"]})
    assert found(result) == []


async def test_postscreen_takes_its_time_and_we_wait(mail: Any) -> None:
    result = await talk(mail, "postscreen", slow={"banner": "2s"})
    assert found(result) == [("degraded", "smtp.banner_slow")]
    assert 2.5 < {p.name: p.duration_s for p in result.phases}["banner"] < 6
    first = result.findings[0].evidence["first_byte_s"]
    assert isinstance(first, float)
    assert first < 1.0


async def test_postscreen_that_is_not_waited_for(mail: Any) -> None:
    result = await talk(mail, "postscreen", limits={"banner": "1s"})
    assert found(result) == [("failed", "smtp.banner_incomplete")]
    assert result.findings[0].evidence["text"] == "220 mx.probed.test ESMTP waits"


async def test_starttls_on_the_port_of_tls_and_the_other_way_round(mail: Any) -> None:
    result = await talk(mail, "implicit", mode="starttls", limits={"banner": "500ms"})
    assert found(result) == [("failed", "timeout.banner")]
    assert "waits for TLS" in result.findings[0].message
    result = await talk(mail, "starttls", mode="implicit")
    assert found(result) == [("failed", "tls.not_tls")]


async def test_no_mail_was_ever_begun(mail: Any) -> None:
    before = len(mail.log())
    await talk(mail, "starttls", auth=auth(mail), envelope=ENVELOPE)
    gone = partial(wait_until, lambda: "disconnect from" in mail.log()[before:], "postfix notices")
    await to_thread.run_sync(gone)
    (told,) = [line for line in mail.log()[before:].splitlines() if "disconnect from" in line]
    assert "mail=1 rcpt=1 rset=1 quit=1" in told
    assert "data=" not in told


async def test_postfix_tells_of_its_queue(mail: Any, queued: int) -> None:
    command = ["postqueue", "-c", str(mail.config), "-j"]
    probe = EmailQueueProbe(postqueue={"run": command})
    async with no_leaks():
        result = await execute(probe, network=Network(), timeout=15.0)
    assert result.outcome is Outcome.OK, result.findings
    depths = [m.value for m in result.measures if m.measure.name == "probed.email_queue.depth"]
    assert depths == [queued]
    told = str(result.facts["probed.email_queue.delay_reasons"])
    assert told.startswith("3x connect to")
    assert "No such file" in told
