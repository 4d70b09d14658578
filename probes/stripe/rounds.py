"""One run: the steps that are due, then what they say together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio import to_thread

from probed import Fault, Finding, Outcome, Reasons, Run, record_fault
from probes.stripe import correlate
from probes.stripe.api import ping, reach
from probes.stripe.drift import comparison
from probes.stripe.endpoints import registration
from probes.stripe.events import deliveries, newest_delivered
from probes.stripe.memory import Last, StepMemory
from probes.stripe.reasons import BY_VALUE, OF_THE_KEY, StripeReason
from probes.stripe.settings import StripeSettings
from probes.stripe.step import Step
from probes.stripe.webhook import verification

if TYPE_CHECKING:
    from probes.stripe.sdk import Api

Work: TypeAlias = "Callable[[Step, StripeSettings], Awaitable[None]]"
Keyed: TypeAlias = "Callable[[Step, StripeSettings, Api, StepMemory], Awaitable[None]]"

OPEN: Mapping[str, Work] = {"reach": reach, "webhook": verification}
"""Steps without the key; they run beside each other."""
KEYED: Mapping[str, Keyed] = {
    "api": ping, "endpoints": registration, "events": deliveries, "drift": comparison,
}  # fmt: skip
"""Steps with it, one after the other: events are asked for as the endpoint is subscribed."""
HOLD = 3600.0
"""Seconds for which Stripe is left alone at most, once it has asked for it."""


def due(settings: StripeSettings, memory: StepMemory) -> list[str]:
    """The steps that are run now. While Stripe wants to be left alone, none with the key."""
    return [
        name
        for name, every in settings.cadences.items()
        if memory.due(name, every) and not (memory.held and name in KEYED)
    ]


class Round:
    """The steps of one run."""

    def __init__(self, settings: StripeSettings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._memory = StepMemory(run.memory, settings.fingerprint, run.clock.time())
        self._asked: set[str] = set()
        self._reads = 0

    async def go(self) -> None:
        memory = self._memory
        names = due(self._settings, memory)
        async with anyio.create_task_group() as tasks:
            for name in OPEN:
                if name in names:
                    tasks.start_soon(self._run_step, name, OPEN[name])
            tasks.start_soon(self._with_the_key, [name for name in KEYED if name in names])
        await self._whose_secret()
        memory.save()
        self._tell()

    async def _with_the_key(self, names: list[str]) -> None:
        memory = self._memory
        for name in names:
            fault = (await self._run_step(name, await self._keyed(KEYED[name]))).fault
            if fault is None:
                memory.release()
                continue
            shortest = min(every for key, every in self._settings.cadences.items() if key in KEYED)
            if fault.reason is StripeReason.RATE_LIMITED:
                memory.hold(shortest, HOLD)
            elif fault.reason in OF_THE_KEY and memory.steps[name].again:
                memory.hold(shortest, shortest)
            if not memory.steps[name].learned:
                return

    async def _keyed(self, work: Keyed) -> Work:
        """The work of a step with the key. The SDK takes 0.15 s to load: not in the event loop."""
        sdk = await to_thread.run_sync(import_module, "probes.stripe.sdk")

        async def call(step: Step, settings: StripeSettings) -> None:
            api: Api = sdk.Api(step, settings)
            try:
                await work(step, settings, api, self._memory)
            finally:
                self._reads += api.reads

        return call

    async def _run_step(self, name: str, work: Work) -> Step:
        step = await self._guarded(name, work)
        self._asked.add(name)
        self._memory.record(step)
        return step

    async def _guarded(self, name: str, work: Work) -> Step:
        step = Step(name, self._run)
        fault = await step.run.guard(partial(work, step, self._settings))
        if isinstance(fault, Fault):
            step.fault = fault
            record_fault(step.run, fault)
        self._run.join({name: step.run}, findings=False)
        self._run.facts.update(
            {key: fact for key, fact in step.run.facts.items() if key.startswith("stripe.")}
        )
        return step

    async def _whose_secret(self) -> None:
        """Where our secret was refused although no event is undelivered: was any delivered?"""
        memory = self._memory
        webhook = memory.steps.get("webhook")
        if (
            webhook is None
            or "webhook" not in self._asked
            or webhook.facts.get("signed") != "refused"
        ):
            return
        if "events" in self._settings.cadences and not memory.held and _none_undelivered(memory):
            step = await self._guarded("delivered", await self._keyed(newest_delivered))
            webhook.facts |= step.facts

    def _tell(self) -> None:
        """Findings and measures of all steps, those that were not due as they were."""
        run = self._run
        if self._reads:
            run.measure("probed.stripe.api.reads", self._reads)
        measured: dict[tuple[str, ...], tuple[str, float, Mapping[str, str]]] = {}
        told: dict[tuple[Outcome, Reasons, str], dict[str, Any]] = {}
        for name, last in self._results():
            age = max(0.0, run.clock.time() - last.at)
            run.measure("probed.stripe.step.age", age, {"step": name})
            for measure, value, attributes in last.measured:
                measured.setdefault((measure, *attributes.values()), (measure, value, attributes))
            for found in self._found(name, last):
                key = found.level, BY_VALUE[found.reason], found.message
                if key in told:  # one cause, which several steps have found
                    told[key]["step"] += f", {name}"
                else:
                    told[key] = {**found.evidence, "step": name, **self._age(name, last)}
        for each in measured.values():
            run.measure(*each)
        for (level, reason, message), evidence in told.items():
            run.find(level, reason, message, evidence=evidence)

    def _results(self) -> Iterator[tuple[str, Last]]:
        for name in self._settings.cadences:
            last = self._memory.steps.get(name)
            if last is not None:
                yield name, last

    def _found(self, name: str, last: Last) -> Iterator[Finding]:
        for found in last.found:
            yield correlate.judge(found, self._memory)
        if name == "webhook":
            yield from correlate.clock(self._memory)

    def _age(self, name: str, last: Last) -> dict[str, Any]:
        if name in self._asked:
            return {}
        return {"from": datetime.fromtimestamp(last.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _none_undelivered(memory: StepMemory) -> bool:
    events = memory.steps.get("events")
    return events is not None and events.learned and events.facts.get("undelivered") == 0


async def run_round(settings: StripeSettings, run: Run) -> None:
    """Query Stripe, and everything else that the settings name."""
    await Round(settings, run).go()
