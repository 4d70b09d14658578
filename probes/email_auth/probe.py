"""The email_auth probe: the DNS records that a domain publishes for its mail, judged as receivers do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from typing import Annotated, TypeAlias

import anyio
from anyio.lowlevel import checkpoint
from pydantic import Field, field_validator

from probed import Outcome, Probe, Run, Vantage
from probed.mail import TempFail
from probes.email_auth import dkim, dmarc, drift, extras, spf
from probes.email_auth.measures import MEASURES, measure_queries
from probes.email_auth.reasons import EmailAuthReason as Why
from probes.email_auth.settings import (
    Dkim,
    Dmarc,
    Domain,
    Extras,
    NameServer,
    Server,
    Spf,
    at_an_address,
    unique,
)
from probes.email_auth.verdicts import AuthCheck, AuthPart, AuthParts, tell, tell_errors
from probes.email_auth.zone import own_servers

Judge: TypeAlias = Callable[[AuthPart, Vantage], Awaitable[None]]
Found: TypeAlias = dict[AuthCheck, AuthParts]
VANTAGES = 5


class EmailAuthProbe(Probe):
    """Look up SPF, DKIM and DMARC of a domain as receivers do, through each resolver, and judge what
    they come to: for each host that sends, for strangers, and for our own mail.
    """

    kind = "email_auth"
    example = """\
checks:
  - name: mail-auth
    probe: email_auth
    domain: example.com
    resolvers:
      - {name: internal, address: 10.0.0.53}
      - {name: public, address: "192.0.2.53:53"}
    authoritative: true
    spf:
      senders:
        - {name: primary, ip: 198.51.100.25}
        - {name: former, ip: 203.0.113.9, expect: [fail, softfail]}
    dkim: {selectors: [{selector: s1}, {selector: s0, expect: revoked}]}
    dmarc: {min_policy: quarantine}
    interval: 5m
    timeout: 30s
