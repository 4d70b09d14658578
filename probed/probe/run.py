"""The handle that a probe writes to (`Run`); a part of a run is one, too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from copy import copy
from enum import Enum
from math import isfinite
from typing import Any, NoReturn, TypeVar

from probed.clock import Clock
from probed.fields import HostPort, Thresholds, Tls
from probed.http import BODY_LIMIT, Request, Response, fetch
from probed.judgement import EndOfRun, Fault, outcome_of, run_judged
from probed.model import Evidence, Finding, Measure, Measurement, MetricType, Outcome
from probed.net import AddressFamily, Network, Stream
from probed.net.pool import ConnectionPool
from probed.reasons import Reasons
from probed.record import Recorder, earliest
from probed.text.redact import Redactor

T = TypeVar("T")

CERTIFICATE_NOT_AFTER = Measure(
    "probed.tls.certificate.not_after",
    unit="s",
    help="End of validity of the peer's certificate, seconds since the epoch.",
)
"""Measured of every run that saw a certificate, verified or not."""

FINDING_LIMIT = 50
EVIDENCE_LIMIT = 40
MEMORY_LIMIT = 64 * 1024
GUARD_RESERVE = 0.05
"""The reserve (see `Run.remaining`) in which a run judges what its parts found."""
RESERVED_OF = 5.0
"""Seconds of a run's timeout that a reserve is a part of, at most."""


class Rule(Enum):
    """How bad the findings of parts are for the run that joins them."""

    ANY_FAILS = "as bad as they are: each part must work"
    ALL_FAIL = "degraded at most while one of the parts works"
    SOFTENED = "degraded at most"


