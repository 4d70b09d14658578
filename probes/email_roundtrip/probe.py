"""The email_roundtrip probe: send a marked mail, find it by IMAP, and read what the receiver thinks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, Any, ClassVar, Self

import anyio
from pydantic import Field, model_validator

from probed import (
    CertificateAge,
    Duration,
    Measure,
    MetricType,
    Outcome,
    Probe,
    ProbeError,
    Run,
    Stream,
    format_duration,
    judge_certificate,
    start_tls,
    utc,
    within,
)
from probed.mail.hold import Holds
from probed.mail.smtp import Dialogue, Manner, Reply, without_people
from probes.email_roundtrip.canary import canary, family_of
from probes.email_roundtrip.folders import Folders
from probes.email_roundtrip.imap import Imap, Refused
from probes.email_roundtrip.reasons import AllReasons, RoundtripReason
from probes.email_roundtrip.results import METHODS, read_results
from probes.email_roundtrip.settings import Delivery, Mailbox, Results
from probes.smtp.conversation import dialogue_with, opened
from probes.smtp.envelope import MAIL_CODES, RCPT_CODES
from probes.smtp.reasons import SmtpReason
from probes.smtp.settings import Auth, Helo, Limits, Relay, RelayTls, Slow
from probes.smtp.settings import Mailbox as Address

STEPS = ("mail", "rcpt", "data")


class EmailRoundtripProbe(Probe):
    """Send a small marked mail by a relay, and find it in the mailbox that it must arrive in."""

    kind = "email_roundtrip"
    example = """\
checks:
  - name: mail-roundtrip
    probe: email_roundtrip
    relay: {name: primary, host: smtp.example.com, port: 587, tls: starttls}
    auth: {mechanism: plain, username: mailer, secret: {env: SMTP_PASSWORD}}
    helo: probe.example.com
    from: canary@bounce.example.com
    rcpt: canary@example.net
    imap:
      host: imap.example.net
      username: canary@example.net
      secret: {env: IMAP_PASSWORD}
      junk: [Junk, Spam]
    delivery: {degraded: 15s, failed: 60s}
    interval: 10m
    timeout: 90s
