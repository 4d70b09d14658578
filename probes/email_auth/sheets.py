"""What each vantage found of each check, and what they come to together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from probed import Outcome, Reason, Reasons, Run
from probed.mail import TempFail
from probes.email_auth.reasons import EmailAuthReason as Why

STATES = tuple(Outcome)
_MAILBOX = re.compile(r"(mailto:)[^@\s,;!]*@", re.IGNORECASE)
_MAILBOX_BYTES = re.compile(rb"(mailto:)[^@\s,;!]*@", re.IGNORECASE)
LINE = 1024
LINES = 40
"""What is kept of a fact that has several lines, and of one line."""


def masked(value: Any) -> Any:
    """Text, or a list of texts, in which of mail addresses the domain is left: whose mailbox gets
    reports is nobody's business.
    """
    if isinstance(value, str):
        return _MAILBOX.sub(r"\1…@", value)
    if isinstance(value, bytes):
        return _MAILBOX_BYTES.sub(b"\\1" + "…@".encode(), value)
    return [masked(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Note:
    """A finding to be."""

    level: Outcome
    reason: Reasons
    message: str
    evidence: Mapping[str, Any]


@dataclass
class Sheet:
    """What one vantage found of one check. `failure` is why it could not be judged; `abroad` tells
    that it was in a zone of somebody else's. `data` is what other checks want of it.
    """

    notes: list[Note] = field(default_factory=list)
    failure: Reasons | None = None
    failed_at: str = ""
    abroad: bool = False
    data: Any = None
    values: list[tuple[str, float, Mapping[str, str]]] = field(default_factory=list)
    facts: dict[str, str | list[str]] = field(default_factory=dict)

    def note(
        self, level: Outcome, reason: Reasons, message: str | None = None, **evidence: Any
    ) -> None:
        told = {name: masked(value) for name, value in evidence.items()}
        self.notes.append(Note(level, reason, message or reason.sentence, told))

    def fact(self, name: str, value: str | list[str]) -> None:
        self.facts[name] = masked(value)

    def failed(self, reason: Reasons, message: str | None = None, **evidence: Any) -> None:
        self.note(Outcome.FAILED, reason, message, **evidence)

    def degraded(self, reason: Reasons, message: str | None = None, **evidence: Any) -> None:
        self.note(Outcome.DEGRADED, reason, message, **evidence)

    def temporary(self, fail: TempFail, *, abroad: bool = False) -> None:
        """DNS could not say."""
        self.failure, self.failed_at = fail.reason, f"{fail.kind} {fail.name}"
        self.abroad = abroad

    def late(self) -> None:
        """The deadline passed."""
        self.failure = self.failure or Reason.TIMEOUT_RUN

    @property
    def level(self) -> Outcome:
        return max((n.level for n in self.notes), key=lambda level: level.rank, default=Outcome.OK)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to judge: `area` is `spf`, `dkim`, …, `subject` the sender, selector or name."""

    area: str
    subject: str = ""

    @property
    def phase(self) -> str:
        return f"{self.area}/{self.subject}" if self.subject else self.area


Sheets = Mapping[str, Sheet]
"""By vantage, in the order of the configuration."""


def chosen(sheets: Sheets) -> Sheet | None:
    """The worst of those that could judge: whoever sees it has the trouble."""
    judged = [sheet for sheet in sheets.values() if sheet.failure is None]
    return max(judged, key=lambda sheet: sheet.level.rank, default=None)


def tell(
    run: Run, check: Check, sheets: Sheets, *, told: AbstractSet[str] = frozenset()
) -> Outcome:
    """Write what the vantages found of a check to the run, but for reasons that are `told` already;
    its outcome.
    """
    best = chosen(sheets)
    if best is None:
        level = _tell_failure(run, check, sheets, told)
    else:
        level = best.level
        for note in best.notes:
            if note.reason not in told:
                run.find(note.level, note.reason, note.message, evidence=note.evidence)
        for name, value, attributes in best.values:
            run.measure(name, value, attributes)
        for fact, text in best.facts.items():
            lines = [text] if isinstance(text, str) else text
            clean = tuple(run.clean(line, LINE) for line in lines[:LINES])
            run.fact(fact, clean[0] if isinstance(text, str) else clean)
    for state in STATES:
        run.measure(
            "probed.email_auth.status",
            float(state is level),
            {"check": check.area, "subject": check.subject, "probed.outcome": state.value},
        )
    return level


def _tell_failure(run: Run, check: Check, sheets: Sheets, told: AbstractSet[str]) -> Outcome:
    """Nobody could judge. Where two see somebody else's zone fail, so do receivers."""
    evidence = {"check": check.phase} | {
        name: f"{sheet.failure}: {sheet.failed_at}" if sheet.failed_at else str(sheet.failure)
        for name, sheet in sheets.items()
    }
    abroad = [sheet for sheet in sheets.values() if sheet.abroad]
    if check.area == "spf" and abroad:
        agreed = len(abroad) > 1 and len(abroad) == len(sheets)
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


def tell_errors(run: Run, everything: Sequence[Sheets]) -> None:
    """One finding for each vantage that failed where another answered."""
    failing: dict[str, tuple[str, str]] = {}
    for sheets in everything:
        if chosen(sheets) is None:
            continue
        for name, sheet in sheets.items():
            if sheet.failure is not None:
                failing.setdefault(name, (str(sheet.failure), sheet.failed_at))
    for name, (reason, where) in failing.items():
        run.degraded(
            Why.DNS_RESOLVER_ERROR,
            f"The resolver {name} did not answer where others did.",
            evidence={"resolver": name, "reason": reason, "at": where},
        )
