"""smtp: one login by one mechanism, held off after it was refused; who logs in is shown nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiosmtpd import smtp as aiosmtpd
from aiosmtpd.smtp import AuthResult, LoginPassword

from probed import Outcome, SecretStr, Tls
from probed.clock import SystemClock
from probed.config import loads
from probed.config.show import show
from probed.engine.runner import Runner
from probed.fields import Private
from probed.mail.hold import FIRST, LAST, Holds
from probed.model import Result
from probed.net import Network
from probed.output import Report, Style, render_result
from probed.output.github import render_github, render_markdown
from probed.output.junit import render_junit
from probed.output.nagios import render_nagios
from probed.output.report import render_json
from probed.registry import Registry
from probed.testing import Authority, FakeClock, serve
from probed.testing.soundness import plain
from probed.text.redact import Redactor
from probes.smtp import SmtpProbe
from probes.smtp.settings import Auth

pytestmark = pytest.mark.anyio

USER, RIGHT, WRONG = "canary-user-5d21", "right-password", "canary-secret-5d21"
SENDER, RCPT = "canary-from-5d21@sender.example", "canary-rcpt-5d21@rcpt.example"
MARK = "5d21"
OFFERS = (b"mx", b"STARTTLS")


class Judge:
    """Counts logins, and knows one password."""

    def __init__(self) -> None:
        self.logins: list[str] = []

    def __call__(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins.append(mechanism)
        assert isinstance(data, LoginPassword)
        right = data.login == USER.encode() and data.password == RIGHT.encode()
        return AuthResult(success=right, handled=False)


class Handler:
    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        raise AssertionError("DATA")


@asynccontextmanager
async def smtpd(authority: Authority, judge: Judge) -> AsyncIterator[int]:
    """aiosmtpd with STARTTLS and AUTH, on the test's own loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    context = authority.issue("127.0.0.1").context
    servers: list[Any] = []

    def make() -> aiosmtpd.SMTP:
        servers.append(
            aiosmtpd.SMTP(
                Handler(), hostname="mx.example.test", loop=loop, tls_context=context,
                authenticator=judge, auth_required=False,
            )
        )  # fmt: skip
        return servers[-1]  # type: ignore[no-any-return]

    server = await loop.create_server(make, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in servers:
            if one.transport is not None:
                one.transport.abort()
            if one._handler_coroutine is not None:
                one._handler_coroutine.cancel()
                await asyncio.gather(one._handler_coroutine, return_exceptions=True)
        await server.wait_closed()


def probe(port: int, tls: Tls, secret: str = WRONG, mechanism: str = "plain", **more: Any) -> Any:
    return SmtpProbe(
        relays=[{"name": "mx", "host": "127.0.0.1", "port": port}], helo="probe.test",
        tls={"ca": tls.ca}, auth={"mechanism": mechanism, "username": USER, "secret": secret}, **more,
    )  # fmt: skip


def runner(clock: Any = None) -> Runner:
    return Runner(Network(), clock=clock, redactor=Redactor([WRONG, RIGHT, USER, SENDER, RCPT]))


async def once(smtp: Any, memory: dict[str, Any], clock: Any = None) -> Result:
    return await runner(clock).run_attempt(smtp, timeout=3.0, memory=memory)


@pytest.mark.parametrize("mechanism", ["plain", "login"])
async def test_the_right_password(authority: Authority, trusting: Tls, mechanism: str) -> None:
    judge = Judge()
    async with smtpd(authority, judge) as port:
        result = await once(probe(port, trusting, RIGHT, mechanism), {})
    assert result.outcome is Outcome.OK, result.findings
    assert judge.logins == [mechanism.upper()]
    assert "auth" in [phase.name for phase in result.phases]


@pytest.mark.parametrize("mechanism", ["plain", "login"])
async def test_a_wrong_password_makes_exactly_one_login(
    authority: Authority, trusting: Tls, mechanism: str
) -> None:
    """Also where the failure is confirmed, and in the runs that follow."""
    judge = Judge()
    async with smtpd(authority, judge) as port:
        text = f"""
checks:
  - name: mail-out
    probe: smtp
    relays: [{{name: mx, host: 127.0.0.1, port: {port}}}]
    helo: probe.test
    tls: {{ca: {trusting.ca}}}
    auth: {{mechanism: {mechanism}, username: {USER}, secret: {{env: PW}}}}
    confirm: 2
"""
        config = loads(text, Registry({"smtp": SmtpProbe}), environ={"PW": WRONG})
        memory: dict[str, Any] = {}
        results = [await Runner.of(config).run(config.checks[0], memory=memory) for _ in range(3)]
        assert judge.logins == [mechanism.upper()]
        # Asked once from the command line nothing is remembered but within the run.
        await Runner.of(config).run(config.checks[0])
        assert judge.logins == [mechanism.upper()] * 2
    assert results[0].attempts == 3
    first = results[0].previous
    assert first is not None
    assert first.previous is not None
    assert first.previous.findings[0].evidence["held"] is False
    for result in (first, *results):
        assert [str(finding.reason) for finding in result.findings] == ["smtp.auth_rejected"]
        assert result.findings[0].evidence["held"] is True
        assert "not tried again until 20" in result.findings[0].message


async def test_a_password_that_was_changed_is_tried_at_once(
    authority: Authority, trusting: Tls
) -> None:
    judge, memory = Judge(), dict[str, Any]()
    async with smtpd(authority, judge) as port:
        await once(probe(port, trusting), memory)
        assert memory
        # One in 256 looks the same: this one does not.
        while Holds(memory, SystemClock().time).until("127.0.0.1", f"plain {USER} {RIGHT}"):
            memory.clear()
            await once(probe(port, trusting), memory)
        made = len(judge.logins)
        result = await once(probe(port, trusting, RIGHT), memory)
    assert result.outcome is Outcome.OK, result.findings
    assert len(judge.logins) == made + 1


async def test_relays_of_one_host_take_turns(authority: Authority, trusting: Tls) -> None:
    judge = Judge()
    async with smtpd(authority, judge) as port, smtpd(authority, judge) as other:
        relays = [
            {"name": "a", "host": "127.0.0.1", "port": port},
            {"name": "b", "host": "127.0.0.1", "port": other},
        ]
        smtp = SmtpProbe(
            relays=relays, helo="probe.test", tls={"ca": trusting.ca},
            auth={"username": USER, "secret": WRONG},
        )  # fmt: skip
        result = await once(smtp, {})
    assert result.outcome is Outcome.FAILED
    assert len(judge.logins) == 1


async def test_nothing_is_said_of_us_without_tls(run: Any, script: Any) -> None:
    told = script(offers=(b"mx", b"AUTH PLAIN"))
    await run(told, mode="starttls", auth={"username": USER, "secret": WRONG})
    assert not [line for line in told.heard if line.startswith(b"AUTH")]


# --- the hold


async def test_a_hold_doubles_up_to_six_hours_and_ends_with_success() -> None:
    clock, memory = FakeClock(), dict[str, Any]()
    holds = Holds(memory, clock.time)
    waits = []
    for _ in range(8):
        assert holds.until("mx", "me") is None
        holds.refused("mx", "me")
        wait = memory["auth"]["mx"][0]["wait"]
        waits.append(wait)
        await clock.advance(wait - 1)
        assert holds.until("mx", "me") is not None
        await clock.advance(2)
    assert waits[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert waits[-1] == LAST
    holds.accepted("mx", "me")
    assert memory == {}


def test_a_clock_that_was_set_back_holds_nobody_forever() -> None:
    clock, memory = FakeClock(), dict[str, Any]()
    holds = Holds(memory, clock.time)
    holds.refused("mx", "me")
    memory["auth"]["mx"][0]["until"] += 10 * LAST
    assert holds.until("mx", "me") is None


def test_what_is_remembered_does_not_tell_who_logs_in_and_is_bounded() -> None:
    memory: dict[str, Any] = {}
    holds = Holds(memory, FakeClock().time)
    for number in range(50):
        holds.refused("mx", f"{WRONG} {number}")
    assert len(memory["auth"]["mx"]) == 4
    assert MARK not in json.dumps(memory)
    assert {len(record["mark"]) for record in memory["auth"]["mx"]} == {2}


@pytest.mark.parametrize("memory", [{"auth": 1}, {"auth": []}, {"auth": None}])
def test_a_memory_that_is_none_of_ours_is_passed_over(memory: dict[str, Any]) -> None:
    holds = Holds(memory, FakeClock().time)
    assert holds.until("mx", "me") is None
    holds.refused("mx", "me")
    assert holds.until("mx", "me") is not None


# --- what is shown


def forms(text: str) -> set[str]:
    encoded = base64.b64encode(text.encode()).decode()
    return {text, encoded, encoded.rstrip("="), text.upper(), encoded.lower()}


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "xoauth2"])
async def test_a_relay_that_repeats_all_it_was_told_is_not_repeated(
    script: Any, authority: Authority, trusting: Tls, mechanism: str
) -> None:
    """Nor is any part of it that could be put together again, in any output."""
    results = []
    for echoed in ("AUTH", "MAIL", "RCPT"):

        async def echo(peer: Any, echoed: str = echoed) -> None:
            await peer.send(b"220 mx ESMTP\r\n")
            secure = said = b""
            while True:
                line = await peer.read_line()
                said += b" " + line
                if line.startswith(b"EHLO"):
                    offered = b"AUTH %s" % mechanism.upper().encode() if secure else b"STARTTLS"
                    await peer.send(b"250-mx\r\n250 %s\r\n" % offered)
                elif line == b"STARTTLS":
                    await peer.send(b"220 go\r\n")
                    await peer.start_tls(authority.issue("127.0.0.1").context)
                    secure = b"yes"
                elif line.startswith(echoed.encode()):
                    if line == b"AUTH CRAM-MD5":
                        await peer.send(b"334 PDEyMzQuNTY3OEBteD4=\r\n")
                        said += b" " + await peer.read_line()
                    told = said.decode("latin-1")
                    shouted = f"{told} {told.upper()} {told[: len(told) - 3]}"
                    await peer.send(b"550 5.7.1 you said " + shouted.encode("latin-1") + b"\r\n")
                elif line.startswith(b"AUTH"):
                    await peer.send(b"235 welcome %s\r\n" % line)
                else:
                    await peer.send(b"250 ok %s\r\n" % line)

        async with serve(echo) as server:
            smtp = probe(
                server.port, trusting, mechanism=mechanism,
                envelope={"from": SENDER, "rcpt": RCPT},
            )  # fmt: skip
            if mechanism == "cram-md5" and echoed != "AUTH":
                continue
            results.append((smtp, await once(smtp, {})))
    assert len(results) >= 1
    for smtp, result in results:
        assert result.outcome is Outcome.FAILED
        report = Report((result,), 0.0, 1.0, {})
        shown = [
            repr(smtp), smtp.target, json.dumps(plain(result), default=str),
            render_result(result, Style(verbose=True)), render_json(report), render_junit(report),
            render_nagios(report), render_github(report), render_markdown(report),
        ]  # fmt: skip
        for text in shown:
            for hidden in (USER, WRONG, SENDER, RCPT):
                for form in forms(hidden):
                    assert form not in text
            plain_auth = base64.b64encode(f"\0{USER}\0{WRONG}".encode()).decode()
            assert plain_auth[:16] not in text
            assert "canary-from" not in text
            assert "canary-rcpt" not in text


def test_the_configuration_shows_no_user_name_and_no_whole_address() -> None:
    text = f"""
checks:
  - name: mail-out
    probe: smtp
    relays: [{{name: mx, host: mx.example.com}}]
    helo: probe.test
    auth: {{username: {USER}, secret: {{env: PW}}}}
    envelope: {{from: {SENDER}, rcpt: {RCPT}}}
"""
    config = loads(text, Registry({"smtp": SmtpProbe}), environ={"PW": WRONG})
    shown = show(config)
    assert MARK not in shown
    assert "@rcpt.example" in shown
    assert MARK not in config.redactor.clean(f"{USER} {SENDER} {RCPT} {WRONG}")


def test_a_login_is_told_from_others_by_all_that_makes_it() -> None:
    one = Auth(username=Private(USER), secret=SecretStr(WRONG))
    assert one.login != Auth(username=Private(USER), secret=SecretStr(RIGHT)).login
    assert one.login != Auth(username=Private("b"), secret=SecretStr(WRONG)).login
    assert MARK not in repr(one)