class Run(Recorder):
    """One execution of a check, and the handle that the probe writes to. A part of it is one, too.

    `memory` is what the check remembers from run to run: a small mapping that can be JSON.
    `family` says over which addresses it connects. `timeout` is in seconds.
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
        declared: Mapping[str, Measure],
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
        self._declared = declared
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

    # --- asking

    @asynccontextmanager
    async def connect(
        self, address: HostPort, *, tls: Tls | None = None, server_name: str | None = None
    ) -> AsyncIterator[Stream]:
        """Open a stream: phases `resolve`, `connect` and, where `tls` is given, `tls`. It is closed
        at the end.

        Raises OSError, ssl.SSLError or ProbeError.
        """
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

    async def fetch(
        self,
        request: Request,
        *,
        body_limit: int = BODY_LIMIT,
        redirects: int = 0,
        final: Callable[[int], bool] | None = None,
    ) -> Response:
        """Send an HTTP request on a fresh connection, with this run's `traceparent`, over the run's
        address family. At most so many `redirects` are followed, but for a status that is `final`;
        their phases begin with `redirect/1/`. `body_limit` is in bytes.

        Phases `resolve, connect, [tls], request, wait, receive`. Raises OSError, ssl.SSLError or
        ProbeError.
        """
        extra = b"traceparent: %s\r\n" % self.traceparent.encode()
        if redirects:
            from probed.http.redirects import follow  # noqa: PLC0415  # most follow none

            return await follow(
                self, self.network, request, redirects=redirects, final=final, extra=extra,
                body_limit=body_limit, family=self.family,
            )  # fmt: skip
        return await fetch(
            self, self.network, request, extra=extra, body_limit=body_limit, family=self.family
        )

    # --- parts, and time

    def part(self, name: str = "") -> Run:
        """Return a run within this one: its phases are `name/…`, and what it finds, measures and
        learns stays its own until it is joined. What the check remembers is shared.
        """
        part = copy(self)
        part.prefix = f"{self.prefix}{name}/" if name else self.prefix
        part.findings, part.measured = [], []
        part.facts, part.evidence = {}, {}
        part.certificate = part.fault = part.failed_phase = None
        return part

    async def guard(self, work: Callable[[], Awaitable[T]]) -> T | Fault:
        """Return what the work of this part returns, or what ended it, so that other parts count too.

        It ends shortly before the run's deadline, so that there is time to judge. Raises what is
        `internal.error`.
        """
        return await run_judged(self, work, self.remaining(GUARD_RESERVE))

    async def run_part(self, work: Callable[[Run], Awaitable[None]]) -> None:
        """Do the work of this part, guarded: what ends it becomes a finding."""
        fault = await self.guard(lambda: work(self))
        if fault is not None:
            record_fault(self, fault)

    def join(
        self,
        parts: Mapping[str, Run],
        rule: Rule = Rule.ANY_FAILS,
        *,
        softens: Callable[[Finding], bool] = lambda _: True,
        findings: bool = True,
    ) -> None:
        """Take over what the parts found and measured, and the certificate that expires first.

        Messages begin with the part's key, unless that is empty. Of gauges that several parts
        measured the greatest counts; under `ALL_FAIL` only those of the first part that works, and
        its certificate. `softens` says which findings the rule applies to. Facts stay the parts'.
        """
        works = [part for part in parts.values() if _works(part)]
        if findings:
            soft = rule is Rule.SOFTENED or (rule is Rule.ALL_FAIL and bool(works))
            for name, part in parts.items():
                for finding in part.findings:
                    self._adopt(name, finding, soften=soft and softens(finding))
        speaking = list(parts.values())
        if rule is Rule.ALL_FAIL:
            leading = works[0] if works else speaking[0]
            self.measured += [
                m for part in speaking for m in part.measured
                if part is not leading and m.measure.kind is not MetricType.GAUGE
            ]  # fmt: skip
            speaking = [leading]
        self._add_measured(m for part in speaking for m in part.measured)
        seen = [self.certificate, *(part.certificate for part in speaking)]
        self.certificate = earliest(seen)

    def _adopt(self, name: str, finding: Finding, *, soften: bool) -> None:
        if len(self.findings) < FINDING_LIMIT:
            level = finding.level
            if soften and level.rank > Outcome.DEGRADED.rank:
                level = Outcome.DEGRADED
            message = f"{name}: {finding.message}" if name else finding.message
            self.findings.append(finding._replace(level=level, message=message))

    def _add_measured(self, measured: Iterable[Measurement]) -> None:
        gauges: dict[tuple[str, Any], int] = {}
        for each in measured:
            key = each.measure.name, each.attributes
            at = gauges.get(key)
            if at is None or each.measure.kind is not MetricType.GAUGE:
                gauges[key] = len(self.measured)
                self.measured.append(each)
            elif self.measured[at].value < each.value:
                self.measured[at] = each

    def remaining(self, reserve: float = 0.0) -> float:
        """Return the seconds that are left until the run's deadline, but for a reserve: that part of
        its timeout, of which 5 s count at most. Never negative.
        """
        left = self.timeout - (self.clock.monotonic() - self.started)
        return max(0.0, left - reserve * min(self.timeout, RESERVED_OF))

    # --- what comes of it

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
            self.findings.append(Finding(level, reason, text, _cleaned(evidence or {}, self)))

    def degraded(self, reason: Reasons, message: str | None = None, **more: Any) -> None:
        """Record a `degraded` finding and go on; `evidence=` as for `find`."""
        self.find(Outcome.DEGRADED, reason, message, **more)

    def unknown(self, reason: Reasons, message: str | None = None, **more: Any) -> None:
        """Record that something could not be judged, and go on; `evidence=` as for `find`."""
        self.find(Outcome.UNKNOWN, reason, message, **more)

    def fail(self, reason: Reasons, message: str | None = None, **more: Any) -> NoReturn:
        """Record a `failed` finding and end the run or its part; `evidence=` as for `find`."""
        self.find(Outcome.FAILED, reason, message, **more)
        raise EndOfRun(reason)

    def expect(
        self, condition: object, reason: Reasons, message: str | None = None, **more: Any
    ) -> None:
        """Fail unless the condition holds."""
        if not condition:
            self.fail(reason, message, **more)

    def judge(
        self,
        value: float,
        bounds: Thresholds,
        reason: Reasons,
        message: Callable[[float], str],
        *,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """Find the reason where the value crosses a threshold; `message` is given that threshold."""
        crossed = bounds.crossed(value)
        if crossed is not None:
            level, bound = crossed
            self.find(level, reason, message(bound), evidence=evidence)


def record_fault(run: Run, fault: Fault, *, first: bool = False) -> None:
    """Record what ended a part of a run. With `first` it stands before all that was noticed earlier:
    what ended a whole run explains it.
    """
    if not fault.recorded:
        found = Finding(fault.level, fault.reason, run.clean(fault.message), fault.evidence)
        run.findings.insert(0 if first else len(run.findings), found)


def _works(part: Run) -> bool:
    return outcome_of(part.findings) in {Outcome.OK, Outcome.DEGRADED}


def _cleaned(given: Mapping[str, Any], run: Run) -> Evidence:
    return {
        run.clean(str(key), 64): _value(value, run, depth=0)
        for key, value in list(given.items())[:EVIDENCE_LIMIT]
    }


def _value(value: Any, run: Run, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth < 1:
        return {
            run.clean(str(key), 64): _value(item, run, depth + 1)
            for key, item in list(value.items())[:EVIDENCE_LIMIT]
        }
    if isinstance(value, list | tuple | set | frozenset) and depth < 2:
        return tuple(_value(item, run, depth + 1) for item in list(value)[:EVIDENCE_LIMIT])
    return run.clean(value if isinstance(value, str | bytes) else str(value))