"""
    hints: ClassVar[Mapping[str, str]] = {
        "within": "write `delivery: {failed: …}`",
        "degraded": "write `delivery: {degraded: …}`",
    }
    reasons = AllReasons

    relay: Relay
    """The relay that the mail is handed to."""
    imap: Mailbox
    """The mailbox that it must arrive in."""
    sender: Address = Field(alias="from")
    """The sender, one of its own for this; its domain is shown, no more."""
    rcpt: Address
    """The recipient, whose mailbox it is; its domain is shown, no more."""
    helo: Helo
    """The name that we say EHLO with."""
    auth: Auth | None = None
    """How to log in at the relay."""
    tls: RelayTls = RelayTls()
    """How certificates are judged, the relay's and the mailbox's."""
    certificate: CertificateAge = CertificateAge()
    """How long certificates must still be good for."""
    delivery: Delivery = Delivery()
    """How long the mail may take to arrive."""
    poll: Annotated[Duration, Field(ge=0.02, le=60)] = 1.0
    """How often the mailbox is looked at."""
    results: Results | None = None
    """Required results in the receiver's `Authentication-Results`."""
    limits: Limits = Limits()
    """How long each step may take."""

    measures = (
        Measure(
            "probed.email_roundtrip.delivery.duration",
            unit="s",
            help="From the relay's word that it has taken the mail until it was seen.",
        ),
        Measure("probed.email_roundtrip.junk", help="1 where the mail was found among the junk."),
        Measure(
            "probed.email_roundtrip.removed",
            unit="{message}",
            kind=MetricType.COUNTER,
            help="Old mails of this check that were removed.",
        ),
    )

    @model_validator(mode="after")
    def _no_secret_in_clear(self) -> Self:
        if self.relay.tls == "none" and self._auth is not None:
            raise ValueError("the relay has no TLS: to log in there would show the secret")
        return self

    @property
    def _auth(self) -> Auth | None:
        return self.relay.auth_or(self.auth)

    @property
    def target(self) -> str:
        return f"{self.relay.address} to {self.imap.address}"

    @property
    def host(self) -> str:
        return self.relay.address.host

    async def probe(self, run: Run) -> None:
        holds = Holds(run.memory, run.clock.time)
        family = family_of(self.sender.text, self.rcpt.text, str(self.relay.address))
        token = f"{family}-{run.trace_id}"
        async with self._mailbox(run, holds) as imap:
            await self._submit(run, holds, token)
            accepted = run.clock.monotonic()
            with run.prefixed("imap/"):
                folders = Folders(run, imap, self.imap.inbox, self.imap.junk)
                folder, uid = await self._find(run, folders, token)
                took = run.clock.monotonic() - accepted
                await self._judge(run, imap, folder, uid, took)
                await self._tidy(run, imap, folders, family)

    # --- the mailbox

    @asynccontextmanager
    async def _mailbox(self, run: Run, holds: Holds) -> AsyncIterator[Imap]:
        """Before anything is sent: what cannot be looked for need not be."""
        async with AsyncExitStack() as stack:
            with run.prefixed("imap/"):
                with _within(run, self.limits.connect):
                    stream = await stack.enter_async_context(run.connect(self.imap.address))
                imap = await self._open(run, stream, holds)
            yield imap

    async def _open(self, run: Run, stream: Stream, holds: Holds) -> Imap:
        mailbox = self.imap
        if mailbox.tls == "implicit":
            await self._encrypt(run, stream)
        imap = Imap(stream)
        with _step(run, "banner", self.limits.banner):
            try:
                await imap.greeting()
            except Refused as refused:
                run.fail(RoundtripReason.IMAP_REFUSED, evidence=_said(run, refused))
        if mailbox.tls == "starttls":
            with _step(run, "starttls", self.limits.command):
                await _starttls(run, imap)
            await self._encrypt(run, stream)
        with _step(run, "auth", self.limits.auth):
            async with holds.turn(f"imap {mailbox.host}"):
                await self._log_in(run, imap, holds)
        return imap

    async def _encrypt(self, run: Run, stream: Stream) -> None:
        async def upgrade(again: Stream) -> None:
            imap = Imap(again)
            try:
                await imap.greeting()
                await imap.do(b"STARTTLS")
            except Refused:
                raise ProbeError(RoundtripReason.IMAP_STARTTLS) from None

        with _within(run, self.limits.tls):
            starts = self.imap.tls == "starttls"
            await start_tls(run, stream, self.tls, self.imap.host, upgrade if starts else None)
        judge_certificate(run, self.certificate)

    async def _log_in(self, run: Run, imap: Imap, holds: Holds) -> None:
        mailbox, place = self.imap, f"imap {self.imap.host}"
        until = holds.until(place, mailbox.login)
        if until is not None:
            run.fail(
                RoundtripReason.IMAP_AUTH,
                f"The mailbox's server refused our login before: it is not tried again until "
                f"{utc(until)}, unless it is changed.",
                evidence={"held": True, "retry_at": utc(until)},
            )
        try:
            await imap.log_in(
                mailbox.mechanism, mailbox.username.text, mailbox.secret.get_secret_value()
            )
        except Refused as refused:
            until = holds.refused(place, mailbox.login)
            # Not what it said: that may hold what we have said.
            code = "[UNAVAILABLE]" if b"[UNAVAILABLE]" in refused.text.upper() else "NO"
            run.fail(
                RoundtripReason.IMAP_AUTH,
                evidence={"said": code, "held": False, "retry_at": utc(until)},
            )
        holds.accepted(place, mailbox.login)

    # --- the mail

    async def _submit(self, run: Run, holds: Holds, token: str) -> None:
        dialogue = dialogue_with(
            run,
            self.relay,
            Manner(self.helo, self.limits, Slow()),
            tls=self.tls,
            certificate=self.certificate,
            auth=self._auth,
            holds=holds,
            then=STEPS,
        )
        mail = canary(self.sender.text, self.rcpt.text, token, run.clock.time())
        async with opened(run, dialogue):
            client = dialogue.client
            with dialogue.step("mail"):
                reply = await dialogue.reply_to(lambda: client.mail(self.sender.text))
                _judge_reply(dialogue, reply, MAIL_CODES)
            with dialogue.step("rcpt"):
                reply = await dialogue.reply_to(lambda: client.rcpt(self.rcpt.text))
                _judge_reply(dialogue, reply, RCPT_CODES)
            with dialogue.step("data"):
                _judge_reply(dialogue, await dialogue.send_mail(mail), (250,))

    async def _find(self, run: Run, folders: Folders, token: str) -> tuple[str, int]:  # noqa: RET503  # it fails
        """The folder in which it was found, and its UID."""
        patience = min(self.delivery.failed, run.remaining(0.1))
        with run.phase("search"):
            with anyio.move_on_after(patience):
                try:
                    return await folders.find(token, self.poll)
                except Refused as refused:
                    run.fail(RoundtripReason.IMAP_COMMAND, evidence=_said(run, refused))
            run.fail(
                RoundtripReason.NOT_ARRIVED,
                f"The mail did not arrive within {format_duration(round(patience, 1))}.",
                evidence={"folders": [self.imap.inbox, *self.imap.junk]},
            )

    async def _judge(self, run: Run, imap: Imap, folder: str, uid: int, took: float) -> None:
        run.measure("probed.email_roundtrip.delivery.duration", took)
        junk = folder != self.imap.inbox
        run.measure("probed.email_roundtrip.junk", float(junk))
        if junk:
            run.degraded(RoundtripReason.JUNK, evidence={"folder": folder})
        if self.delivery.degraded is not None and took > self.delivery.degraded:
            bound = format_duration(self.delivery.degraded)
            run.degraded(
                RoundtripReason.SLOW, f"The mail took {took:.1f} s to arrive, more than {bound}."
            )
        if self.results is None:
            return
        with _step(run, "fetch", self.limits.command):
            try:
                headers = await imap.headers([uid], ("Authentication-Results",))
            except Refused as refused:
                run.degraded(RoundtripReason.IMAP_COMMAND, evidence=_said(run, refused))
                return
        _judge_results(
            run, self.results, read_results(headers.get(uid, b""), self.results.authserv_id)
        )

    async def _tidy(self, run: Run, imap: Imap, folders: Folders, family: str) -> None:
        """Remove the mails of this check that are older than a day."""
        with _step(run, "tidy", self.limits.command):
            try:
                only_these = "UIDPLUS" in await imap.capabilities()
                await folders.remove_old(family, only_these=only_these)
            except Refused as refused:
                run.degraded(RoundtripReason.IMAP_COMMAND, evidence=_said(run, refused))
        run.measure("probed.email_roundtrip.removed", folders.removed)


