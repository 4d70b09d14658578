"""Reference checks tell "this machine is offline" from "the target is down".

A reference check fails only when this machine is offline. While all of them fail, the failure of another
check says nothing about its target.
"""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from probed.config import Check
from probed.engine.runner import Runner
from probed.judgement import excuse, outcome_of
from probed.model import Outcome, Result
from probed.reasons import Reason

PATIENCE = 2.0
"""Timeout of a reference check that is run because another check failed, in seconds."""
REST = 5.0
"""Seconds between two such rounds, so that references are not a load on others."""
NEVER = float("-inf")
UNSEEN = NEVER, False


class References:
    """The reference checks, and whether each failed last."""

    def __init__(self, runner: Runner, checks: Iterable[Check]) -> None:
        self._runner = runner
        self._seen: dict[str, tuple[float, bool]] = {}
        self._asked = NEVER
        self._asking = anyio.Lock()
        self.replace(checks)

    def replace(self, checks: Iterable[Check]) -> None:
        """Use the references among these checks."""
        self._checks = [check for check in checks if check.reference and check.enabled]

    async def judge(self, check: Check, result: Result, started: float) -> Result:
        """Return the result, as `unknown` if it failed while this machine was offline. `started` is when its
        run began, on the monotonic clock.
        """
        if check.reference:
            self._seen[check.name] = started, result.outcome is Outcome.FAILED
            return result
        if result.outcome is not Outcome.FAILED or not self._checks:
            return result
        if not await self._offline(started):
            return result
        return _excused(result, ", ".join(reference.name for reference in self._checks))

    async def _offline(self, since: float) -> bool:
        async with self._asking:
            now = self._runner.clock.monotonic()
            stale = [c for c in self._checks if self._seen.get(c.name, UNSEEN)[0] < since]
            if stale and now - self._asked >= REST:
                self._asked = now
                async with anyio.create_task_group() as tasks:
                    for check in stale:
                        tasks.start_soon(self._ask, check)
        return all(self._seen.get(check.name, UNSEEN)[1] for check in self._checks)

    async def _ask(self, check: Check) -> None:
        started = self._runner.clock.monotonic()
        result = await self._runner.run_attempt(
            check.probe, name=check.name, timeout=min(check.timeout, PATIENCE), sampled=False
        )
        self._seen[check.name] = started, result.outcome is Outcome.FAILED


def _excused(result: Result, references: str) -> Result:
    message = f"All reference targets fail too ({references}): this machine is offline."
    findings = excuse(
        result.findings, Reason.SELF_OFFLINE, message, lambda f: f.level is Outcome.FAILED
    )
    previous = None if result.previous is None else _excused(result.previous, references)
    return result._replace(findings=findings, outcome=outcome_of(findings), previous=previous)
