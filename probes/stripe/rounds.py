"""One run: the steps that are due, then what all of them together say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from probed import Certificate, Fault, Outcome, Reasons, Run
from probes.stripe import api as asking
from probes.stripe.memory import Last, Memory
from probes.stripe.reasons import StripeReason
from probes.stripe.step import Step

if TYPE_CHECKING:
    from probes.stripe.probe import StripeProbe

KEYED = ("api",)
"""Steps that need the key, in the order in which they are run."""
ORDER = ("reach", "api")
HOLD = 3600.0
"""Seconds for which Stripe is left alone at most, once it has asked for it."""
_OF_ALL = frozenset({
    StripeReason.AUTH_REJECTED, StripeReason.KEY_EXPIRED, StripeReason.RATE_LIMITED,
})  # fmt: skip
"""Reasons that the other steps with the key would find too."""


class Round:
    """The steps of one run."""

    def __init__(self, probe: StripeProbe, run: Run) -> None:
        self._probe = probe
        self._run = run
        self._memory = Memory(run.memory, probe.fingerprint, run.clock.time())
        self._asked: set[str] = set()
        self._reads = 0
        self._certificates: list[Certificate] = []

    async def go(self) -> None:
        due = [
            name for name, every in self._probe.cadences.items() if self._memory.due(name, every)
        ]
        keyed = [name for name in KEYED if name in due] if not self._memory.held else []
        async with anyio.create_task_group() as tasks:
            if "reach" in due:
                tasks.start_soon(self._step, "reach", asking.reach)
            if keyed:
                tasks.start_soon(self._with_the_key, keyed)
        self._memory.save()
        self._tell()

    async def _with_the_key(self, names: list[str]) -> None:
        sdk = await to_thread.run_sync(import_module, "probes.stripe.sdk")
        for name in names:
            if await self._keyed(name, sdk.Api):
                return

    async def _keyed(self, name: str, make: Callable[..., Any]) -> bool:
        """Run a step; true where there is no use in going on with others."""
        work = {"api": asking.ping}[name]

        async def ask(step: Step, probe: StripeProbe) -> None:
            api = make(step, probe)
            try:
                await work(step, probe, api)
            finally:
                self._reads += api.reads

        fault = (await self._step(name, ask)).fault
        if fault is None:
            self._memory.release()
            return False
        if fault.reason is StripeReason.RATE_LIMITED:
            self._memory.hold(min(self._probe.cadences[name] for name in KEYED), HOLD)
        return fault.reason in _OF_ALL or not self._memory.steps[name].learned

    async def _step(self, name: str, work: Callable[[Step, StripeProbe], Awaitable[None]]) -> Step:
        step = Step(name, self._run)
        fault = await self._run.attempt(step.recorder, partial(work, step, self._probe))
        if isinstance(fault, Fault):
            step.blame(fault)
        if step.recorder.certificate is not None:
            self._certificates.append(step.recorder.certificate)
        self._asked.add(name)
        self._memory.keep(step)
        return step

    def _tell(self) -> None:
        """Findings and measures of all steps, those that were not due as they were."""
        run, memory = self._run, self._memory
        if self._reads:
            run.measure("probed.stripe.api.reads", self._reads)
        told: dict[tuple[Outcome, Reasons, str], dict[str, Any]] = {}
        for name in self._probe.cadences:
            last = memory.steps.get(name)
            if last is None:
                continue
            run.measure(
                "probed.stripe.step.age", max(0.0, run.clock.time() - last.at), {"step": name}
            )
            for measure, value, attributes in last.measured:
                run.measure(measure, value, attributes)
            for noted in last.found:
                key = noted.level, noted.reason, noted.message
                if key in told:  # one cause, which several steps have found
                    told[key]["step"] += f", {name}"
                else:
                    told[key] = {**noted.evidence, "step": name, **self._age(name, last)}
        for (level, reason, message), evidence in told.items():
            run.find(level, reason, message, evidence=evidence)
        run.certificate = min(self._certificates, key=_end, default=None)

    def _age(self, name: str, last: Last) -> dict[str, Any]:
        if name in self._asked:
            return {}
        return {"from": datetime.fromtimestamp(last.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _end(certificate: Certificate) -> float:
    return certificate.not_after


async def run_round(probe: StripeProbe, run: Run) -> None:
    """Ask Stripe, and whom else the probe's settings name."""
    await Round(probe, run).go()
