"""The part of each vantage in each check, and the verdict of all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from probed import Outcome, Reason, Reasons, Run, outcome_of
from probed.mail import TempFail
from probes.email_auth.reasons import EmailAuthReason as Why

STATES = tuple(Outcome)
_MAILBOX = re.compile(r"(mailto:)[^@\s,;!]*@", re.IGNORECASE)
_MAILBOX_BYTES = re.compile(rb"(mailto:)[^@\s,;!]*@", re.IGNORECASE)
LINE = 1024
LINES = 40
"""Characters of a line of a fact, and lines, that are shown."""


def masked(value: Any) -> Any:
    """Text, or a list of texts, in which of mail addresses the domain is left: whose mailbox gets
    reports is nobody's business.
    """
    if isinstance(value, str):
        return _MAILBOX.sub(r"\1…@", value)
    if isinstance(value, bytes):
        return _MAILBOX_BYTES.sub(b"\\1" + "…@".encode(), value)
    return [masked(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(slots=True)
class AuthPart:
    """One vantage's part of one check: `run` holds its findings and measures. `failure` is why it
    could not be judged; `abroad` tells that it was in a zone of somebody else's. `data` is for the
    checks that build on this one.
    """

    run: Run
    failure: Reasons | None = None
    failed_at: str = ""
    abroad: bool = False
    data: Any = None

    def find(
        self, level: Outcome, reason: Reasons, message: str | None = None, **evidence: Any
    ) -> None:
        shown = {name: masked(value) for name, value in evidence.items()}
        self.run.find(level, reason, message, evidence=shown)

    def failed(self, reason: Reasons, message: str | None = None, **evidence: Any) -> None:
        self.find(Outcome.FAILED, reason, message, **evidence)

    def degraded(self, reason: Reasons, message: str | None = None, **evidence: Any) -> None:
        self.find(Outcome.DEGRADED, reason, message, **evidence)

    def fact(self, name: str, value: str | list[str]) -> None:
        lines = [value] if isinstance(value, str) else value
        clean = tuple(self.run.clean(masked(line), LINE) for line in lines[:LINES])
        self.run.fact(name, clean[0] if isinstance(value, str) else clean)

    def temporary(self, fail: TempFail, *, abroad: bool = False) -> None:
        """Note that DNS could not say."""
        self.failure, self.failed_at = fail.reason, f"{fail.kind} {fail.name}"
        self.abroad = abroad

    def late(self) -> None:
        """Note that the deadline passed."""
        self.failure = self.failure or Reason.TIMEOUT_RUN

    @property
    def level(self) -> Outcome:
        return outcome_of(self.run.findings)


@dataclass(frozen=True, slots=True)
class AuthCheck:
    """One thing to judge: `area` is `spf`, `dkim`, …, `subject` the sender, selector or name."""

    area: str
    subject: str = ""

    @property
    def phase(self) -> str:
        return f"{self.area}/{self.subject}" if self.subject else self.area


AuthParts = Mapping[str, AuthPart]
"""By vantage, in the order of the configuration."""


def worst_judged(parts: AuthParts) -> AuthPart | None:
    """Return the worst of those that could judge: whoever sees it has the trouble."""
    judged = [part for part in parts.values() if part.failure is None]
    return max(judged, key=lambda part: part.level.rank, default=None)


def tell(
    run: Run, check: AuthCheck, parts: AuthParts, *, told: AbstractSet[str] = frozenset()
) -> Outcome:
    """Write what the vantages found of a check to the run, but for reasons that are `told` already.
    Return its outcome.
    """
    worst = worst_judged(parts)
    if worst is None:
        level = _tell_failure(run, check, parts, told)
    else:
        level, part = worst.level, worst.run
        part.findings = [found for found in part.findings if found.reason not in told]
        run.join({"": part})
        run.facts.update(part.facts)
    for state in STATES:
        run.measure(
            "probed.email_auth.status",
            float(state is level),
            {"check": check.area, "subject": check.subject, "probed.outcome": state.value},
        )
    return level


def _tell_failure(run: Run, check: AuthCheck, parts: AuthParts, told: AbstractSet[str]) -> Outcome:
    """Tell that nobody could judge. Where two see somebody else's zone fail, so do receivers."""
    evidence = {"check": check.phase} | {
        name: f"{part.failure}: {part.failed_at}" if part.failed_at else str(part.failure)
        for name, part in parts.items()
    }
    abroad = [part for part in parts.values() if part.abroad]
    if check.area == "spf" and abroad:
        agreed = len(abroad) > 1 and len(abroad) == len(parts)
        where = abroad[0].failed_at
        level = Outcome.FAILED if agreed else Outcome.UNKNOWN
        text = f"What the SPF record leads to cannot be looked up: {where}."
        if Why.SPF_TEMPERROR not in told:
            run.find(level, Why.SPF_TEMPERROR, text, evidence=evidence)
        return level
    what = check.phase.replace("/", " ")
    run.unknown(
        Why.DNS_UNAVAILABLE, f"Nothing is known of {what}: it could not be looked up.",
        evidence=evidence,
    )  # fmt: skip
    return Outcome.UNKNOWN


def tell_errors(run: Run, everything: Sequence[AuthParts]) -> None:
    """One finding for each vantage that failed where another answered."""
    failing: dict[str, tuple[str, str]] = {}
    for parts in everything:
        if worst_judged(parts) is None:
            continue
        for name, part in parts.items():
            if part.failure is not None:
                failing.setdefault(name, (str(part.failure), part.failed_at))
    for name, (reason, where) in failing.items():
        run.degraded(
            Why.DNS_RESOLVER_ERROR,
            f"The resolver {name} did not answer where others did.",
            evidence={"resolver": name, "reason": reason, "at": where},
        )
