"""One conversation with one relay, phase by phase."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import anyio
from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException

from probed import (
    CertificateAge,
    HostPort,
    ProbeError,
    Reason,
    Reasons,
    Run,
    Stream,
    TimedOut,
    format_duration,
    judge_certificate,
    start_tls,
    utc,
    within,
)
from probes.smtp.hold import Holds
from probes.smtp.protocol import Broken, ProbeProtocol
from probes.smtp.reasons import SmtpReason
from probes.smtp.reply import TEXT_LIMIT, Reply, without_people, without_secrets
from probes.smtp.settings import Auth, Extension, Limits, Relay, RelayTls, Slow

PARTING = 1.0
"""Seconds that the relay may take to say goodbye."""
NOTES = 8
_MASKED = re.compile(r"x{6,}[a-z]?\Z")
"""What some firewalls make of a keyword that they do not want to be understood."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to talk to any relay of a group."""

    helo: str
    tls: RelayTls = field(default_factory=RelayTls)
    certificate: CertificateAge = field(default_factory=CertificateAge)
    limits: Limits = field(default_factory=Limits)
    slow: Slow = field(default_factory=Slow)
    extensions: tuple[Extension, ...] = ()


class Dialogue:
    """Talks to a relay as `run`, and writes down there what comes of it.

    `steps` are the phases that will be; those that are not come to are skipped. `address` and
    `first` are for a relay of which each address is asked.
    """

    def __init__(
        self,
        run: Run,
        relay: Relay,
        manner: Manner,
        *,
        auth: Auth | None = None,
        holds: Holds,
        then: tuple[str, ...] = (),
        address: HostPort | None = None,
    ) -> None:
        self.run = run
        self.relay = relay
        self.manner = manner
        self.auth = auth
        self.holds = holds
        self.address = address or relay.address
        self.client = SMTP(local_hostname=manner.helo, timeout=None, use_tls=False, start_tls=False)
        self.protocol: ProbeProtocol
        self.replies: list[tuple[str, int]] = []
        self.banner_began: float | None = None
        self.secure = False
        self.hindered = False
        """Whether the relay could not let us in for now, so that no more can be asked of it."""
        self.late = False
        self.phase = "connect"
        self._notes: list[str] = []
        self.steps = self._planned(then)

    def _planned(self, then: tuple[str, ...]) -> tuple[str, ...]:
        mode = self.relay.tls
        steps = ["resolve", "connect"]
        steps += ["tls"] if mode == "implicit" else []
        steps += ["banner", "ehlo"]
        steps += ["starttls", "tls", "ehlo_tls"] if mode == "starttls" else []
        steps += ["auth"] if self.auth is not None else []
        return (*steps, *then, "quit")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connect, greet, encrypt and log in, as the relay asks for; at the end, say goodbye."""
        try:
            async with AsyncExitStack() as stack:
                with self._within(self.manner.limits.connect):
                    stream = await stack.enter_async_context(self.run.connect(self.address))
                self._judge_pace("connect", self._taken("resolve", "connect"))
                self.protocol = ProbeProtocol(stream, self.run.clock.monotonic)
                self.client.protocol = self.protocol
                self.client.transport = self.protocol.transport
                try:
                    await self._begin(stream)
                    yield
                except ProbeError:
                    await self._leave(wait=False)
                    raise
                await self._leave(wait=True)
        except anyio.get_cancelled_exc_class():
            self.late = True
            raise
        finally:
            self._end()

    async def _begin(self, stream: Stream) -> None:
        mode = self.relay.tls
        if mode == "implicit":
            await self._encrypt(stream)
        await self._greet()
        await self._ehlo("ehlo")
        if mode == "starttls":
            await self._starttls()
            await self._encrypt(stream)
            await self._ehlo("ehlo_tls")
        self._extensions()
        if self.auth is not None:
            await self._log_in(self.auth)

    # --- what is said

    async def _greet(self) -> None:
        with self.step("banner", self.manner.limits.banner) as took:
            try:
                reply = await self.ask(self.protocol.read_response)
            finally:
                if self.protocol.first_byte is not None:
                    self.banner_began = self.protocol.first_byte - self._start("banner")
            if reply.code >= 500:
                self.fail(SmtpReason.BANNER_REJECTED, reply)
            if reply.code >= 400:
                self.fail(SmtpReason.SERVICE_UNAVAILABLE, reply, temporary=True)
            if reply.code != 220:
                self.fail(SmtpReason.PROTOCOL, reply)
        slow = self.manner.slow.banner
        if slow is not None and took() > slow:
            text = f"The relay took {took():.2f} s to greet, more than {format_duration(slow)}."
            evidence = self.evidence(self.protocol.reply) | {"first_byte_s": self.banner_began}
            self.run.degraded(SmtpReason.BANNER_SLOW, text, evidence=evidence)

    async def _ehlo(self, name: str) -> None:
        with self.step(name):
            reply = await self.ask(self.client.ehlo)
            if reply.code == 250:
                return
            first = reply
            if reply.code >= 500:
                reply = await self.ask(self.client.helo)
            if reply.code != 250:
                self.fail(SmtpReason.EHLO_REJECTED, first)
            self.run.degraded(SmtpReason.NO_ESMTP, evidence=self.evidence(first))

    async def _starttls(self) -> None:
        with self.step("starttls"):
            offered = self.client.esmtp_extensions
            if "starttls" not in offered:
                seen = {**self.evidence(), "offered": " ".join(sorted(offered))}
                if any(_MASKED.match(keyword) for keyword in offered):
                    self.run.fail(SmtpReason.STARTTLS_STRIPPED, evidence=seen)
                self.run.fail(SmtpReason.STARTTLS_NOT_OFFERED, evidence=seen)
            reply = await self.ask(lambda: self.client.execute_command(b"STARTTLS"))
            if reply.code != 220:
                temporary = reply.code < 500
                self.fail(SmtpReason.STARTTLS_REFUSED, reply, temporary=temporary)
            if self.protocol.ahead:
                injected = {**self.evidence(), "injected": self.show(self.protocol.ahead)}
                self.run.fail(SmtpReason.STARTTLS_INJECTION, evidence=injected)

    async def _encrypt(self, stream: Stream) -> None:
        self.phase = "tls"
        tls, host = self.tls, self.relay.host
        upgrade = self._upgrade if self.relay.tls == "starttls" else None
        before = len(self.run.phases)
        with self._within(self.manner.limits.tls):
            await start_tls(self.run, stream, tls, host, upgrade)
        self._judge_pace("tls", sum(p.duration for p in self.run.phases[before:]))
        self.secure = True
        version = str(self.run.facts.get("tls.protocol.version", ""))
        if version < tls.min_version:
            self.run.degraded(
                SmtpReason.TLS_OLD_VERSION,
                f"The relay speaks TLS {version}; {tls.min_version} is wanted.",
                evidence=self.evidence(),
            )
        judge_certificate(self.run, self.manner.certificate)

    @property
    def tls(self) -> RelayTls:
        """How its certificate is judged."""
        name = self.relay.server_name
        tls = self.manner.tls
        return tls if name is None else tls.model_copy(update={"server_name": name})

    async def _upgrade(self, stream: Stream) -> None:
        """Say again, on another connection, what comes before TLS."""
        again = ProbeProtocol(stream, self.run.clock.monotonic)
        try:
            await again.read_response()
            await again.execute_command(b"EHLO", self.manner.helo.encode())
            await again.execute_command(b"STARTTLS")
        except Broken as broken:
            raise ProbeError(broken.reason) from None

    def _extensions(self) -> None:
        offered = self.client.esmtp_extensions
        self.run.fact("smtp.extensions", self.run.clean(" ".join(sorted(offered))))
        missing = [name for name in self.manner.extensions if name not in offered]
        if missing:
            named = ", ".join(name.upper() for name in missing)
            self.run.degraded(
                SmtpReason.EXT_MISSING,
                f"The relay does not offer {named}.",
                evidence={**self.evidence(), "offered": " ".join(sorted(offered))},
            )

    async def _log_in(self, auth: Auth) -> None:
        with self.step("auth", self.manner.limits.auth):
            if auth.mechanism not in self.client.server_auth_methods:
                offered = " ".join(self.client.server_auth_methods)
                self.run.fail(
                    SmtpReason.AUTH_NOT_OFFERED,
                    f"The relay does not offer {auth.mechanism.upper()}.",
                    evidence={**self.evidence(), "offered": offered or "none"},
                )
            async with self.holds.turn(self.relay.host):
                self._held(auth)
                self.protocol.secret = True
                reply = await self.ask(lambda: self._authenticate(auth))
                self.protocol.secret = False
                if 300 <= reply.code < 400:
                    self.fail(SmtpReason.PROTOCOL, reply)
                if reply.code >= 500:
                    until = self.holds.refused(self.relay.host, auth.login)
                    more = {"held": False, "retry_at": utc(until)}
                    self.fail(SmtpReason.AUTH_REJECTED, reply, **more)
                if reply.code >= 400:
                    evidence = self.evidence(reply) | {"temporary": True}
                    self.run.degraded(SmtpReason.AUTH_TEMPORARY, evidence=evidence)
                    self.hindered = True
                    return
                self.holds.accepted(self.relay.host, auth.login)

    def _held(self, auth: Auth) -> None:
        until = self.holds.until(self.relay.host, auth.login)
        if until is not None:
            self.run.fail(
                SmtpReason.AUTH_REJECTED,
                "The relay refused our user name and secret before: they are not tried again until "
                f"{utc(until)}, unless they are changed.",
                evidence={**self.evidence(), "held": True, "retry_at": utc(until)},
            )

    async def _authenticate(self, auth: Auth) -> object:
        methods = {
            "plain": self.client.auth_plain,
            "login": self.client.auth_login,
            "cram-md5": self.client.auth_crammd5,
            "xoauth2": self.client.auth_xoauth2,
        }
        return await methods[auth.mechanism](auth.username.text, auth.secret.get_secret_value())

    async def _leave(self, *, wait: bool) -> None:
        """QUIT, best effort. After a failure nobody waits for what is said to that."""
        if self.protocol.waiting or not self.protocol.greeted or self.phase == "tls":
            return
        self.phase = "quit"
        with self.run.phase("quit"), anyio.move_on_after(PARTING) as parting:
            try:
                if not wait:
                    await self.protocol.stream.send(b"QUIT\r\n")
                    return
                await self.protocol.execute_command(b"QUIT")
            except (Broken, OSError, ProbeError) as error:
                self.note(f"QUIT: {type(error).__name__}")
            else:
                reply = self.protocol.reply
                if reply is not None and reply.code != 221:
                    self.note(f"QUIT was answered by {reply.code}")
        if parting.cancelled_caught:
            self.note("QUIT was not answered")

    # --- what comes of it

    @contextmanager
    def step(self, name: str, limit: float | None = None) -> Iterator[Callable[[], float]]:
        """A phase with a limit. What it gives says afterwards how long the phase took."""
        self.phase = name
        limit = self.manner.limits.command if limit is None else limit
        with self.run.phase(name) as phase, self._within(limit, name):
            yield lambda: phase.duration
        if name != "banner":
            self._judge_pace("auth" if name == "auth" else "command", phase.duration)

    async def ask(self, say: Callable[[], Awaitable[object]]) -> Reply:
        """The reply to what is said. Fails where it is none, and where the relay says goodbye."""
        protocol = self.protocol
        protocol.forget()
        try:
            await say()
        except SMTPException:
            pass  # the library's opinion of the reply
        except Broken as broken:
            self._broken(broken)
        except OSError:
            if self._unasked_after_tls():
                self.run.fail(SmtpReason.CLOSED_AFTER_TLS, evidence=self.evidence())
            raise
        reply = protocol.reply
        if reply is None:
            self.run.fail(SmtpReason.PROTOCOL, evidence=self.evidence())
        self.replies.append((self.phase, reply.code))
        self.run.fact("smtp.reply.code", reply.code)
        self.run.fact("smtp.reply.enhanced_status", reply.enhanced)
        self.run.fact("smtp.reply.text", self.show(reply.text))
        if reply.mixed:
            codes = ", ".join(map(str, reply.mixed))
            evidence = self.evidence(reply) | {"codes": codes}
            self.run.degraded(SmtpReason.MIXED_CODES, evidence=evidence)
        if reply.odd:
            self.note(f"the answer in {self.phase} holds what is not printable UTF-8")
        if protocol.surplus:
            evidence = self.evidence() | {"text": self.show(protocol.surplus)}
            protocol.surplus = b""
            self.run.degraded(SmtpReason.UNSOLICITED, evidence=evidence)
        if reply.code == 421:
            self.fail(SmtpReason.SERVICE_UNAVAILABLE, reply, temporary=True)
        return reply

    def _broken(self, broken: Broken) -> NoReturn:
        evidence = self.evidence() | ({"text": self.show(broken.heard)} if broken.heard else {})
        if broken.reason is Reason.CONNECT_CLOSED and self._unasked_after_tls():
            self.run.fail(SmtpReason.CLOSED_AFTER_TLS, evidence=evidence)
        self.run.fail(broken.reason, broken.message, evidence=evidence)

    def _unasked_after_tls(self) -> bool:
        """Whether the relay broke off with the first thing that it might have said over TLS."""
        first = "banner" if self.relay.tls == "implicit" else "ehlo_tls"
        silent = self.phase == first and not self.protocol.heard
        return silent and self.secure and self.manner.tls.certificate is None

    def fail(self, reason: Reasons, reply: Reply, **more: Any) -> NoReturn:
        """Fail with what the relay said."""
        said = self.show(f"{reply.code} {reply.text}")
        message = f"{reason.sentence.rstrip('.')}: {said}"
        self.run.fail(reason, message, evidence=self.evidence(reply) | more)

    def evidence(self, reply: Reply | None = None) -> dict[str, Any]:
        """Where in the conversation we are, and the reply."""
        found: dict[str, Any] = {"relay": str(self.address), "phase": self.phase}
        if reply is not None:
            found |= {"code": reply.code, "text": self.show(reply.text)}
            if reply.enhanced is not None:
                found["enhanced_status"] = reply.enhanced
        return found

    def show(self, text: str | bytes) -> str:
        """What a relay said, as it may be shown: safe, short, without people and secrets."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace").strip("\r\n").replace("\r\n", " / ")
        # All of it, which is bounded: a secret must not be cut before it is looked for.
        text = without_secrets(text, self.protocol.spoken)
        return self.run.clean(without_people(self.run.redactor.redact(text)), TEXT_LIMIT)

    @contextmanager
    def _within(self, seconds: float, name: str | None = None) -> Iterator[None]:
        # A little before the run's deadline: who is cut off there cannot say what was heard.
        seconds = min(seconds, self.run.remaining(0.07))
        try:
            with within(self.run, seconds, name):
                yield
        except TimedOut as late:
            self._too_late(late, seconds, name)

    def _too_late(self, late: TimedOut, seconds: float, name: str | None) -> NoReturn:
        self.late = True
        reason, message = late.reason, late.message
        evidence: Mapping[str, Any] = {"relay": str(self.address), "phase": late.phase}
        if name is not None and self.protocol.heard:
            evidence = {**evidence, "text": self.show(self.protocol.heard)}
            if name == "banner":
                reason = SmtpReason.BANNER_INCOMPLETE
                message = f"{reason.sentence.rstrip('.')} within {seconds:.3g} s."
        elif name == "banner":
            message += " A port that waits for TLS, or for HTTP, is silent too."
        self.run.fail(reason, message, evidence=evidence)

    def _judge_pace(self, bound: str, seconds: float) -> None:
        slow = getattr(self.manner.slow, bound)
        if slow is not None and seconds > slow:
            took = f"{seconds * 1000:.0f} ms, more than {format_duration(slow)}"
            evidence = self.evidence()
            self.run.degraded(SmtpReason.SLOW, f"{self.phase} took {took}.", evidence=evidence)

    def _start(self, name: str) -> float:
        return self.run.started + next(
            p.start for p in reversed(self.run.phases) if p.name == self.run.prefix + name
        )

    def _taken(self, *names: str) -> float:
        wanted = {self.run.prefix + name for name in names}
        return sum(phase.duration for phase in self.run.phases if phase.name in wanted)

    def note(self, text: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append(text)

    def _end(self) -> None:
        begun = [phase.name for phase in self.run.own_phases]
        for name in self.steps:
            if self.run.prefix + name in begun:
                begun.remove(self.run.prefix + name)
            else:
                self.run.skip(name)
        if self._notes:
            self.run.fact("smtp.notes", self.run.clean("; ".join(self._notes)))
