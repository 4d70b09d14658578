"""One dialogue with one server, from the connection to QUIT."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio

from probed.fields import HostPort, format_duration
from probed.mail.hold import Holds
from probed.mail.sasl import Mechanism, client_of
from probed.mail.smtp.authenticate import authenticate
from probed.mail.smtp.exchange import Caller, Exchange, Limits, Slow, SmtpError
from probed.mail.smtp.protocol import BoundedProtocol, Broken
from probed.mail.smtp.troubles import Trouble
from probed.net import Stream, TlsOptions
from probed.reasons import ProbeError
from probed.record import utc

PARTING = 1.0
"""Seconds that the server may take to say goodbye."""
_MASKED = re.compile(r"x{6,}[a-z]?\Z")
"""A keyword as some firewalls mask it."""


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to talk to. `host` is the name that is verified, unless `server_name` is another;
    `min_version` is the oldest TLS version that is no trouble, such as `1.2`.
    """

    address: HostPort
    host: str
    mode: Literal["starttls", "implicit", "none"]
    tls: TlsOptions
    server_name: str | None = None
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in. `key` tells this login from others."""

    mechanism: Mechanism
    username: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def key(self) -> str:
        return f"{self.mechanism} {self.username} {self.secret}"


@dataclass(frozen=True, slots=True)
class Manner:
    """How to talk: the name for EHLO, times in seconds, and extensions that must be offered."""

    helo: str
    limits: Limits
    slow: Slow
    extensions: tuple[str, ...] = ()


class Dialogue(Exchange):
    """Talks to a server for a caller, and writes down there what comes of it.

    The phases that will be are those of `steps`, with `then` before `quit`; those that are not come
    to are skipped. `hindered` says that the server could not let us in for now, so that no more can
    be done there.
    """

    def __init__(
        self,
        caller: Caller,
        server: Server,
        manner: Manner,
        *,
        login: Login | None = None,
        holds: Holds,
        then: tuple[str, ...] = (),
    ) -> None:
        super().__init__(caller, server.address, manner.helo, manner.limits, manner.slow)
        self.server = server
        self.banner_began: float | None = None
        self.hindered = False
        self.secure = False
        self.steps = _planned(server, then, with_login=login is not None)
        self._manner = manner
        self._login = login
        self._holds = holds

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connect, greet, encrypt and log in, as the server asks for; at the end, say goodbye."""
        try:
            async with AsyncExitStack() as stack:
                with self.limited(self._limits.connect):
                    stream = await stack.enter_async_context(self._caller.connect(self.address))
                self.judge_pace("connect", self._taken("resolve", "connect"))
                self.attach(stream)
                try:
                    await self._begin(stream)
                    yield
                except (ProbeError, SmtpError):
                    await self._leave(wait=False)
                    raise
                await self._leave(wait=True)
        except anyio.get_cancelled_exc_class():
            self.late = True
            raise
        finally:
            self._skip_rest()
            self.write_notes()

    async def _begin(self, stream: Stream) -> None:
        mode = self.server.mode
        if mode == "implicit":
            await self._encrypt(stream)
        await self._greet()
        await self._ehlo("ehlo")
        if mode == "starttls":
            await self._starttls()
            await self._encrypt(stream)
            await self._ehlo("ehlo_tls")
        self._judge_extensions()
        if self._login is not None:
            await self._log_in(self._login)

    async def _greet(self) -> None:
        with self.step("banner", self._limits.banner) as took:
            try:
                reply = await self.reply_to(self.protocol.read_response)
            finally:
                if self.protocol.first_byte is not None:
                    self.banner_began = self.protocol.first_byte - self._start("banner")
            if reply.code >= 500:
                self.fail_trouble(Trouble.BANNER_REJECTED, reply)
            if reply.code >= 400:
                self.fail_trouble(Trouble.SERVICE_UNAVAILABLE, reply, temporary=True)
            self.expect(reply, 220)
        slow = self._slow.banner
        if slow is not None and took() > slow:
            text = f"The relay took {took():.2f} s to greet, more than {format_duration(slow)}."
            evidence = self.evidence(self.protocol.reply) | {"first_byte_s": self.banner_began}
            self.notice_trouble(Trouble.BANNER_SLOW, text, evidence=evidence)

    async def _ehlo(self, name: str) -> None:
        with self.step(name):
            reply = await self.reply_to(self.client.ehlo)
            self.expect(reply, 250)
            if reply.code == 250:
                return
            first = reply
            if reply.code >= 500:
                reply = await self.reply_to(self.client.helo)
                self.expect(reply, 250)
            if reply.code != 250:
                self.fail_trouble(Trouble.EHLO_REJECTED, first)
            self.notice_trouble(Trouble.NO_ESMTP, evidence=self.evidence(first))

    async def _starttls(self) -> None:
        with self.step("starttls"):
            offered = self.client.esmtp_extensions
            if "starttls" not in offered:
                seen = {**self.evidence(), "offered": " ".join(sorted(offered))}
                stripped = any(_MASKED.match(keyword) for keyword in offered)
                self.end(
                    Trouble.STARTTLS_STRIPPED if stripped else Trouble.STARTTLS_NOT_OFFERED,
                    evidence=seen,
                )
            reply = await self.reply_to(lambda: self.client.execute_command(b"STARTTLS"))
            self.expect(reply, 220)
            if reply.code != 220:
                temporary = reply.code < 500
                self.fail_trouble(Trouble.STARTTLS_REFUSED, reply, temporary=temporary)
            if self.protocol.ahead:
                injected = {**self.evidence(), "injected": self.show(self.protocol.ahead)}
                self.end(Trouble.STARTTLS_INJECTION, evidence=injected)

    async def _encrypt(self, stream: Stream) -> None:
        self.phase = "tls"
        server, caller = self.server, self._caller
        upgrade = self._upgrade if server.mode == "starttls" else None
        before = len(self.recorder.phases)
        with self.limited(self._limits.tls):
            await caller.network.start_tls(
                self.recorder, stream, server.tls, server.server_name or server.host, upgrade
            )
        self.judge_pace("tls", sum(p.duration for p in self.recorder.phases[before:]))
        self.secure = True
        version = str(self.recorder.facts.get("tls.protocol.version", ""))
        if version < server.min_version:
            self.notice_trouble(
                Trouble.TLS_OLD_VERSION,
                f"The relay speaks TLS {version}; {server.min_version} is wanted.",
                evidence=self.evidence(),
            )
        caller.secured()

    async def _upgrade(self, stream: Stream) -> None:
        """Say again, on another connection, what comes before TLS."""
        again = BoundedProtocol(stream, self.recorder.clock.monotonic)
        try:
            await again.read_response()
            await again.execute_command(b"EHLO", self._manner.helo.encode())
            await again.execute_command(b"STARTTLS")
        except Broken as broken:
            reason = self._reasons(broken.trouble or Trouble.PROTOCOL)
            raise ProbeError(reason) from None

    def _judge_extensions(self) -> None:
        offered = self.client.esmtp_extensions
        self.recorder.fact("smtp.extensions", self.recorder.clean(" ".join(sorted(offered))))
        missing = [name for name in self._manner.extensions if name not in offered]
        if missing:
            named = ", ".join(name.upper() for name in missing)
            self.notice_trouble(
                Trouble.EXT_MISSING,
                f"The relay does not offer {named}.",
                evidence={**self.evidence(), "offered": " ".join(sorted(offered))},
            )

    async def _log_in(self, login: Login) -> None:
        with self.step("auth", self._limits.auth):
            if login.mechanism not in self.client.server_auth_methods:
                offered = " ".join(self.client.server_auth_methods)
                self.end(
                    Trouble.AUTH_NOT_OFFERED,
                    f"The relay does not offer {login.mechanism.upper()}.",
                    evidence={**self.evidence(), "offered": offered or "none"},
                )
            async with self._holds.turn(self.server.host):
                await self._authenticate(login)

    async def _authenticate(self, login: Login) -> None:
        self._respect_hold(login)
        host = self.server.host
        client = client_of(login.mechanism, login.username, login.secret)
        reply = await authenticate(self, login.mechanism, client)
        if reply.code >= 500:
            until = self._holds.refused(host, login.key)
            more = {"held": False, "retry_at": utc(until)}
            self.fail_trouble(Trouble.AUTH_REJECTED, reply, **more)
        if reply.code >= 400:
            evidence = self.evidence(reply) | {"temporary": True}
            self.notice_trouble(Trouble.AUTH_TEMPORARY, evidence=evidence)
            self.hindered = True
            return
        self._holds.accepted(host, login.key)

    def _respect_hold(self, login: Login) -> None:
        until = self._holds.until(self.server.host, login.key)
        if until is not None:
            self.end(
                Trouble.AUTH_REJECTED,
                "The relay refused our user name and secret before: they are not tried again until "
                f"{utc(until)}, unless they are changed.",
                evidence={**self.evidence(), "held": True, "retry_at": utc(until)},
            )

    async def _leave(self, *, wait: bool) -> None:
        """QUIT, best effort. After a failure nobody waits for what is said to that."""
        if self.protocol.waiting or not self.protocol.greeted or self.phase == "tls":
            return
        self.phase = "quit"
        with self.recorder.phase("quit"), anyio.move_on_after(PARTING) as parting:
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

    def _closed_after_tls(self) -> bool:
        first = "banner" if self.server.mode == "implicit" else "ehlo_tls"
        silent = self.phase == first and not self.protocol.heard
        return silent and self.secure and self.server.tls.certificate is None

    def _start(self, name: str) -> float:
        recorder = self.recorder
        return recorder.started + next(
            p.start for p in reversed(recorder.phases) if p.name == recorder.prefix + name
        )

    def _taken(self, *names: str) -> float:
        wanted = {self.recorder.prefix + name for name in names}
        return sum(phase.duration for phase in self.recorder.phases if phase.name in wanted)

    def _skip_rest(self) -> None:
        recorder = self.recorder
        begun = [phase.name for phase in recorder.own_phases]
        for name in self.steps:
            if recorder.prefix + name in begun:
                begun.remove(recorder.prefix + name)
            else:
                recorder.skip(name)


def _planned(server: Server, then: tuple[str, ...], *, with_login: bool) -> tuple[str, ...]:
    steps = ["resolve", "connect"]
    steps += ["tls"] if server.mode == "implicit" else []
    steps += ["banner", "ehlo"]
    steps += ["starttls", "tls", "ehlo_tls"] if server.mode == "starttls" else []
    steps += ["auth"] if with_login else []
    return (*steps, *then, "quit")
