"""What the relays of a group come to together: can mail go out, and by which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from probed import MetricType, Outcome, Run
from probed.model import Finding
from probed.probe import FINDING_LIMIT
from probes.smtp.authorised import Verdict
from probes.smtp.reasons import SmtpReason
from probes.smtp.settings import Relay


@dataclass(frozen=True, slots=True)
class Asked:
    """A relay, and what came of asking it."""

    relay: Relay
    part: Run
    spf: list[Verdict] = field(default_factory=list)
    """What SPF says of it; empty where it was not asked."""

    @property
    def usable(self) -> bool:
        """Whether mail could be handed over to it now."""
        return _is_usable(self.part)

    @property
    def failed(self) -> bool:
        return any(f.level is Outcome.FAILED for f in self.part.findings)

    @property
    def worst(self) -> Finding | None:
        return max(self.part.findings, key=lambda finding: finding.level.rank, default=None)


def take_over(run: Run, asked: Sequence[Asked]) -> None:
    """What was measured and learned of each becomes the run's; facts of the first as they are."""
    for one in asked:
        run.measured += one.part.measured
        prefix = "" if one is asked[0] else f"smtp.{one.relay.name}."
        for name, value in one.part.facts.items():
            run.fact(prefix + name, value)
    seen = [one.part.certificate for one in asked if one.part.certificate is not None]
    run.certificate = min(seen, key=lambda found: found.not_after, default=None)


def join_addresses(run: Run, parts: Mapping[str, Run]) -> None:
    """What the addresses of one relay come to: it can be used while one of them can."""
    bad = [address for address, part in parts.items() if not _is_usable(part)]
    good = [address for address in parts if address not in bad]
    leading = parts[good[0]] if good else next(iter(parts.values()))
    if good and bad:
        run.degraded(
            SmtpReason.CONNECT_PARTIAL,
            f"{len(bad)} of {len(parts)} addresses cannot be used: {', '.join(bad)}.",
            evidence={"failed": bad, "usable": good},
        )
    most = Outcome.DEGRADED if good else Outcome.FAILED
    for address, part in parts.items():
        for finding in part.findings:
            _find(run, finding, address, most)
        gauges = part is leading
        run.measured += [
            m for m in part.measured if gauges or m.measure.kind is not MetricType.GAUGE
        ]
    run.facts.update(leading.facts)
    run.certificate = leading.certificate


def _is_usable(part: Run) -> bool:
    return not any(f.level in {Outcome.FAILED, Outcome.UNKNOWN} for f in part.findings)


def judge(run: Run, asked: Sequence[Asked]) -> None:
    """The findings of the group."""
    primary, *backups = asked
    if not backups:
        run.findings += primary.part.findings
        return
    ready = sorted((one for one in backups if one.usable), key=_is_refused)
    switched = primary.failed and bool(ready)
    if switched:
        _switch(run, primary, ready[0])
    _add(run, primary, Outcome.DEGRADED if switched else Outcome.FAILED)
    for backup in backups:
        if backup.usable and not primary.failed and _is_refused(backup):
            _unauthorised(run, backup)
        if backup.usable or primary.failed:
            _add(run, backup, Outcome.DEGRADED if switched else Outcome.FAILED)
        else:
            _unready(run, backup)


def _is_refused(asked: Asked) -> bool:
    return any(verdict.refused for verdict in asked.spf)


def _switch(run: Run, primary: Asked, backup: Asked) -> None:
    worst = primary.worst
    name, refused = backup.relay.name, _is_refused(backup)
    message = (
        f"The relay {primary.relay.name} cannot be used: switch to {name} "
        f"({backup.relay.address}), which can be used now"
    )
    if refused:
        verdict = backup.spf[0]
        message += f"; but SPF of {verdict.domain} does not authorise it: {verdict.shown}"
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


def _unauthorised(run: Run, backup: Asked) -> None:
    verdict = backup.spf[0]
    run.degraded(
        SmtpReason.BACKUP_UNREADY,
        f"The backup relay {backup.relay.name} could take over, but SPF of {verdict.domain} does not "
        f"authorise it: {verdict.shown}.",
        evidence={"relay": backup.relay.name, "because": "spf", **_spf(backup)},
    )


def _spf(asked: Asked) -> dict[str, str]:
    return {"spf": asked.spf[0].shown} if asked.spf else {}


def _unready(run: Run, backup: Asked) -> None:
    worst = backup.worst
    assert worst is not None
    evidence = {"relay": backup.relay.name, "because": str(worst.reason), **worst.evidence}
    run.degraded(
        SmtpReason.BACKUP_UNREADY,
        f"The backup relay {backup.relay.name} could not take over now: {worst.message}",
        evidence=evidence,
    )


def _add(run: Run, asked: Asked, most: Outcome) -> None:
    """The findings of one relay, none of them worse than `most`."""
    for finding in asked.part.findings:
        _find(run, finding, asked.relay.name, most)


def _find(run: Run, finding: Finding, whose: str, most: Outcome) -> None:
    if len(run.findings) < FINDING_LIMIT:
        level = finding.level if finding.level.rank <= most.rank else most
        told = f"{whose}: {finding.message}"
        run.findings.append(finding._replace(level=level, message=told))
