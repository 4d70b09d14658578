"""The one interface that a probe author implements (`Probe`), and the handle it is given (`Run`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import asynccontextmanager
from copy import copy
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, Self, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict

from probed.clock import Clock
from probed.fields import (
    TARGETS,
    AddressChoice,
    CertificateAge,
    HostPort,
    Latency,
    Tls,
    format_duration,
)
from probed.http import BODY_LIMIT, Request, Response, fetch
from probed.model import Evidence, Fact, Finding, Measure, Measurement, MetricType, Outcome
from probed.net import AddressFamily, Network, Stream, Upgrade
from probed.net.pool import Closing, ConnectionPool, close
from probed.reasons import ProbeError, Reason, Reasons, classify, timeout_in
from probed.record import Recorder, describe, utc
from probed.text.redact import Redactor, redact_url

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
K = TypeVar("K", bound=Closing)

CERTIFICATE_NOT_AFTER = Measure(
    "probed.tls.certificate.not_after",
    unit="s",
    help="End of validity of the peer's certificate, seconds since the epoch.",
)
"""Measured of every run that saw a certificate, verified or not."""

FINDING_LIMIT = 50
EVIDENCE_LIMIT = 40
MEMORY_LIMIT = 64 * 1024


class Probe(BaseModel, ABC):
    """A way of asking. Its fields are its settings, its one coroutine asks.

    Settings are frozen and unknown keys are refused. The class's docstring is its documentation.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        defer_build=True,
        validate_default=True,
    )

    kind: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]] = ()
    reasons: ClassVar[type[Reasons] | None] = None
    notes: ClassVar[str] = ""
    """What else `probed explain` says of the kind, such as the rights that it needs."""
    hints: ClassVar[Mapping[str, str]] = {}
    """By unknown keys that people write: what to write instead."""
    declared: ClassVar[Mapping[str, Measure]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.declared = {m.name: m for m in (*cls.measures, CERTIFICATE_NOT_AFTER)}

    @property
    def target(self) -> str:
        """Whom it asks, as it may be shown. By default the first field that holds an address."""
        return self._address[0]

    @property
    def host(self) -> str:
        """The host that the limit of runs per host counts by."""
        return self._address[1]

    @cached_property
    def _address(self) -> tuple[str, str]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, TARGETS):
                return redact_url(value) if isinstance(value, str) else str(value), value.host
        return self.kind, self.kind

    @classmethod
    def remarks(cls, checks: Sequence[tuple[str, Self, float]]) -> Iterable[str]:  # noqa: ARG003
        """What `probed config check` says of the enabled checks of this kind together, such as what
        they cost: a line each. Of each check: its name, its probe, its interval in seconds.
        """
        return ()

    @abstractmethod
    async def probe(self, run: Run) -> None:
        """Ask. Returning is `ok`; `run.fail` or an exception is `failed`."""

    async def shapes(self, run: Run) -> Mapping[str, Any] | None:  # noqa: ARG002
        """What the peer's replies look like, by call: keys and types, no values. None of kinds whose
        replies have no shape. For `probed check --dump-shapes`.
        """
        return None

    def worth_repeating(self, memory: MutableMapping[str, Any], now: float) -> bool:  # noqa: ARG002
        """Whether a failed run that left this `memory` can be confirmed by a second one at once. A kind
        whose steps have a cadence of their own says False where it would ask nothing.
        """
        return True


