"""The record of a run in progress: phases, facts about the peer, its certificate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from probed.clock import Clock
from probed.model import Fact, Phase, Scalar
from probed.text.redact import Redactor

NO_CALL: Mapping[str, Scalar] = {}
PHASE_LIMIT = 256
"""Phases that one run may record; what comes after is not written down."""


class Certificate(NamedTuple):
    """Facts of a peer's leaf certificate. Times are seconds since the epoch."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    serial: str
    verified: bool


def describe(certificate: Certificate) -> dict[str, Scalar]:
    """The certificate as evidence, its times in UTC."""
    return {
        "certificate.subject": certificate.subject,
        "certificate.issuer": certificate.issuer,
        "certificate.names": ", ".join(certificate.names),
        "certificate.not_before": utc(certificate.not_before),
        "certificate.not_after": utc(certificate.not_after),
    }


def earliest(certificates: Iterable[Certificate | None]) -> Certificate | None:
    """Return the certificate that expires first; None without any."""
    seen = [each for each in certificates if each is not None]
    return min(seen, key=lambda each: each.not_after, default=None)


def utc(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


class OpenPhase:
    """A phase that goes on; the `with` block is its length."""

    __slots__ = ("call", "duration", "error", "failed", "name", "recorder", "skipped", "start")

    def __init__(self, recorder: Recorder, name: str, call: Mapping[str, Scalar]) -> None:
        self.recorder = recorder
        self.name = name
        self.call = call
        self.start = 0.0
        self.duration = 0.0
        self.failed = False
        self.skipped = False
        self.error: str | None = None

    def __enter__(self) -> Self:
        recorder = self.recorder
        self.start = recorder.clock.monotonic() - recorder.started
        if len(recorder.phases) < PHASE_LIMIT:
            recorder.phases.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        recorder = self.recorder
        del self.recorder  # it holds us: garbage of each run that only a search would find
        self.duration = recorder.clock.monotonic() - recorder.started - self.start
        if kind is not None:
            self.failed = True
            innermost = recorder.failed_phase
            if innermost is None or self.start > innermost.start:
                recorder.failed_phase = self


class Recorder:
    """Phases and facts of one run. `prefix` goes before the names of phases (`upstream/billing/`).

    `started` is on the clock's monotonic time; all phases count from there.
    """

    __slots__ = (
        "certificate",
        "clock",
        "evidence",
        "facts",
        "failed_phase",
        "fault",
        "phases",
        "prefix",
        "redactor",
        "started",
    )

    def __init__(self, clock: Clock, redactor: Redactor) -> None:
        self.clock = clock
        self.redactor = redactor
        self.started = clock.monotonic()
        self.prefix = ""
        self.phases: list[OpenPhase] = []
        self.facts: dict[str, Fact] = {}
        self.evidence: dict[str, Fact] = {}
        """Evidence that is shown only if a fault ends the run."""
        self.certificate: Certificate | None = None
        self.failed_phase: OpenPhase | None = None
        """The innermost phase that was open when the run failed: the one that began last."""
        self.fault: BaseException | None = None
        """The error so far, in case the deadline passes during a further examination."""

    def phase(self, name: str, call: Mapping[str, Scalar] = NO_CALL) -> OpenPhase:
        """Time the `with` block as a phase of that name; left by an exception, it has failed.

        `call` makes it a CLIENT span with these attributes (`db.operation.name`, ...).
        """
        return OpenPhase(self, self.prefix + name, call)

    def skip(self, name: str) -> None:
        """Note that the run does not come to a phase of that name: it was not asked, so it is not ok."""
        with self.phase(name) as phase:
            phase.skipped = True

    @contextmanager
    def prefixed(self, prefix: str) -> Iterator[None]:
        """Put `prefix` before the names of the phases that begin in the `with` block."""
        before, self.prefix = self.prefix, self.prefix + prefix
        try:
            yield
        finally:
            self.prefix = before

    def fact(self, name: str, value: Fact) -> None:
        """Note a fact. Text is cleaned here, on its way in."""
        self.facts[name] = self.clean_fact(value)

    def clean_fact(self, value: Fact) -> Fact:
        """Return the value; text in it is one safe line that holds no known secret."""
        if isinstance(value, tuple):
            return tuple(map(self.clean, value))
        return self.clean(value) if isinstance(value, str) else value

    def clean(self, text: str | bytes, limit: int = 512) -> str:
        """Foreign text as one safe line that holds no known secret."""
        return self.redactor.clean(text, limit)

    @property
    def own_phases(self) -> list[OpenPhase]:
        """Those under our own prefix, which no other part of the run has."""
        return [phase for phase in self.phases if phase.name.startswith(self.prefix)]

    def blame(self, reason: str) -> None:
        """Say why the phase that was left open has failed."""
        phase = self.failed_phase
        if phase is not None:
            phase.error = reason

    def _cleaned(self, call: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
        return {
            name: self.redactor.clean(value) if isinstance(value, str) else value
            for name, value in call.items()
        }

    def finished_phases(self) -> tuple[Phase, ...]:
        return tuple(
            Phase(
                self.redactor.clean(p.name),
                p.start,
                p.duration,
                p.error or ("failed" if p.failed else None),
                self._cleaned(p.call) if p.call else p.call,
                p.skipped,
            )
            for p in sorted(self.phases, key=_start)
        )


def _start(phase: OpenPhase) -> float:
    return phase.start