async def _starttls(run: Run, imap: Imap) -> None:
    try:
        await imap.do(b"STARTTLS")
    except Refused as refused:
        run.fail(RoundtripReason.IMAP_STARTTLS, evidence=_said(run, refused))
    if imap.ahead:
        run.fail(SmtpReason.STARTTLS_INJECTION)


def _judge_reply(dialogue: Dialogue, reply: Reply, codes: tuple[int, ...]) -> None:
    dialogue.expect(reply, *codes)
    if reply.code >= 500:
        dialogue.fail(RoundtripReason.MAIL_REJECTED, reply)
    if reply.code >= 400:
        dialogue.fail(RoundtripReason.MAIL_DEFERRED, reply, temporary=True)


def _judge_results(run: Run, wanted: Results, found: dict[str, str] | None) -> None:
    if found is None:
        run.degraded(RoundtripReason.NO_RESULTS, evidence={"authserv_id": wanted.authserv_id})
        return
    for method in METHODS:
        run.fact(f"probed.email_roundtrip.{method}", found.get(method))
        expected: tuple[str, ...] | None = getattr(wanted, method)
        result = found.get(method, "none")
        if expected is not None and result not in expected:
            run.find(
                Outcome.FAILED,
                RoundtripReason.RESULT,
                f"The receiver says {method}={result}; {', '.join(expected)} is expected.",
                evidence={**found, "authserv_id": wanted.authserv_id},
            )


def _said(run: Run, refused: Refused) -> dict[str, Any]:
    return {"said": run.clean(without_people(refused.text.decode("utf-8", "replace")), 256)}


@contextmanager
def _step(run: Run, name: str, limit: float) -> Iterator[None]:
    with run.phase(name), _within(run, limit, name):
        yield


def _within(run: Run, seconds: float, name: str | None = None) -> AbstractContextManager[None]:
    return within(run, min(seconds, run.remaining(0.07)), name)
