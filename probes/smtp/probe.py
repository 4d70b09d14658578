"""The smtp probe: a group of relays, each asked up to the point where mail would be handed over."""

from __future__ import annotations

from functools import cached_property, partial
from ipaddress import ip_address
from typing import Annotated, Literal, Self

import anyio
from pydantic import Field, field_validator, model_validator

from probed import (
    AddressChoice,
    CertificateAge,
    HostPort,
    Measure,
    MetricType,
    Probe,
    Run,
    by_family,
)
from probed.mail.hold import Holds
from probed.mail.smtp import Dialogue, Manner
from probes.smtp import group
from probes.smtp.authorised import ask_spf
from probes.smtp.conversation import dialogue_with, opened
from probes.smtp.envelope import STEPS, try_envelope
from probes.smtp.reasons import SmtpReason
from probes.smtp.settings import (
    Auth,
    Envelope,
    Extension,
    Helo,
    Limits,
    Relay,
    RelayTls,
    Slow,
    Spf,
)

ADDRESSES = 8
"""Addresses of one relay that are asked."""
_PHASES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class SmtpProbe(Probe):
    """Talk to mail relays up to the point where a mail would be handed over, and say which of them
    can be used now.
    """

    kind = "smtp"
    example = """\
checks:
  - name: mail-out
    probe: smtp
    relays:
      - {name: primary, host: smtp.example.com, port: 587, tls: starttls}
      - {name: backup, host: smtp2.example.net, port: 465, tls: implicit}
    helo: probe.example.com
    auth: {mechanism: plain, username: mailer, secret: {env: SMTP_PASSWORD}}
    envelope: {from: probe@example.com, rcpt: canary@example.com}
    require_extensions: [size]
    interval: 1m
"""
    reasons = SmtpReason

    relays: Annotated[tuple[Relay, ...], Field(min_length=1, max_length=5)]
    """The relays, in the order in which they are preferred: the first is the primary."""
    helo: Helo
    """The name that we say EHLO with, such as `probe.example.com`."""
    tls: RelayTls = RelayTls()
    """How certificates are judged, and which one is shown to relays that ask for ours."""
    certificate: CertificateAge = CertificateAge()
    """How long certificates must still be good for."""
    auth: Auth | None = None
    """How to log in at each relay that has no `auth` of its own."""
    envelope: Envelope | None = None
    """Whom to name as sender and recipient; without it, no mail is begun."""
    spf: Spf | None = None
    """Ask whether SPF of the sender's domain authorises the backups; `spf: {}` for that of
    `envelope.from`.
    """
    require_extensions: Annotated[tuple[Extension, ...], Field(max_length=20)] = ()
    """Extensions that must be offered, such as `size`; one that is missing is `degraded`."""
    family: AddressChoice = "any"
    """Over which addresses: `any` that connects, `ipv4`, `ipv6`, or `both`, which must both work."""
    addresses: Literal["first", "all"] = "first"
    """`all` asks each address of a relay's name, at most 8; login and envelope only by the first."""
    limits: Limits = Limits()
    """How long each step may take."""
    slow: Slow = Slow()
    """How long each step may take without being `degraded`."""

    measures = (
        Measure(
            "probed.smtp.phase.duration",
            unit="s",
            kind=MetricType.HISTOGRAM,
            help="Length of each phase of a conversation; of those skipped, that they were.",
            attributes=("smtp.relay", "smtp.phase", "probed.smtp.outcome"),
            buckets=_PHASES,
            series=300,
        ),
        Measure(
            "probed.smtp.banner.first_byte",
            unit="s",
            help="Time from the connection to the first byte of the greeting.",
            attributes=("smtp.relay",),
        ),
        Measure(
            "probed.smtp.certificate.not_after",
            unit="s",
            help="End of validity of the relay's certificate, seconds since the epoch.",
            attributes=("smtp.relay",),
        ),
        Measure(
            "probed.smtp.relay.usable",
            help="1 where mail could be handed over to the relay now, else 0.",
            attributes=("smtp.relay",),
        ),
        Measure(
            "probed.smtp.replies",
            unit="{reply}",
            kind=MetricType.COUNTER,
            help="Replies by phase and class of their code.",
            attributes=("smtp.relay", "smtp.phase", "smtp.reply.class"),
            series=250,
        ),
    )

    @property
    def target(self) -> str:
        return ", ".join(str(relay.address) for relay in self.relays)

    @property
    def host(self) -> str:
        return self.relays[0].address.host

    @field_validator("relays")
    @classmethod
    def _in_order(cls, relays: tuple[Relay, ...]) -> tuple[Relay, ...]:
        if len({relay.name for relay in relays}) < len(relays):
            raise ValueError("two relays have the same name")
        if relays[0].role == "backup" or any(r.role == "primary" for r in relays[1:]):
            raise ValueError("write the primary first: the relays stand in the order of preference")
        return relays

    @model_validator(mode="after")
    def _has_domain(self) -> Self:
        if self.spf is not None and self.spf.domain is None and self.envelope is None:
            raise ValueError("write the domain under spf: there is no envelope to take it from")
        return self

    @model_validator(mode="after")
    def _no_secret_in_clear(self) -> Self:
        for relay in self.relays:
            if relay.tls == "none" and relay.auth_or(self.auth) is not None:
                raise ValueError(
                    f"the relay {relay.name} has no TLS: to log in there would show the secret; "
                    "write tls: starttls, or auth: none for it"
                )
        return self

    @cached_property
    def _manner(self) -> Manner:
        return Manner(self.helo, self.limits, self.slow, self.require_extensions)

    async def probe(self, run: Run) -> None:
        holds = Holds(run.memory, run.clock.time)
        alone = len(self.relays) == 1
        members = [
            group.Member(relay, run.part("" if alone else relay.name)) for relay in self.relays
        ]
        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(self._try_relay, member, holds, member is not members[0])
        for member in members:
            member.part.measure(
                "probed.smtp.relay.usable",
                float(member.usable),
                {"smtp.relay": member.relay.name},
            )
        group.judge(run, members)

    async def _try_relay(self, member: group.Member, holds: Holds, backup: bool) -> None:
        await member.part.run_part(partial(self._by_family, member.relay, holds))
        peer = str(member.part.facts.get("network.peer.address", ""))
        addresses = member.relay.sends_from or ((peer,) if peer else ())
        if self.spf is not None and backup and member.usable and addresses:
            domain = self.spf.domain or (self.envelope.sender.domain if self.envelope else "")
            helo = member.relay.address.host
            member.spf = await ask_spf(member.part, domain, addresses, helo, self.spf.server)

    async def _by_family(self, relay: Relay, holds: Holds, part: Run) -> None:
        await by_family(part, self.family, partial(self._try_addresses, relay, holds))

    async def _try_addresses(self, relay: Relay, holds: Holds, run: Run) -> None:
        host = relay.address.host
        if self.addresses == "first" or _is_address(host):
            await self._converse(relay, holds, run)
            return
        with run.phase("resolve"):
            found = await run.network.resolver.addresses(host, run.family)
        parts = {address: run.part(address) for address in found[:ADDRESSES]}
        async with anyio.create_task_group() as tasks:
            for address, part in parts.items():
                at = HostPort(address, relay.address.port)
                first = address == found[0]
                converse = partial(self._converse, relay, holds, at=at, first=first)
                tasks.start_soon(part.run_part, converse)
        group.join_addresses(run, parts)

    async def _converse(
        self,
        relay: Relay,
        holds: Holds,
        run: Run,
        *,
        at: HostPort | None = None,
        first: bool = True,
    ) -> None:
        envelope = self.envelope if first else None
        dialogue = dialogue_with(
            run,
            relay,
            self._manner,
            tls=self.tls,
            certificate=self.certificate,
            auth=relay.auth_or(self.auth) if first else None,
            holds=holds,
            then=() if envelope is None else STEPS,
            address=at,
        )
        try:
            async with opened(run, dialogue):
                if envelope is not None and not dialogue.hindered:
                    await try_envelope(dialogue, envelope)
        finally:
            _measure(run, relay, dialogue)


def _measure(run: Run, relay: Relay, dialogue: Dialogue) -> None:
    named = {"smtp.relay": relay.name}
    for phase in run.own_phases:
        failed = "timeout" if dialogue.late else "error"
        outcome = "skipped" if phase.skipped else failed if phase.failed else "ok"
        attributes = named | {
            "smtp.phase": phase.name.rpartition("/")[2],
            "probed.smtp.outcome": outcome,
        }
        run.measure("probed.smtp.phase.duration", phase.duration, attributes)
    for step, code in dialogue.replies:
        attributes = named | {"smtp.phase": step, "smtp.reply.class": f"{code // 100}xx"}
        run.measure("probed.smtp.replies", 1, attributes)
    if dialogue.banner_began is not None:
        run.measure("probed.smtp.banner.first_byte", dialogue.banner_began, named)
    if run.certificate is not None:
        run.measure("probed.smtp.certificate.not_after", run.certificate.not_after, named)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