"""
    domain: Domain
    """The domain in `From:`."""
    resolvers: Annotated[tuple[NameServer, ...], Field(max_length=VANTAGES)] = ()
    """Resolvers to look up through; without any, those of the system, each by itself."""
    authoritative: bool | Annotated[tuple[Server, ...], Field(min_length=1, max_length=8)] = False
    """Ask the zone's own servers too, or these, and compare."""
    quorum: Annotated[int, Field(ge=1, le=VANTAGES)] = 1
    """How many of the resolvers must answer."""
    spf: Spf | None = Spf()
    """Requirements for SPF; null switches them off."""
    dkim: Dkim | None = Dkim()
    """Requirements for DKIM; null switches them off."""
    dmarc: Dmarc | None = Dmarc()
    """Requirements for DMARC; null switches them off."""
    extras: Extras = Extras()
    """Other records to judge."""

    measures = MEASURES
    reasons = Why

    @field_validator("resolvers")
    @classmethod
    def _told_apart(cls, resolvers: tuple[NameServer, ...]) -> tuple[NameServer, ...]:
        return unique(resolvers, [resolver.name for resolver in resolvers])

    @field_validator("authoritative")
    @classmethod
    def _literal(cls, given: bool | tuple[Server, ...]) -> bool | tuple[Server, ...]:
        return given if isinstance(given, bool) else tuple(map(at_an_address, given))

    @property
    def target(self) -> str:
        return self.domain

    @property
    def host(self) -> str:
        return self.domain

    @cached_property
    def _envelope(self) -> str:
        return (self.spf and self.spf.envelope_domain) or self.domain

    @cached_property
    def _signing(self) -> str:
        return (self.dkim and self.dkim.d) or self.domain

    async def probe(self, run: Run) -> None:
        run.fact("dns.question.name", self.domain)
        ends = anyio.current_time() + run.remaining(0.1)
        vantages = self._vantages(run)
        with run.phase("resolver_check"):
            up = await self._answering(run, vantages, ends)
        found = await self._judge(run, up, ends, self._checks()) if up else {}
        if up:
            found |= await self._judge(run, up, ends, self._alignment(found))
        broken = await self._tell(run, found)
        authoritative: list[Vantage] = []
        if up:
            with run.phase("drift"):
                authoritative = await self._drift(run, up, ends, broken=broken)
        await checkpoint()
        measure_queries(run, [*vantages, *authoritative])

    def _vantages(self, run: Run) -> list[Vantage]:
        if self.resolvers:
            return [
                run.network.vantage(one.name, [(one.address.host, one.address.port)])
                for one in self.resolvers
            ]
        servers = dict.fromkeys(run.network.resolver.name_servers())
        return [
            run.network.vantage(host if port == 53 else f"{host}:{port}", [(host, port)])
            for host, port in servers
        ][:VANTAGES]

    async def _answering(self, run: Run, vantages: list[Vantage], ends: float) -> list[Vantage]:
        """Those that answer at all; a finding for those that do not."""
        silent: dict[str, str] = {}

        async def query_soa(vantage: Vantage) -> None:
            silent[vantage.name] = "timeout"
            with anyio.CancelScope(deadline=ends):
                answer = await vantage.query(self.domain, "SOA")
                if not answer.temporary:
                    del silent[vantage.name]
                else:
                    silent[vantage.name] = str(answer.reason)

        async with anyio.create_task_group() as tasks:
            for vantage in vantages:
                tasks.start_soon(query_soa, vantage)
        up = [vantage for vantage in vantages if vantage.name not in silent]
        if len(up) < max(1, self.quorum):
            who = f"{len(up)} of {len(vantages)} resolvers answer"
            text = f"{who}, {self.quorum} must: that says nothing of the records."
            run.unknown(Why.DNS_UNAVAILABLE, text, evidence=silent)
        elif silent:
            text = f"The resolver {', '.join(sorted(silent))} does not answer, where others do."
            run.degraded(Why.DNS_RESOLVER_ERROR, text, evidence=silent)
        return up

    def _checks(self) -> dict[AuthCheck, Judge]:
        checks: dict[AuthCheck, Judge] = {}
        if self.spf is not None:
            domain = self._envelope
            checks[AuthCheck("spf")] = partial(spf.judge_record, spf=self.spf, domain=domain)
            for sender in self.spf.senders:
                checks[AuthCheck("spf", sender.name)] = partial(
                    spf.judge_sender, sender=sender, domain=domain
                )
        for selector in self.dkim.selectors if self.dkim else ():
            checks[AuthCheck("dkim", selector.selector)] = partial(
                dkim.judge_selector, selector=selector, domain=self._signing
            )
        if self.dmarc is not None:
            for domain in (self.domain, *self.dmarc.subdomains):
                subject = "" if domain == self.domain else domain
                checks[AuthCheck("dmarc", subject)] = partial(
                    dmarc.judge_policy, dmarc=self.dmarc, domain=domain, reports=not subject
                )
        others: dict[str, Judge] = {
            "mx": partial(extras.judge_mx, domain=self.domain),
            "mta_sts": partial(extras.judge_mta_sts, domain=self.domain),
            "tls_rpt": partial(extras.judge_tls_rpt, domain=self.domain),
            "tlsa": partial(extras.judge_tlsa, domain=self.domain),
            "bimi": partial(extras.judge_bimi, domain=self.domain),
        }
        wanted = {area: judge for area, judge in others.items() if getattr(self.extras, area)}
        return checks | {AuthCheck(area): judge for area, judge in wanted.items()}

    async def _judge(
        self, run: Run, vantages: list[Vantage], ends: float, checks: dict[AuthCheck, Judge]
    ) -> Found:
        """Each check through each vantage, all at the same time."""
        found: Found = {
            check: {vantage.name: AuthPart(run.part()) for vantage in vantages} for check in checks
        }

        async def one(check: AuthCheck) -> None:
            with run.phase(check.phase):
                async with anyio.create_task_group() as tasks:
                    for vantage in vantages:
                        part = found[check][vantage.name]
                        tasks.start_soon(_within, ends, checks[check], part, vantage)

        async with anyio.create_task_group() as tasks:
            for check in checks:
                tasks.start_soon(one, check)
        return found

    def _alignment(self, found: Found) -> dict[AuthCheck, Judge]:
        """Judge what depends on the findings of the other checks."""
        checks: dict[AuthCheck, Judge] = {}
        if self.dmarc is not None and (self._sends or self._signs):
            checks[AuthCheck("alignment")] = partial(self._judge_alignment, found)
        if self.extras.require_ad:
            checks[AuthCheck("dnssec")] = _judge_authentic
        return checks

    @property
    def _sends(self) -> list[str]:
        """The senders that SPF shall pass for."""
        return [one.name for one in self.spf.senders if "pass" in one.expect] if self.spf else []

    @property
    def _signs(self) -> list[str]:
        """The selectors that there shall be a key at."""
        selectors = self.dkim.selectors if self.dkim else ()
        return [one.selector for one in selectors if one.expect == "present"]

    async def _judge_alignment(self, found: Found, part: AuthPart, vantage: Vantage) -> None:
        policy = found[AuthCheck("dmarc")][vantage.name]
        senders = {name: found[AuthCheck("spf", name)][vantage.name] for name in self._sends}
        keys = [found[AuthCheck("dkim", selector)][vantage.name] for selector in self._signs]
        for other in (policy, *senders.values(), *keys):
            if other.failure is not None:
                part.failure, part.failed_at = other.failure, other.failed_at
                return
        if policy.data is not None:
            signing = {self._signing: any(key.data for key in keys)} if keys else {}
            passing = {name: bool(one.data) for name, one in senders.items()}
            await dmarc.judge_alignment(
                part, vantage, policy.data, passing, self._envelope, signing
            )

    async def _tell(self, run: Run, found: Found) -> bool:
        """Write all that was found, letting others go on meanwhile; whether any of it is failed."""
        if self.dkim is not None and not self.dkim.selectors and found:
            run.unknown(Why.DKIM_NO_SELECTORS)
        levels: list[Outcome] = []
        told: set[str] = set()  # of the SPF record: it is the same for all senders
        for check, parts in found.items():
            is_record = check == AuthCheck("spf")
            levels.append(tell(run, check, parts, told=told if check.area == "spf" else set()))
            await checkpoint()
            if is_record:
                told = {finding.reason for finding in run.findings}
                if Why.SPF_NONE in told:
                    told.add(Why.SPF_SENDER_NONE)
        tell_errors(run, list(found.values()))
        return Outcome.FAILED in levels

    async def _drift(
        self, run: Run, up: list[Vantage], ends: float, *, broken: bool
    ) -> list[Vantage]:
        """Compare the records at all vantage points, including the zone's servers where configured."""
        part = AuthPart(run.part())
        authoritative: list[Vantage] = []
        with anyio.CancelScope(deadline=ends) as scope:
            if self.authoritative:
                try:
                    authoritative = await self._authoritative(run, part, up[0])
                except TempFail as fail:
                    part.temporary(fail)
            views = [await self._view(tracked, up, authoritative) for tracked in self._tracked]
            drift.judge(part, views, run.memory, run.clock.time(), broken=broken)
            changes = drift.remember(run, views)
            run.measure("probed.email_auth.record.changes", changes)
            for view in views:
                ttls = [seen.ttl for seen in view.resolvers.values() if seen.ttl is not None]
                if ttls:
                    label = view.tracked.label
                    run.measure("probed.dns.record.ttl", min(ttls), {"record": label})
        if scope.cancelled_caught:
            part.late()
        run.join({"": part.run})
        tell(run, AuthCheck("drift"), {"zone": AuthPart(run.part(), part.failure, part.failed_at)})
        return authoritative

    async def _authoritative(self, run: Run, part: AuthPart, through: Vantage) -> list[Vantage]:
        """The zone's own servers that answer; a note for each that does not."""
        named = () if isinstance(self.authoritative, bool) else self.authoritative
        servers = await own_servers(run, through, self.domain, named)
        authoritative: list[Vantage] = []

        async def query_soa(server: Vantage) -> None:
            answer = await server.query(self.domain, "SOA")
            if not answer.temporary:
                authoritative.append(server)
                return
            text = f"{server.name}, a server of the zone, does not answer for it."
            part.degraded(Why.DNS_RESOLVER_ERROR, text, said=answer.said, rcode=answer.rcode)

        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(query_soa, server)
        if not authoritative:
            part.run.findings.clear()
            raise TempFail(self.domain, "SOA", Why.DNS_UNAVAILABLE)
        return sorted(authoritative, key=lambda server: server.name)

    @cached_property
    def _tracked(self) -> list[drift.Tracked]:
        tracked: list[drift.Tracked] = []
        if self.spf is not None:
            expected = self.spf.expect_record
            tracked.append(drift.Tracked("spf", self._envelope, "TXT", expected, spf.same_record))
        if self.dmarc is not None:
            expected = self.dmarc.expect_record
            name = f"_dmarc.{self.domain}"
            tracked.append(drift.Tracked("dmarc", name, "TXT", expected, dmarc.same_record))
        for one in self.dkim.selectors if self.dkim else ():
            name = dkim.key_name(one.selector, self._signing)
            tracked.append(drift.Tracked(f"dkim/{one.selector}", name))
        if self.extras.mx:
            tracked.append(drift.Tracked("mx", self.domain, "MX"))
        return tracked

    async def _view(
        self, tracked: drift.Tracked, up: list[Vantage], authoritative: list[Vantage]
    ) -> drift.Views:
        seen: dict[str, drift.Seen] = {}

        async def look(vantage: Vantage) -> None:
            found = await drift.look(vantage, tracked)
            if found is not None:
                seen[vantage.name] = found

        async with anyio.create_task_group() as tasks:
            for vantage in (*up, *authoritative):
                tasks.start_soon(look, vantage)
        return drift.Views(
            tracked,
            {v.name: seen[v.name] for v in up if v.name in seen},
            {v.name: seen[v.name] for v in authoritative if v.name in seen},
        )


async def _within(ends: float, judge: Judge, part: AuthPart, vantage: Vantage) -> None:
    with anyio.CancelScope(deadline=ends) as scope:
        try:
            await judge(part, vantage)
        except TempFail as fail:
            part.temporary(fail)
    if scope.cancelled_caught:
        part.late()


async def _judge_authentic(part: AuthPart, vantage: Vantage) -> None:
    extras.judge_authentic(part, vantage.answers)
