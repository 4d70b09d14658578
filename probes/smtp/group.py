"""The relays of a group together: whether mail can go out, and by which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probed import Finding, Outcome, Rule, Run, outcome_of
from probes.smtp.authorised import SpfOutcome
from probes.smtp.reasons import SmtpReason
from probes.smtp.settings import Relay

USABLE = {Outcome.OK, Outcome.DEGRADED}


@dataclass(slots=True)
class Member:
    """A relay of the group, the part of the run that tried it, and what SPF says of it; None where
    nobody looked.
    """

    relay: Relay
    part: Run
    spf: SpfOutcome | None = None

    @property
    def usable(self) -> bool:
        """Whether mail could be handed over to it now."""
        return outcome_of(self.part.findings) in USABLE

    @property
    def failed(self) -> bool:
        return outcome_of(self.part.findings) is Outcome.FAILED

    @property
    def worst(self) -> Finding | None:
        return max(self.part.findings, key=lambda finding: finding.level.rank, default=None)

    @property
    def is_refused(self) -> bool:
        """Whether SPF refuses mail that it hands on."""
        return self.spf is not None and bool(self.spf.refused)


def join_addresses(run: Run, parts: Mapping[str, Run]) -> None:
    """Join the addresses of one relay: it can be used while one of them can."""
    good = [address for address, part in parts.items() if outcome_of(part.findings) in USABLE]
    bad = [address for address in parts if address not in good]
    if good and bad:
        run.degraded(
            SmtpReason.CONNECT_PARTIAL,
            f"{len(bad)} of {len(parts)} addresses cannot be used: {', '.join(bad)}.",
            evidence={"failed": bad, "usable": good},
        )
    run.join(parts, Rule.ALL_FAIL)
    run.facts.update(parts[good[0] if good else next(iter(parts))].facts)


def judge(run: Run, members: Sequence[Member]) -> None:
    """Join the relays, and find whether to switch to a backup. Facts of the primary stay as they are."""
    primary, *backups = members
    for member in members:
        prefix = "" if member is primary else f"smtp.{member.relay.name}."
        run.facts.update({prefix + name: value for name, value in member.part.facts.items()})
    if not backups:
        run.join({"": primary.part})
        return
    ready = sorted((one for one in backups if one.usable), key=lambda one: one.is_refused)
    switched = primary.failed and bool(ready)
    rule = Rule.SOFTENED if switched else Rule.ANY_FAILS
    if switched:
        _switch(run, primary, ready[0])
    run.join({primary.relay.name: primary.part}, rule)
    for backup in backups:
        stands = backup.usable or primary.failed
        if backup.usable and not primary.failed and backup.is_refused:
            _unauthorised(run, backup)
        if not stands:
            _unready(run, backup)
        run.join({backup.relay.name: backup.part}, rule, findings=stands)


def _switch(run: Run, primary: Member, backup: Member) -> None:
    worst = primary.worst
    name = backup.relay.name
    message = (
        f"The relay {primary.relay.name} cannot be used: switch to {name} "
        f"({backup.relay.address}), which can be used now"
    )
    refused = backup.spf if backup.is_refused else None
    if refused is not None:
        message += f"; but SPF of {refused.domain} does not authorise it: {refused.shown}"
    run.degraded(
        SmtpReason.SWITCH_SPF if refused else SmtpReason.SWITCH,
        f"{message}.",
        evidence={
            "advice": "switch_but_spf_fails" if refused else f"switch_to:{name}",
            "backup": name,
            "failed": primary.relay.name,
            "because": None if worst is None else str(worst.reason),
            **_spf(backup),
        },
    )


def _unauthorised(run: Run, backup: Member) -> None:
    assert backup.spf is not None
    run.degraded(
        SmtpReason.BACKUP_UNREADY,
        f"The backup relay {backup.relay.name} could take over, but SPF of {backup.spf.domain} does not "
        f"authorise it: {backup.spf.shown}.",
        evidence={"relay": backup.relay.name, "because": "spf", **_spf(backup)},
    )


def _spf(member: Member) -> dict[str, str]:
    return {} if member.spf is None else {"spf": member.spf.shown}


def _unready(run: Run, backup: Member) -> None:
    worst = backup.worst
    assert worst is not None
    evidence = {"relay": backup.relay.name, "because": str(worst.reason), **worst.evidence}
    run.degraded(
        SmtpReason.BACKUP_UNREADY,
        f"The backup relay {backup.relay.name} could not take over now: {worst.message}",
        evidence=evidence,
    )