class Run(Recorder):
    """One execution of a check, and the handle that the probe writes to.

    `memory` is what the check remembers from run to run: a small mapping that can be JSON.
    `family` says over which addresses it connects.
    """

    __slots__ = (
        "_declared",
        "family",
        "findings",
        "measured",
        "memory",
        "network",
        "pool",
        "sampled",
        "span_id",
        "timeout",
        "trace_id",
    )  # fmt: skip

    def __init__(
        self,
        probe: Probe,
        *,
        clock: Clock,
        network: Network,
        redactor: Redactor,
        trace_id: str,
        span_id: str,
        timeout: float,
        sampled: bool = False,
        memory: MutableMapping[str, Any] | None = None,
        pool: ConnectionPool | None = None,
    ) -> None:
        super().__init__(clock, redactor)
        self._declared = probe.declared
        self.network = network
        self.trace_id = trace_id
        self.span_id = span_id
        self.timeout = timeout
        self.sampled = sampled
        self.memory = {} if memory is None else memory
        self.family: AddressFamily = "any"
        self.pool = pool
        self.findings: list[Finding] = []
        self.measured: list[Measurement] = []

    @property
    def traceparent(self) -> str:
        """The W3C trace context header's value of this run."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @asynccontextmanager
    async def connect(
        self, address: HostPort, *, tls: Tls | None = None, server_name: str | None = None
    ) -> AsyncIterator[Stream]:
        """Phases `resolve`, `connect` and, where `tls` is given, `tls`; closes at the end."""
        stream = await self.network.dial(
            self,
            address.host,
            address.port,
            tls=None if tls is None else tls.options,
            server_name=server_name or (tls.server_name if tls else None),
            family=self.family,
        )
        try:
            yield stream
        finally:
            stream.close()

    @asynccontextmanager
    async def pooled(self, key: Hashable, make: Callable[[], K]) -> AsyncIterator[K]:
        """What `make` gives or, in the daemon, what it gave in a run before: a connection, say.

        It is lent to one run at a time. Outside the daemon it is closed at the end of the run, in
        it when nobody has asked for that key for long.
        """
        thing: Any = None if self.pool is None else self.pool.acquire(key)
        if thing is None:
            thing = make()
        try:
            yield thing
        finally:
            if self.pool is None or not self.pool.release(key, thing):
                await close(thing)

    async def start_tls(
        self, stream: Stream, tls: Tls, host: str, upgrade: Upgrade | None = None
    ) -> None:
        """Speak TLS on an open stream: phase `tls`. `upgrade` is what must be said on a new
        connection before it (STARTTLS), should the certificate need a second look.
        """
        await self.network.start_tls(self, stream, tls.options, tls.server_name or host, upgrade)

    async def fetch(
        self,
        request: Request,
        *,
        recorder: Recorder | None = None,
        body_limit: int = BODY_LIMIT,
        family: AddressFamily | None = None,
        redirects: int = 0,
        final: Callable[[int], bool] | None = None,
    ) -> Response:
        """Send an HTTP request on a fresh connection, with this run's `traceparent`, over the
        run's family of addresses or another. At most so many `redirects` are followed, but for a
        status that is `final`; their phases begin with `redirect/1/`.

        Phases `resolve, connect, [tls], request, wait, receive`.
        """
        extra = b"traceparent: %s\r\n" % self.traceparent.encode()
        family = family or self.family
        if redirects:
            from probed.http.redirects import follow  # noqa: PLC0415  # most follow none

            return await follow(
                recorder or self, self.network, request,
                redirects=redirects, final=final, extra=extra, body_limit=body_limit, family=family,
            )  # fmt: skip
        return await fetch(
            recorder or self,
            self.network,
            request,
            extra=extra,
            body_limit=body_limit,
            family=family,
        )

    async def by_family(self, family: AddressChoice, ask: Callable[[Run], Awaitable[None]]) -> None:
        """Ask over that family of addresses; with `both` over each at once, and each must work.

        `ask` is given the run to write to: this one, or a part of it whose phases are `ipv4/…` or
        `ipv6/…` and whose findings say so.
        """
        if family != "both":
            self.family = family
            await ask(self)
            return
        parts = [self._of_family("ipv4"), self._of_family("ipv6")]
        async with anyio.create_task_group() as tasks:
            for part in parts:
                tasks.start_soon(part.ask, ask)
        self._join(parts)

    def part(self, prefix: str) -> Run:
        """A run within this one: its phases begin with `prefix`, and what it finds, measures and
        learns stays its own, for the probe to judge. What the check remembers is shared.
        """
        part = copy(self)
        part.prefix = self.prefix + prefix
        part.findings, part.measured, part.facts = [], [], {}
        part.certificate = part.fault = part.failed_phase = None
        return part

    async def ask(self, ask: Callable[[Run], Awaitable[None]]) -> None:
        """Ask as a part of a run: what goes wrong becomes a finding of the part and ends only it,
        shortly before the run's deadline at the latest, so that there is time to judge.
        """

        async def asked() -> None:
            try:
                await ask(self)
            except EndOfRun as end:
                self.blame(end.reason)

        fault = await self.attempt(self, asked)
        if fault is not None:
            self.find(fault.level, fault.reason, fault.message, evidence=self.context())

    def _of_family(self, family: AddressFamily) -> Run:
        part = self.part(f"{family}/")
        part.family = family
        part.memory = self.memory.setdefault(family, {})
        return part

    def _join(self, parts: list[Run]) -> None:
        """Take over what the parts found. Of a gauge that each has measured the greater counts."""
        gauges: dict[tuple[str, Any], Measurement] = {}
        for part in parts:
            name = part.family.replace("ip", "IP")
            for finding in part.findings:
                if len(self.findings) < FINDING_LIMIT:
                    message = f"Over {name}: {finding.message}"
                    self.findings.append(finding._replace(message=message))
            for measured in part.measured:
                key = (measured.measure.name, measured.attributes)
                known = gauges.get(key)
                if measured.measure.kind is not MetricType.GAUGE:
                    self.measured.append(measured)
                elif known is None or known.value < measured.value:
                    gauges[key] = measured
            self.facts = {**part.facts, **self.facts}
        self.measured += gauges.values()
        seen = [part.certificate for part in parts if part.certificate is not None]
        self.certificate = min(seen, key=lambda found: found.not_after, default=None)

    def client(self, *, tls: Tls | None = None, body_limit: int = BODY_LIMIT) -> httpx2.AsyncClient:
        """An httpx2 client whose requests are phases of this run; close it with `async with`."""
        import httpx2  # noqa: PLC0415  # 80 ms that most kinds do not need

        from probed.http.client import Transport  # noqa: PLC0415

        return httpx2.AsyncClient(
            transport=Transport(
                self.network,
                self.clock,
                self.redactor,
                tls=tls,
                body_limit=body_limit,
                recorder=self,
            ),
            headers={"traceparent": self.traceparent},
            timeout=None,
            trust_env=False,
        )

    async def attempt(self, recorder: Recorder, ask: Callable[[], Awaitable[T]]) -> T | Fault:
        """Ask as one part of the run: what goes wrong is returned, so that other parts count too.

        `recorder` is what the part writes to. The part ends shortly before the run's deadline, so
        that there is time to judge. What is `internal` is raised.
        """
        left = self.timeout - (self.clock.monotonic() - self.started)
        with anyio.move_on_after(left - min(0.05 * self.timeout, 0.25)):
            try:
                return await ask()
            except Exception as error:
                reason, level = classify(error)
                if reason is Reason.INTERNAL:
                    raise
                recorder.blame(reason)
                ours = self.explain(reason) if recorder is self else reason.sentence
                message = error.message if isinstance(error, ProbeError) else ours
                return Fault(reason, level, message)
        fault = recorder.fault
        phase = recorder.failed_phase
        reason, level = (
            classify(fault)
            if fault is not None
            else (timeout_in(phase.name if phase else None), Outcome.FAILED)
        )
        recorder.blame(reason)
        return Fault(reason, level, reason.sentence)

    def measure(self, name: str, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Give a declared measure its value; of a counter, the increment.

        Raises KeyError for a measure that the class does not declare, ValueError for attributes
        other than those declared and for a number that the measure cannot take.
        """
        measure = self._declared[name]
        given = attributes or {}
        if len(given) != len(measure.attributes) or any(
            key not in given for key in measure.attributes
        ):
            raise ValueError(f"{name} has the attributes {measure.attributes}")
        if not isfinite(value) or (measure.kind is not MetricType.GAUGE and value < 0):
            raise ValueError(f"{name} cannot take the value {value}")
        cleaned = (
            tuple((key, self.clean(given[key], 128)) for key in sorted(given)) if given else ()
        )
        self.measured.append(Measurement(measure, float(value), cleaned))

    def find(
        self,
        level: Outcome,
        reason: Reasons,
        message: str | None = None,
        *,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a finding and go on. Message and evidence are cleaned here, on their way in."""
        if len(self.findings) < FINDING_LIMIT:
            text = reason.sentence if message is None else self.clean(message)
            self.findings.append(Finding(level, reason, text, self._evidence(evidence or {})))

    def degraded(self, reason: Reasons, message: str | None = None, **more: Any) -> None:
        """Record a `degraded` finding and go on; `evidence=` as for `find`."""
        self.find(Outcome.DEGRADED, reason, message, **more)

    def unknown(self, reason: Reasons, message: str | None = None, **more: Any) -> None:
        """Record that something could not be judged, and go on; `evidence=` as for `find`."""
        self.find(Outcome.UNKNOWN, reason, message, **more)

    def fail(self, reason: Reasons, message: str | None = None, **more: Any) -> NoReturn:
        """Record a `failed` finding and end the run; `evidence=` as for `find`."""
        self.find(Outcome.FAILED, reason, message, **more)
        raise EndOfRun(reason)

    def expect(
        self, condition: object, reason: Reasons, message: str | None = None, **more: Any
    ) -> None:
        """Fail unless the condition holds."""
        if not condition:
            self.fail(reason, message, **more)

    def context(self) -> dict[str, Fact]:
        """What helps a person of what is known of the peer when a run ends early."""
        shown = ("server.address", "server.port", "network.peer.address", "tls.protocol.version")
        facts = {name: self.facts[name] for name in shown if name in self.facts}
        phase = self.failed_phase
        if phase is not None:
            facts["phase"] = phase.name
        if self.certificate is not None:
            facts.update(describe(self.certificate))
        return facts

    def explain(self, reason: Reasons) -> str:
        """The reason's sentence, with what the certificate says of it."""
        certificate = self.certificate
        if certificate is not None:
            if reason is Reason.TLS_EXPIRED:
                return f"The certificate expired on {utc(certificate.not_after)}."
            if reason is Reason.TLS_NOT_YET_VALID:
                return f"The certificate is valid from {utc(certificate.not_before)} on only."
            if reason is Reason.TLS_WRONG_NAME:
                names = ", ".join(certificate.names)
                return f"The certificate was made for another name: {names}."
        if reason is Reason.TLS_CLIENT_CERTIFICATE:
            if "probed.tls.client_certificate" in self.facts:
                return "The peer did not accept our certificate."
            return "The peer wants a certificate of ours: set tls.certificate."
        return reason.sentence

    def judge_certificate(self, ages: CertificateAge) -> None:
        """Find `tls.expires_soon` where the certificate seen has less time left than `ages` says."""
        certificate = self.certificate
        if certificate is None:
            return
        left = certificate.not_after - self.clock.time()
        if left <= 0 and ages.failed is not None:
            # It was not verified, or the run would not have come here.
            self.find(
                Outcome.FAILED,
                Reason.TLS_EXPIRED,
                self.explain(Reason.TLS_EXPIRED),
                evidence=describe(certificate),
            )
            return
        for level, bound in ((Outcome.FAILED, ages.failed), (Outcome.DEGRADED, ages.degraded)):
            if bound is not None and left < bound:
                self.find(
                    level,
                    Reason.TLS_EXPIRES_SOON,
                    f"The certificate expires in {format_duration(max(0, left // 3600 * 3600))}, "
                    f"less than {format_duration(bound)}.",
                    evidence=describe(certificate),
                )
                return

    def judge_latency(self, seconds: float, bounds: Latency) -> None:
        """Find `http.slow` or `http.too_slow` where an answer took longer than `bounds` says."""
        for level, reason, bound in (
            (Outcome.FAILED, Reason.HTTP_TOO_SLOW, bounds.failed),
            (Outcome.DEGRADED, Reason.HTTP_SLOW, bounds.degraded),
        ):
            if bound is not None and seconds > bound:
                self.find(
                    level,
                    reason,
                    f"The answer took {seconds * 1000:.0f} ms to begin, "
                    f"more than {format_duration(bound)}.",
                )
                return

    def _evidence(self, given: Mapping[str, Any]) -> Evidence:
        return {
            self.clean(str(key), 64): self._value(value, depth=0)
            for key, value in list(given.items())[:EVIDENCE_LIMIT]
        }

    def _value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping) and depth < 1:
            return {
                self.clean(str(key), 64): self._value(item, depth + 1)
                for key, item in list(value.items())[:EVIDENCE_LIMIT]
            }
        if isinstance(value, list | tuple | set | frozenset) and depth < 2:
            return tuple(self._value(item, depth + 1) for item in list(value)[:EVIDENCE_LIMIT])
        return self.clean(value if isinstance(value, str | bytes) else str(value))


class Fault(NamedTuple):
    """What went wrong in a part of a run."""

    reason: Reasons
    level: Outcome
    message: str


class EndOfRun(ProbeError):  # noqa: N818  # it ends a run; what went wrong is its reason
    """`run.fail` was called: the finding stands already."""
