"""smtp: each row of the table of verdicts, against relays that do what it says."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from probed import HostPort, Tls
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network, Resolver
from probed.testing import Authority, Peer, dns_server, serve
from probes.smtp import SmtpProbe

pytestmark = pytest.mark.anyio

STARTTLS = (b"mx.example.test", b"SIZE 1000", b"STARTTLS")
AUTH = {"mechanism": "plain", "username": "mailer", "secret": "wrong-password"}
ENVELOPE = {"from": "probe@example.com", "rcpt": "canary@example.com"}


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def phases(result: Result) -> dict[str, str]:
    return {
        phase.name: "skipped" if phase.skipped else phase.error or "ok" for phase in result.phases
    }


def saying(*chunks: bytes, stay: bool = True) -> Callable[[Peer], Awaitable[None]]:
    async def say(peer: Peer) -> None:
        for chunk in chunks:
            await peer.send(chunk)
        if stay:
            await peer.until_gone()

    return say


# --- the banner


@pytest.mark.parametrize(
    ("banner", "reason"),
    [
        (b"554 5.7.1 You are blocked\r\n", "smtp.banner_rejected"),
        (b"554-No SMTP service here\r\n554 go away\r\n", "smtp.banner_rejected"),
        (b"421 4.3.2 Too many connections\r\n", "smtp.service_unavailable"),
        (b"450 4.3.2 Try again\r\n", "smtp.service_unavailable"),
        (b"250 hello\r\n", "smtp.protocol"),
        (b"220-mx.example.test ESMTP\r\n", "smtp.banner_incomplete"),
        (b"220 mx", "smtp.banner_incomplete"),
        (b"", "timeout.banner"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "smtp.not_smtp"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "smtp.not_smtp"),
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "smtp.not_smtp"),
        (b"+OK POP3 ready\r\n", "smtp.not_smtp"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "smtp.not_smtp"),
        (b"220 " + b"x" * 9000, "smtp.protocol_flood"),
        (b"220-x\r\n" * 9000, "smtp.protocol_flood"),
        (b"220_mx\r\n", "smtp.not_smtp"),
        (b"999 mx\r\n", "smtp.not_smtp"),
    ],
)
async def test_a_banner_that_is_not_220(run: Any, banner: bytes, reason: str) -> None:
    result = await run(saying(banner), limits={"banner": "200ms"})
    assert found(result) == [("failed", reason)]
    seen = phases(result)
    assert seen["banner"] == reason
    assert seen["ehlo"] == "skipped"


async def test_what_speaks_there_is_named(run: Any) -> None:
    result = await run(saying(b"SSH-2.0-OpenSSH_9.2p1\r\n"))
    assert result.findings[0].message == "What listens there speaks SSH, not SMTP."
    assert result.findings[0].evidence["text"].startswith("SSH-2.0-OpenSSH_9.2p1")


async def test_a_rejecting_banner_is_told_with_its_text_and_at_once(run: Any) -> None:
    result = await run(saying(b"554-5.7.1 Service refused\r\n554 5.7.1 see example.test/bl\r\n"))
    assert result.duration_s < 0.05
    (finding,) = result.findings
    assert finding.message.endswith(": 554 5.7.1 Service refused / 5.7.1 see example.test/bl")
    assert finding.evidence == {
        "relay": result.target, "phase": "banner", "code": 554,
        "text": "5.7.1 Service refused / 5.7.1 see example.test/bl", "enhanced_status": "5.7.1",
    }  # fmt: skip


async def test_of_a_banner_that_does_not_end_the_text_and_its_first_byte_are_kept(run: Any) -> None:
    result = await run(
        saying(b"220-mx.example.test ESMTP\r\n220-be pat"), limits={"banner": "0.2s"}
    )
    assert result.findings[0].evidence["text"] == "220 mx.example.test ESMTP / 220-be pat"
    values = {m.measure.name: m.value for m in result.measures}
    assert 0 <= values["probed.smtp.banner.first_byte"] < 0.1


async def test_a_banner_cut_off_by_the_runs_own_deadline_is_incomplete_too(run: Any) -> None:
    run.timeout = 0.5
    result = await run(saying(b"220-mx.example.test ESMTP\r\n"))
    assert found(result) == [("failed", "smtp.banner_incomplete")]
    assert result.findings[0].evidence["text"] == "220 mx.example.test ESMTP"


async def test_a_slow_banner(run: Any, script: Any) -> None:
    result = await run(script(delay=0.15), slow={"banner": "100ms"})
    assert found(result) == [("degraded", "smtp.banner_slow")]
    assert phases(result)["quit"] == "ok"


@pytest.mark.parametrize(
    ("talk", "reason"),
    [("close_early", "connect.closed"), ("reset", "connect.reset"), ("refused", "connect.refused")],
)
async def test_a_peer_that_is_gone(run: Any, talk: str, reason: str) -> None:
    assert found(await run(talk)) == [("failed", reason)]


async def test_a_black_hole_ends_with_the_limit_of_connecting(run: Any) -> None:
    result = await run("black_hole", limits={"connect": "200ms"})
    assert found(result) == [("failed", "timeout.connect")]
    assert result.duration_s < 0.5


# --- the name, and its addresses


@pytest.mark.parametrize(
    ("fault", "reason"), [("nxdomain", "dns.nxdomain"), ("servfail", "dns.servfail")]
)
async def test_a_name_that_does_not_resolve(fault: Any, reason: str) -> None:
    async with dns_server(fault=fault) as names:
        result = await of_name(names, 25)
    assert found(result) == [("failed", reason)]
    assert phases(result)["connect"] == "skipped"


async def of_name(names: Any, port: int, **settings: Any) -> Result:
    relay = {"name": "mx", "host": "mx.example.test", "port": port, "tls": "none"}
    probe = SmtpProbe(relays=[relay], helo="probe.test", **settings)
    network = Network(resolver=Resolver(servers=[names.server], hosts=None))
    return await execute(probe, network=network, timeout=3.0)


async def test_a_name_without_an_address() -> None:
    async with dns_server({("mx.example.test", "TXT"): ['"x"']}) as names:
        assert found(await of_name(names, 25)) == [("failed", "dns.no_data")]


async def test_each_address_is_asked_and_one_that_is_away_is_told(script: Any) -> None:
    zone = {("mx.example.test", "A"): ["127.0.0.1", "127.0.0.9"]}
    async with serve(script()) as server, dns_server(zone) as names:
        assert found(await of_name(names, server.port)) == []
        result = await of_name(names, server.port, addresses="all")
    assert found(result) == [("degraded", "connect.partial"), ("degraded", "connect.refused")]
    assert result.findings[0].evidence["failed"] == ("127.0.0.9",)
    assert phases(result)["127.0.0.1/ehlo"] == "ok"


async def test_no_address_of_all_can_be_used() -> None:
    zone = {("mx.example.test", "A"): ["127.0.0.1", "127.0.0.9"]}
    async with serve("refused") as server, dns_server(zone) as names:
        result = await of_name(names, server.port, addresses="all")
    assert found(result) == [("failed", "connect.refused")] * 2


# --- replies


async def test_one_reply_with_different_codes(run: Any, script: Any) -> None:
    mixed = {b"EHLO": b"250-mx\r\n550-SIZE 1\r\n250 8BITMIME\r\n"}
    result = await run(script(answers=mixed))
    assert found(result) == [("degraded", "smtp.protocol_mixed_codes")]
    assert result.findings[0].evidence["codes"] == "250, 550"


async def test_what_is_not_printable_is_a_note_and_harmless(run: Any, script: Any) -> None:
    result = await run(script(banner=b"220 m\xfcnchen \x1b[31mESMTP\r\n"))
    assert found(result) == []
    assert "not printable" in result.facts["smtp.notes"]


async def test_what_was_not_asked_for_is_told(run: Any, script: Any) -> None:
    result = await run(script(banner=b"220 mx ESMTP\r\n250 and more\r\n"))
    assert found(result) == [("degraded", "smtp.protocol_unsolicited")]
    assert result.findings[0].evidence["text"] == "250 and more"


async def test_a_goodbye_that_came_unasked_is_heard(run: Any, script: Any) -> None:
    result = await run(script(banner=b"220 mx ESMTP\r\n421 4.4.2 idle\r\n"))
    assert found(result) == [("failed", "smtp.service_unavailable")]
    assert result.findings[0].evidence["temporary"] is True


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"what\r\n", "smtp.protocol"),
        (b"250-mx\r\noops\r\n", "smtp.protocol"),
        (b"250-x\r\n" * 9000, "smtp.protocol_flood"),
        (b"250 " + b"x" * 9000, "smtp.protocol_flood"),
        (b"421 4.3.2 shutting down\r\n", "smtp.service_unavailable"),
        (None, "connect.closed"),
    ],
)
async def test_a_reply_that_is_none(run: Any, script: Any, answer: Any, reason: str) -> None:
    result = await run(script(answers={b"EHLO": answer}))
    assert found(result) == [("failed", reason)]
    assert phases(result)["ehlo"] == reason


async def test_a_reply_that_does_not_come_in_time(run: Any, script: Any) -> None:
    result = await run(script(answers={b"EHLO": b"250-mx\r\n"}), limits={"command": "200ms"})
    assert found(result) == [("failed", "timeout.command")]
    assert result.findings[0].evidence["text"] == "250 mx"


async def test_a_command_that_takes_long(run: Any, script: Any) -> None:
    result = await run(script(), slow={"command": "1ms", "connect": "100ms"})
    assert {reason for _, reason in found(result)} <= {"smtp.slow"}


# --- EHLO


async def test_a_relay_of_the_old_kind(run: Any, script: Any) -> None:
    result = await run(script(answers={b"EHLO": b"502 5.5.1 what?\r\n"}))
    assert found(result) == [("degraded", "smtp.no_esmtp")]


async def test_neither_ehlo_nor_helo(run: Any, script: Any) -> None:
    told = script(answers={b"EHLO": b"550 5.7.1 no\r\n", b"HELO": b"550 5.7.1 no\r\n"})
    result = await run(told)
    assert found(result) == [("failed", "smtp.ehlo_rejected")]
    assert told.commands == ["EHLO", "HELO", "QUIT"]


async def test_an_extension_that_is_required(run: Any, script: Any) -> None:
    result = await run(script(), require_extensions=["SIZE", "pipelining"])
    assert found(result) == [("degraded", "smtp.ext_missing")]
    assert result.findings[0].message == "The relay does not offer PIPELINING."


# --- STARTTLS


async def test_starttls_is_not_offered(run: Any, script: Any) -> None:
    told = script()
    result = await run(told, mode="starttls")
    assert found(result) == [("failed", "smtp.starttls_not_offered")]
    assert phases(result)["tls"] == phases(result)["ehlo_tls"] == "skipped"
    assert "STARTTLS" not in told.commands


async def test_starttls_is_masked(run: Any, script: Any) -> None:
    result = await run(script(offers=(b"mx", b"SIZE 10", b"XXXXXXXA")), mode="starttls")
    assert found(result) == [("failed", "smtp.starttls_stripped")]


async def test_starttls_is_refused(run: Any, script: Any) -> None:
    told = script(offers=STARTTLS, answers={b"STARTTLS": b"454 4.7.0 TLS not available\r\n"})
    result = await run(told, mode="starttls")
    assert found(result) == [("failed", "smtp.starttls_refused")]
    assert result.findings[0].evidence["temporary"] is True


async def test_plain_text_after_the_word_to_begin(
    run: Any, script: Any, authority: Authority
) -> None:
    context = authority.issue("127.0.0.1").context
    injected = b"220 2.0.0 Ready\r\n250 injected\r\n"
    told = script(offers=STARTTLS, starttls=injected, tls=context)
    result = await run(told, mode="starttls")
    assert found(result) == [("failed", "smtp.starttls_injection")]
    assert result.findings[0].evidence["injected"] == "250 injected"


# --- TLS


async def test_by_starttls_everything_is_said_again(
    run: Any, script: Any, authority: Authority, trusting: Tls
) -> None:
    told = script(offers=STARTTLS, tls=authority.issue("127.0.0.1").context)
    result = await run(told, mode="starttls", tls={"ca": trusting.ca})
    assert found(result) == []
    assert list(phases(result)) == [
        "resolve", "connect", "banner", "ehlo", "starttls", "tls", "ehlo_tls", "quit",
    ]  # fmt: skip
    assert told.commands == ["EHLO", "STARTTLS", "EHLO", "QUIT"]
    assert result.facts["tls.protocol.version"] == "1.3"
    assert "probed.tls.certificate.not_after" in {m.measure.name for m in result.measures}


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("expired", "tls.expired", "expired on 20"),
        ("wrong_name", "tls.wrong_name", "another.example"),
        ("stranger", "tls.untrusted", "not trusted"),
    ],
)
async def test_a_certificate_that_is_not_good(
    run: Any, script: Any, authority: Authority, trusting: Tls,
    mode: str, kind: str, reason: str, words: str,
) -> None:  # fmt: skip
    issued = authority.of_kind(kind, "127.0.0.1")
    told = script(offers=STARTTLS, tls=issued.context, implicit=mode == "implicit")
    result = await run(told, mode=mode, tls={"ca": trusting.ca})
    assert found(result) == [("failed", reason)]
    assert words in result.findings[0].message
    ends = {m.measure.name: m.value for m in result.measures}
    assert ends["probed.smtp.certificate.not_after"] == issued.not_after


@pytest.mark.parametrize(("days", "level"), [(10, "degraded"), (1, "failed")])
async def test_a_certificate_that_expires_soon(
    run: Any, script: Any, authority: Authority, trusting: Tls, days: int, level: str
) -> None:
    told = script(tls=authority.issue("127.0.0.1", days=days).context, implicit=True)
    result = await run(told, mode="implicit", tls={"ca": trusting.ca})
    assert found(result) == [(level, "tls.expires_soon")]


async def test_a_tls_version_that_is_older_than_wanted(
    run: Any, script: Any, authority: Authority, trusting: Tls
) -> None:
    import ssl
    from dataclasses import replace

    context = replace(authority.issue("127.0.0.1")).context
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    told = script(tls=context, implicit=True)
    tls = {"ca": trusting.ca, "min_version": "1.3"}
    assert found(await run(told, mode="implicit", tls=tls)) == [("degraded", "tls.old_version")]


async def test_plain_text_on_a_port_of_tls(run: Any, script: Any) -> None:
    result = await run(script(), mode="implicit")
    assert found(result) == [("failed", "tls.not_tls")]


async def test_a_handshake_that_is_not_answered(run: Any) -> None:
    result = await run("silent", mode="implicit", limits={"tls": "200ms"})
    assert found(result) == [("failed", "timeout.tls")]


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
async def test_closed_right_after_tls(
    run: Any, script: Any, authority: Authority, trusting: Tls, mode: str
) -> None:
    async def close(peer: Peer) -> None:
        """It says nothing more."""

    context = authority.issue("127.0.0.1").context
    told = script(offers=STARTTLS, tls=context, implicit=mode == "implicit", then=close)
    result = await run(told, mode=mode, tls={"ca": trusting.ca})
    assert found(result) == [("failed", "smtp.closed_after_tls")]


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
async def test_a_client_certificate_is_demanded(
    run: Any, script: Any, authority: Authority, trusting: Tls, mode: str
) -> None:
    context = authority.issue("127.0.0.1", clients=Authority()).context
    told = script(offers=STARTTLS, tls=context, implicit=mode == "implicit")
    result = await run(told, mode=mode, tls={"ca": trusting.ca})
    assert found(result) in (
        [("failed", "tls.client_certificate")],
        [("failed", "smtp.closed_after_tls")],
    )


# --- who may


async def encrypted(
    run: Any, script: Any, authority: Authority, trusting: Tls, offer: bytes, **more: Any
) -> tuple[Any, Result]:
    told = script(
        offers=STARTTLS, secure_offers=(b"mx", offer), tls=authority.issue("127.0.0.1").context,
        answers=more.pop("answers", {}),
    )  # fmt: skip
    settings = {"mode": "starttls", "tls": {"ca": trusting.ca}, "auth": AUTH} | more
    return told, await run(told, **settings)


async def test_our_way_to_log_in_is_not_offered(
    run: Any, script: Any, authority: Authority, trusting: Tls
) -> None:
    told, result = await encrypted(run, script, authority, trusting, b"AUTH CRAM-MD5")
    assert found(result) == [("failed", "smtp.auth_not_offered")]
    assert "AUTH" not in told.commands
    assert phases(result)["auth"] == "smtp.auth_not_offered"


@pytest.mark.parametrize("code", [b"535 5.7.8 no", b"534 5.7.9 weak", b"538 5.7.11 encrypt"])
async def test_a_secret_that_is_refused(
    run: Any, script: Any, authority: Authority, trusting: Tls, code: bytes
) -> None:
    answers = {b"AUTH": code + b"\r\n"}
    _, result = await encrypted(
        run, script, authority, trusting, b"AUTH PLAIN LOGIN CRAM-MD5",
        answers=answers, envelope=ENVELOPE,
    )  # fmt: skip
    assert found(result) == [("failed", "smtp.auth_rejected")]
    assert result.findings[0].evidence["held"] is False
    assert phases(result)["rcpt"] == "skipped"


async def test_a_login_that_cannot_be_judged_for_now(
    run: Any, script: Any, authority: Authority, trusting: Tls
) -> None:
    answers = {b"AUTH": b"454 4.7.0 try later\r\n"}
    told, result = await encrypted(
        run, script, authority, trusting, b"AUTH PLAIN", answers=answers, envelope=ENVELOPE
    )
    assert found(result) == [("degraded", "smtp.auth_temporary")]
    assert told.commands[-1] == "QUIT"
    assert phases(result)["mail"] == "skipped"
    assert run.memory == {}


# --- MAIL and RCPT


@pytest.mark.parametrize(
    ("command", "answer", "level", "reason"),
    [
        (b"MAIL", b"451 4.7.1 later", "degraded", "smtp.mail_deferred"),
        (b"MAIL", b"550 5.7.1 not you", "failed", "smtp.sender_rejected"),
        (b"MAIL", b"452 4.3.1 disk full", "failed", "smtp.server_storage"),
        (b"MAIL", b"552 full", "failed", "smtp.server_storage"),
        (b"RCPT", b"450 4.7.1 greylisted", "degraded", "smtp.rcpt_deferred"),
        (b"RCPT", b"451 later", "degraded", "smtp.rcpt_deferred"),
        (b"RCPT", b"550 5.1.1 no such user", "failed", "smtp.rcpt_unknown"),
        (b"RCPT", b"550 no such user", "failed", "smtp.rcpt_unknown"),
        (b"RCPT", b"550 5.7.1 relaying denied", "failed", "smtp.relay_denied"),
        (b"RCPT", b"554 relaying denied", "failed", "smtp.relay_denied"),
        (b"RCPT", b"553 5.5.4 odd", "failed", "smtp.rcpt_rejected"),
        (b"RCPT", b"452 4.3.1 disk full", "failed", "smtp.server_storage"),
        (b"RCPT", b"421 4.3.2 bye", "failed", "smtp.service_unavailable"),
    ],
)
async def test_what_becomes_of_the_envelope(
    run: Any, script: Any, command: bytes, answer: bytes, level: str, reason: str
) -> None:
    result = await run(script(answers={command: answer + b"\r\n"}), envelope=ENVELOPE)
    assert found(result) == [(level, reason)]


@pytest.mark.parametrize(
    ("answer", "expect", "findings"),
    [
        (b"450 4.7.1 greylisted", ["ok", "deferred"], []),
        (b"550 5.7.1 denied", ["denied"], []),
        (b"250 2.1.5 ok", ["denied"], [("failed", "smtp.rcpt_accepted")]),
    ],
)
async def test_what_is_expected_of_the_recipient(
    run: Any, script: Any, answer: bytes, expect: list[str], findings: Any
) -> None:
    told = script(answers={b"RCPT": answer + b"\r\n"})
    assert found(await run(told, envelope=ENVELOPE | {"rcpt_expect": expect})) == findings


async def test_no_mail_is_ever_sent_nor_begun_unasked(run: Any, script: Any) -> None:
    told = script()
    assert found(await run(told)) == []
    assert told.commands == ["EHLO", "QUIT"]
    told = script()
    assert found(await run(told, envelope=ENVELOPE)) == []
    assert told.commands == ["EHLO", "MAIL", "RCPT", "RSET", "QUIT"]


@pytest.mark.parametrize("answer", [b"500 what\r\n", None])
async def test_how_it_says_goodbye_is_a_note(run: Any, script: Any, answer: Any) -> None:
    result = await run(script(answers={b"QUIT": answer}))
    assert found(result) == []
    assert "QUIT" in result.facts["smtp.notes"]


async def test_rset_that_is_refused_is_a_note(run: Any, script: Any) -> None:
    result = await run(script(answers={b"RSET": b"500 what\r\n"}), envelope=ENVELOPE)
    assert found(result) == []
    assert "RSET" in result.facts["smtp.notes"]


# --- what is ours


async def test_too_many_open_files_is_our_own_fault(
    run: Any, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    async with serve(script()) as server:
        relay = {"name": "mx", "host": "127.0.0.1", "port": server.port, "tls": "none"}

        def full(*args: Any, **kwargs: Any) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr("probed.net.dial.socket.socket", full)
        probe = SmtpProbe(relays=[relay], helo="probe.test")
        result = await execute(probe, network=Network(), timeout=1.0)
        monkeypatch.undo()
    assert found(result) == [("unknown", "self.resources")]


def test_addresses_are_told_as_they_are_dialed() -> None:
    relays = [
        {"name": "a", "host": "Mail.Example.com"},
        {"name": "b", "host": "2001:db8::1", "tls": "implicit"},
        {"name": "c", "host": "192.0.2.1", "tls": "none", "port": 2525},
    ]
    probe = SmtpProbe(relays=relays, helo="probe.test")
    assert probe.target == "mail.example.com:587, [2001:db8::1]:465, 192.0.2.1:2525"
    assert probe.relays[0].address == HostPort("mail.example.com", 587)
    assert probe.host == "mail.example.com"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"relays": []}, "relays"),
        ({"relays": [{"name": "a", "host": "a b"}]}, "host"),
        ({"relays": [{"name": "a", "host": "a"}, {"name": "a", "host": "b"}]}, "same name"),
        (
            {"relays": [{"name": "a", "host": "a"}, {"name": "b", "host": "b", "role": "primary"}]},
            "primary first",
        ),
        ({"relays": [{"name": "a", "host": "a", "tls": "none"}], "auth": AUTH}, "has no TLS"),
        ({"helo": "a b"}, "host name"),
        ({"envelope": {"from": "nobody", "rcpt": "a@b.c"}}, "mail address"),
        ({"envelope": {"from": "a b@c.d", "rcpt": "a@b.c"}}, "mail address"),
        ({"require_extensions": ["a b"]}, "EHLO keyword"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    given = {"relays": [{"name": "a", "host": "a.test"}], "helo": "probe.test"} | settings
    with pytest.raises(ValueError, match=words):
        SmtpProbe(**given)


def test_a_relay_without_tls_may_be_left_out_of_logging_in() -> None:
    relays = [{"name": "a", "host": "a"}, {"name": "b", "host": "b", "tls": "none", "auth": "none"}]
    assert SmtpProbe(relays=relays, helo="probe.test", auth=AUTH).relays[1].auth == "none"
