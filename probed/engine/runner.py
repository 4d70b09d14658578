"""One run: deadline, attempts, confirmation -> Result. What its end means is `probed.judgement`'s."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio

from probed.clock import Clock, LoopLag, SystemClock
from probed.fields import split_address
from probed.judgement import doubt_timing, outcome_of, run_judged
from probed.model import Finding, Measurement, Outcome, Result, Severity
from probed.net import Network, Resolver
from probed.net.pool import ConnectionPool
from probed.probe import CERTIFICATE_NOT_AFTER, Probe, Run, record_fault
from probed.reasons import Reason
from probed.text.redact import Redactor

if TYPE_CHECKING:
    from probed.config import Check, Config

log = logging.getLogger("probed.engine")
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


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
        """Connections that stay open between runs. Set by the owner that also sweeps the pool."""
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
        doubting: bool = True,
    ) -> Result:
        """Run the check; confirm a failure at once, on fresh connections, as often as it says.

        One deadline covers all attempts: a failure is confirmed while as much time is left as it
        took. A run that used up its deadline has watched for that long, and is not repeated; nor is one
        whose kind would ask nothing new.

        `sampled` decides from the trace id whether a first attempt's trace is kept in any case; a
        confirmation's always is. `doubting` says whether timing is `unknown` while the event loop is
        blocked; see `doubt_timing`. The result is the last attempt's; the others stand in `previous`.
        """
        ends = self.clock.monotonic() + check.timeout
        memory = {} if memory is None else memory  # a confirmation knows what came before it
        result = await self._run_check(check, check.timeout, memory, sampled, doubting=doubting)
        for _ in range(check.confirm):
            left = ends - self.clock.monotonic()
            if result.outcome is not Outcome.FAILED or left < result.duration_s:
                break
            if not check.probe.worth_repeating(memory, self.clock.time()):
                break
            confirmation = await self._run_check(
                check, left, memory, lambda _: True, doubting=doubting
            )
            result = confirmation._replace(previous=result)
        return result

    async def _run_check(
        self,
        check: Check,
        timeout: float,
        memory: MutableMapping[str, Any],
        sampled: Callable[[str], bool],
        *,
        doubting: bool,
    ) -> Result:
        trace_id = self.ids.trace()
        return await self.run_attempt(
            check.probe,
            name=check.name,
            timeout=timeout,
            memory=memory,
            trace_id=trace_id,
            sampled=sampled(trace_id),
            labels=check.labels,
            severity=check.severity,
            target=check.target,
            doubting=doubting,
        )

    async def run_attempt(
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
        target: str | None = None,
        doubting: bool = True,
    ) -> Result:
        """Run the probe once, within `timeout` seconds. Never raises but for cancellation."""
        run = self._begin(probe, timeout, memory, trace_id, sampled=sampled)
        started_at = self.clock.time()
        fault = await run_judged(run, lambda: probe.probe(run), timeout, whole=True)
        if fault is not None:
            record_fault(run, fault, first=True)
            if fault.reason is Reason.INTERNAL:
                log.error("check %s: %s", name, fault.message)
        target = self.redactor.clean(probe.target) if target is None else target
        return self._result(
            probe, name, target, run, started_at, labels, severity, doubting=doubting
        )

    async def shapes(self, check: Check) -> Mapping[str, Any] | None:
        """Return the shapes of the peer's replies; see `Probe.shapes`. Raises what a run would judge, and
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
            probe.declared,
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

    def _result(
        self,
        probe: Probe,
        name: str,
        target: str,
        run: Run,
        started_at: float,
        labels: Mapping[str, str],
        severity: Severity,
        *,
        doubting: bool,
    ) -> Result:
        measures = run.measured
        if run.certificate is not None:
            measures.append(Measurement(CERTIFICATE_NOT_AFTER, run.certificate.not_after))
        duration = self.clock.monotonic() - run.started
        findings: tuple[Finding, ...] = tuple(run.findings)
        if findings and doubting:
            findings = doubt_timing(
                findings, self.lag.blocked(run.started), duration, self.lag.culprit(run.started)
            )
        outcome = outcome_of(findings)
        return Result(
            check=name,
            probe=probe.kind,
            target=target,
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
    return await runner.run_attempt(
        probe, name=name, timeout=timeout, memory=memory, sampled=sampled
    )
