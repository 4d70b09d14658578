"""One step of a run, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from probed import Fault, Outcome, Reasons, Request, Response, Run
from probes.stripe.reasons import StripeReason

BODY_LIMIT = 1 << 20
SKEW_DEGRADED = 60.0
"""Seconds that a clock may be off; signatures are good for 300 s."""


class Step:
    """One step, a part of the run: `run` holds its findings, which reach the whole run when all steps
    have ended.

    `facts` are numbers and texts that are saved for other steps and later runs. `skew` is how many
    seconds the clock of the peer of the last request is ahead of ours, to the second.
    """

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self.run = run.part(name)
        self.now = run.clock.time()
        self.measured: list[tuple[str, float, dict[str, str]]] = []
        self.facts: dict[str, Any] = {}
        self.fault: Fault | None = None
        self.skew: float | None = None

    async def fetch(self, request: Request, *, body_limit: int = BODY_LIMIT) -> Response:
        """Send a request on a fresh connection. Raises what `Run.fetch` does."""
        answer = await self.run.fetch(request, body_limit=body_limit)
        last = self.run.phases[-1]
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
        """Record a finding, which is saved until the step is run again."""
        self.run.find(level, reason, message, evidence=evidence)

    def measure(self, name: str, value: float, **attributes: str) -> None:
        """Measure a gauge, the last value counting: it is repeated until the step is run again."""
        others = [each for each in self.measured if (each[0], each[2]) != (name, attributes)]
        self.measured = [*others, (name, value, attributes)]

    def judge_our_clock(self) -> None:
        """Measure how far Stripe's clock is ahead of ours, and find it where that is too far."""
        if self.skew is None:
            return
        self.facts["skew"] = self.skew
        self.measure("probed.clock.skew", self.skew, server="stripe")
        if abs(self.skew) > SKEW_DEGRADED:
            message = f"Stripe's clock and this machine's are {abs(self.skew):.0f} s apart."
            self.find(Outcome.DEGRADED, StripeReason.CLOCK_SKEW, message)


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
