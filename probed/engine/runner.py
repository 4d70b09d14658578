"""One run: deadline, confirmation, classification -> Result. The only broad `except` is here."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio

from probed.clock import Clock, LoopLag, SystemClock
from probed.fields import split_address
from probed.model import Evidence, Finding, Measurement, Outcome, Result, Severity
from probed.net import Network, Resolver
from probed.net.pool import ConnectionPool
from probed.probe import CERTIFICATE_NOT_AFTER, EndOfRun, Probe, Run
from probed.reasons import ProbeError, Reason, Reasons, classify, is_timed, timeout_in
from probed.text.redact import Redactor

if TYPE_CHECKING:
    from probed.config import Check, Config

log = logging.getLogger("probed.engine")
_NO_LABELS: Mapping[str, str] = MappingProxyType({})

EXCUSED = 0.05
"""Seconds that the event loop must have stood still before a run's timing is doubted ..."""
EXCUSED_PART = 0.1
"""... and the part of the run's length."""


class Ids:
    """Trace and span ids (W3C Trace Context): random, never zero."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._bits = (source or random.Random()).getrandbits  # noqa: S311  # they are no secrets

    def trace(self) -> str:
        return f"{self._bits(128) or 1:032x}"

    def span(self) -> str:
        return f"{self._bits(64) or 1:016x}"


class Runner:
    """Executes checks. What runs share is held here: network, clock, redactor, ids.

    `lag` says how much of a run's time was ours; somebody must `watch` it.
    """

    def __init__(
        self,
        network: Network,
        *,
        clock: Clock | None = None,
        redactor: Redactor | None = None,
        ids: Ids | None = None,
    ) -> None:
        self.network = network
        self.clock = clock or SystemClock()
        self.redactor = redactor or Redactor()
        self.ids = ids or Ids()
        self.pool: ConnectionPool | None = None
        """What is kept open between runs; only who also sweeps it sets it."""
        self.lag = LoopLag(self.clock)

    @classmethod
    def of(
        cls, config: Config, *, clock: Clock | None = None, network: Network | None = None
    ) -> Runner:
        """The runner of a configuration, as the daemon and one-shot checks use it."""
        if network is None:
            servers = [split_address(server) for server in config.service.resolvers]
            network = Network(Resolver(servers))
        return cls(network, clock=clock, redactor=config.redactor)

    def follow(self, config: Config) -> None:
        """Work from another configuration from now on; runs that go on end as they began."""
        servers = tuple(map(split_address, config.service.resolvers))
        if servers != self.network.resolver.servers:
            self.network.resolver = Resolver(servers)
        self.redactor.succeed(config.redactor)

    async def run(
        self,
        check: Check,
        *,
        memory: MutableMapping[str, Any] | None = None,
        sampled: Callable[[str], bool] = lambda _: True,
    ) -> Result:
        """Run the check; confirm a failure at once, on fresh connections, as often as it says.

        One deadline covers all attempts: a failure is confirmed while as much time is left as it
        took. A run that used up its deadline has watched for that long, and is not repeated; nor is one
        whose kind would ask nothing new.

        `sampled` decides from the trace id whether a first attempt's trace is kept in any case; a
        confirmation's always is. The result is the last attempt's; the others stand in `previous`.
        """
        ends = self.clock.monotonic() + check.timeout
        memory = {} if memory is None else memory  # a confirmation knows what came before it
        result = await self._once(check, check.timeout, memory, sampled)
        for _ in range(check.confirm):
            left = ends - self.clock.monotonic()
            if result.outcome is not Outcome.FAILED or left < result.duration_s:
                break
            if not check.probe.worth_repeating(memory, self.clock.time()):
                break
            confirmation = await self._once(check, left, memory, lambda _: True)
            result = confirmation._replace(previous=result)
        return result

    async def _once(
        self,
        check: Check,
        timeout: float,
        memory: MutableMapping[str, Any] | None,
        sampled: Callable[[str], bool],
    ) -> Result:
        trace_id = self.ids.trace()
        return await self.attempt(
            check.probe,
            name=check.name,
            timeout=timeout,
            memory=memory,
            trace_id=trace_id,
            sampled=sampled(trace_id),
            labels=check.labels,
            severity=check.severity,
        )

    async def attempt(
        self,
        probe: Probe,
        *,
        name: str = "check",
        timeout: float,
        memory: MutableMapping[str, Any] | None = None,
        trace_id: str | None = None,
        sampled: bool = True,
        labels: Mapping[str, str] = _NO_LABELS,
        severity: Severity = Severity.P2,
    ) -> Result:
        """Run the probe once, within `timeout` seconds. Never raises but for cancellation."""
        run = self._begin(probe, timeout, memory, trace_id, sampled=sampled)
        started_at = self.clock.time()
        with anyio.move_on_after(timeout) as scope:
            try:
                await probe.probe(run)
            except EndOfRun as end:
                run.blame(end.reason)
            except Exception as error:  # noqa: BLE001  # the one place where a run ends
                self._judge(name, run, error)
        if scope.cancelled_caught:
            self._late(run)
        return self._result(probe, name, run, started_at, labels, severity)

    async def shapes(self, check: Check) -> Mapping[str, Any] | None:
        """What the peer's replies look like; see `Probe.shapes`. Raises what a run would judge, and
        TimeoutError.
        """
        run = self._begin(check.probe, check.timeout, None, None, sampled=False)
        with anyio.fail_after(check.timeout):
            return await check.probe.shapes(run)

    def _begin(
        self,
        probe: Probe,
        timeout: float,
        memory: MutableMapping[str, Any] | None,
        trace_id: str | None,
        *,
        sampled: bool,
    ) -> Run:
        self.network.resolver.prepare(probe.host)
        return Run(
            probe,
            clock=self.clock,
            network=self.network,
            redactor=self.redactor,
            trace_id=trace_id or self.ids.trace(),
            span_id=self.ids.span(),
            timeout=timeout,
            sampled=sampled,
            memory=memory,
            pool=self.pool,
        )

    def _judge(self, name: str, run: Run, error: Exception) -> None:
        if isinstance(error, ExceptionGroup) and error.split(EndOfRun)[1] is None:
            run.blame(classify(error)[0])  # `run.fail` in a task of the probe's own
            return
        reason, level = classify(error)
        message = error.message if isinstance(error, ProbeError) else run.explain(reason)
        evidence = run.context()
        if reason is Reason.INTERNAL:
            # The text of an unknown error may hold anything; its type and place do not.
            message = f"{message} {type(error).__name__} {_place(error)}"
            log.error("check %s: %s", name, message)
        _add(run, level, reason, message, evidence)

    def _late(self, run: Run) -> None:
        if run.fault is not None:
            reason, level = classify(run.fault)
        else:
            phase = run.failed_phase
            reason, level = timeout_in(phase.name if phase else None), Outcome.FAILED
        message = f"{reason.sentence.rstrip('.')} ({run.timeout:.3g} s)."
        _add(run, level, reason, run.explain(reason) if run.fault else message, run.context())

    def _result(
        self,
        probe: Probe,
        name: str,
        run: Run,
        started_at: float,
        labels: Mapping[str, str],
        severity: Severity,
    ) -> Result:
        measures = run.measured
        if run.certificate is not None:
            measures.append(Measurement(CERTIFICATE_NOT_AFTER, run.certificate.not_after))
        duration = self.clock.monotonic() - run.started
        findings = self._doubted(run, duration) if run.findings else ()
        outcome = outcome_of(findings)
        return Result(
            check=name,
            probe=probe.kind,
            target=probe.target,
            outcome=outcome,
            started_at=started_at,
            duration_s=duration,
            trace_id=run.trace_id,
            span_id=run.span_id,
            findings=findings,
            phases=run.finished_phases(),
            measures=tuple(measures),
            facts=run.facts,
            labels=labels,
            severity=severity,
            sampled=run.sampled or outcome is not Outcome.OK,
        )

    def _doubted(self, run: Run, duration: float) -> tuple[Finding, ...]:
        """The findings; how long something took says nothing where the event loop stood still."""
        stop = self.lag.taken(run.started)
        if stop < max(EXCUSED, duration * EXCUSED_PART):
            return tuple(run.findings)
        message = f"The event loop stood still for {stop:.2g} s of this run: not the peer's time."
        return excuse(
            run.findings, Reason.SELF_OVERLOADED, message, lambda f: is_timed(f.reason, stop)
        )


def outcome_of(findings: Sequence[Finding]) -> Outcome:
    """The worst of them."""
    return max((f.level for f in findings), key=_rank, default=Outcome.OK)


def _rank(outcome: Outcome) -> int:
    return outcome.rank


def excuse(
    findings: Sequence[Finding], reason: Reason, message: str, doubted: Callable[[Finding], bool]
) -> tuple[Finding, ...]:
    """The findings, those that are `doubted` as `unknown`, and before them the reason why."""
    if not any(map(doubted, findings)):
        return tuple(findings)
    told = Finding(Outcome.UNKNOWN, reason, message)
    return (
        told,
        *(f._replace(level=Outcome.UNKNOWN) if doubted(f) else f for f in findings),
    )


def _add(run: Run, level: Outcome, reason: Reasons, message: str, evidence: Evidence) -> None:
    run.blame(reason)
    # First of its level: what ended the run explains it, whatever was noticed before.
    run.findings.insert(0, Finding(level, reason, run.clean(message), evidence))


def _place(error: BaseException) -> str:
    """File and line where the error was raised, without a path."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "(no traceback)"
    code = trace.tb_frame.f_code
    return f"at {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} in {code.co_name}"


async def execute(
    probe: Probe,
    *,
    timeout: float,
    network: Network,
    name: str = "check",
    clock: Clock | None = None,
    redactor: Redactor | None = None,
    ids: Ids | None = None,
    memory: MutableMapping[str, Any] | None = None,
    sampled: bool = True,
) -> Result:
    """One attempt of a probe by itself, as tests and tools want it."""
    runner = Runner(network, clock=clock, redactor=redactor, ids=ids)
    return await runner.attempt(probe, name=name, timeout=timeout, memory=memory, sampled=sampled)
