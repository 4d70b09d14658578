"""One step of a run: what it asks, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from probed import Fault, Latency, Outcome, Reasons, Request, Response, Run, judge_latency
from probes.stripe.reasons import BY_VALUE, StripeReason

BODY_LIMIT = 1 << 20
SKEW_DEGRADED = 60.0
"""Seconds that a clock may be off; signatures are good for 300 s."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding, as it is kept until the step is run again."""

    level: Outcome
    reason: Reasons
    message: str
    evidence: Mapping[str, Any]


class Step:
    """What a step writes to. Findings and measures reach the run when all steps have ended.

    `facts` are numbers and texts that are kept for other steps and later runs; `said` is evidence
    for the fault that ends the step, should one. `skew` is how many seconds the clock of whom was
    asked last is ahead of ours, to the second.
    """

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self.run = run
        self.recorder = run.part(name)
        self.now = run.clock.time()
        self.found: list[Noted] = []
        self.measured: list[tuple[str, float, dict[str, str]]] = []
        self.facts: dict[str, Any] = {}
        self.said: dict[str, Any] = {}
        self.fault: Fault | None = None
        self.skew: float | None = None
        self._prefix = self.recorder.prefix

    def part(self, name: str) -> None:
        """Phases from here on are those of a part, such as `webhook/signed/connect`."""
        self.recorder.prefix = f"{self._prefix}{name}/" if name else self._prefix

    async def fetch(self, request: Request, *, body_limit: int = BODY_LIMIT) -> Response:
        """Ask on a fresh connection. Raises what `Run.fetch` does."""
        answer = await self.recorder.fetch(request, body_limit=body_limit)
        last = self.recorder.phases[-1]
        received = last.duration if last.name.endswith("/receive") else 0.0
        self.skew = _skew(answer, self.run.clock.time() - received - answer.wait_s / 2)
        return answer

    def find(
        self,
        level: Outcome,
        reason: Reasons,
        message: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """Find something. Foreign text is cleaned here, before it is remembered."""
        clean = self.run.clean
        text = reason.sentence if message is None else clean(message)
        cleaned = {name: _clean(value, clean) for name, value in (evidence or {}).items()}
        self.found.append(Noted(level, reason, text, cleaned))

    def measure(self, name: str, value: float, **attributes: str) -> None:
        """Measure a gauge, the last value counting: it is repeated until the step is run again."""
        others = [each for each in self.measured if (each[0], each[2]) != (name, attributes)]
        self.measured = [*others, (name, value, attributes)]

    def judge_latency(self, seconds: float, bounds: Latency) -> None:
        """Find an answer that took longer to begin than `bounds` says."""
        part = self.run.part()
        judge_latency(part, seconds, bounds)
        for found in part.findings:
            self.find(found.level, BY_VALUE[found.reason], found.message)

    def judge_our_clock(self) -> None:
        """Measure how far Stripe's clock is ahead of ours, and find it where that is too far."""
        if self.skew is None:
            return
        self.facts["skew"] = self.skew
        self.measure("probed.clock.skew", self.skew, server="stripe")
        if abs(self.skew) > SKEW_DEGRADED:
            message = f"Stripe's clock and this machine's are {abs(self.skew):.0f} s apart."
            self.find(Outcome.DEGRADED, StripeReason.CLOCK_SKEW, message)

    def blame(self, fault: Fault) -> None:
        """Find why the step could not be ended."""
        self.fault = fault
        self.find(fault.level, fault.reason, fault.message, {**self.said, **fault.evidence})


def _clean(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, list | tuple):
        return [_clean(item, clean) for item in value[:10]]
    return value if isinstance(value, int | float | None) else clean(str(value))


def _skew(answer: Response, at: float) -> float | None:
    """Seconds that the `Date` of an answer (RFC 9110 section 6.6.1) is ahead of ours; it is cut to
    whole seconds. None where there is no date that can be read.
    """
    try:
        date = parsedate_to_datetime((answer.header("date") or "")[:64])
        ahead = date.timestamp() + 0.5 - at
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return 0.0 if abs(ahead) < 1 else ahead
