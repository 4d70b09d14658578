"""The judgement of a run: what ended it, or a part of it, in a reason, a message and evidence; and
whether its timing can be believed.

A run as a whole and each part of it go through one entry, `run_judged`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import anyio

from probed.model import Evidence, Fact, Finding, Outcome, Result
from probed.reasons import ProbeError, Reason, Reasons, classify
from probed.record import OpenPhase, Recorder, describe, utc

T = TypeVar("T")

BLOCKED = 0.05
"""Seconds for which the event loop must have been blocked before a run's timing is doubted."""
BLOCKED_PART = 0.1
"""The part of the run's length that this must be, too."""
_NO_EVIDENCE: Evidence = {}
_SHOWN = ("server.address", "server.port", "network.peer.address", "tls.protocol.version")
"""Facts of the peer that are evidence of whatever ends a run."""


class Fault(NamedTuple):
    """The error that ended a run or a part of it. `recorded`: its finding is already recorded."""

    reason: Reasons
    level: Outcome
    message: str
    evidence: Evidence = _NO_EVIDENCE
    recorded: bool = False


class EndOfRun(ProbeError):  # noqa: N818  # it ends a run; what went wrong is its reason
    """Raised by `Run.fail`: the finding stands already."""


class TimedOut(ProbeError):  # noqa: N818  # the step has
    """Raised by `within`. `phase` is the name of the phase that was open, without its prefix."""

    def __init__(self, phase: str, seconds: float) -> None:
        reason = timeout_in(phase)
        super().__init__(reason, _after(reason, seconds))
        self.phase = phase


async def run_judged(
    recorder: Recorder, work: Callable[[], Awaitable[T]], seconds: float, *, whole: bool = False
) -> T | Fault:
    """Return what `work` returns, or what ended it, judged; it has so many `seconds`.

    Raises what is `internal.error`, unless it is the `whole` run: nobody above would judge it.
    """
    with anyio.move_on_after(seconds):
        try:
            return await work()
        except Exception as error:
            fault = _judge_end(recorder, error, seconds)
            if fault.reason is Reason.INTERNAL and not whole:
                raise
            return fault
    return _judge_end(recorder, recorder.fault, seconds)


@contextmanager
def within(recorder: Recorder, seconds: float, phase: str | None = None) -> Iterator[None]:
    """Give the block so many seconds. Raises TimedOut after them, or what had gone wrong already.

    `phase` names a phase that encloses the block; else it is the one that was left open in it.
    """
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        if phase is None and recorder.fault is not None:
            raise recorder.fault
        raise TimedOut(phase or _phase(recorder) or "connect", seconds)


def _judge_end(recorder: Recorder, error: BaseException | None, seconds: float) -> Fault:
    """The one way from an error, or from a deadline that has passed (None), to a Fault."""
    if error is None:
        if recorder.failed_phase is None:
            recorder.failed_phase = _cut_off(recorder)
        reason: Reasons = timeout_in(_phase(recorder))
        level, message = Outcome.FAILED, _after(reason, seconds)
    else:
        reason, level = classify(error)
        message = _message(recorder, error, reason)
    recorder.blame(reason)
    return Fault(reason, level, message, _evidence(recorder), _is_recorded(error))


def _cut_off(recorder: Recorder) -> OpenPhase | None:
    """Return the phase of a part that the deadline of the whole run has cut off: the latest that has
    failed and that nobody has judged.
    """
    cut = [phase for phase in recorder.own_phases if phase.failed and phase.error is None]
    return max(cut, key=lambda phase: phase.start, default=None)


def _is_recorded(error: BaseException | None) -> bool:
    if isinstance(error, ExceptionGroup):  # `run.fail` in a task of the probe's own
        return error.split(EndOfRun)[1] is None
    return isinstance(error, EndOfRun)


# --- the message


def _message(recorder: Recorder, error: BaseException, reason: Reasons) -> str:
    if isinstance(error, ProbeError) and error.message != reason.sentence:
        return error.message
    if reason is Reason.INTERNAL:
        while isinstance(error, BaseExceptionGroup):
            error = next(e for e in error.exceptions if classify(e)[0] is Reason.INTERNAL)
        # The text of an unknown error may hold anything; its type and place do not.
        return f"{reason.sentence} {type(error).__name__} {place_of(error)}"
    return explain(recorder, reason)


_OF_NAME: Mapping[Reasons, str] = {
    Reason.DNS_NXDOMAIN: "The name {name} does not exist.",
    Reason.DNS_NO_DATA: "The name {name} exists, but has no record of the requested type.",
    Reason.DNS_SERVFAIL: "The name server could not resolve {name} (SERVFAIL).",
    Reason.DNS_REFUSED: "The name server refused to resolve {name}.",
    Reason.DNS_UNREACHABLE: "No name server could be reached to resolve {name}.",
}
_OF_PEER: Mapping[Reasons, str] = {
    Reason.CONNECT_REFUSED: "Connection refused: nothing is listening on {peer}.",
    Reason.CONNECT_UNREACHABLE: "There is no route to {peer}.",
    Reason.CONNECT_PROHIBITED: "A firewall rejected the connection to {peer}.",
    Reason.CONNECT_RESET: "{peer} reset the connection.",
    Reason.CONNECT_CLOSED: "{peer} closed the connection too early.",
    Reason.CONNECT_TIMEOUT: "{peer} did not answer the connection attempt.",
    Reason.CONNECT_DENIED: "The deny list does not allow connections to {peer}.",
    Reason.CONNECT_FAILED: "The connection to {peer} failed.",
    Reason.TLS_SELF_SIGNED: "The certificate of {peer} is self-signed and not trusted.",
    Reason.TLS_UNTRUSTED: "The issuer of the certificate of {peer} is not trusted.",
    Reason.TLS_REVOKED: "The certificate of {peer} was revoked.",
    Reason.TLS_WEAK: "The certificate of {peer} has a weak key or signature.",
    Reason.TLS_CERTIFICATE: "The certificate of {peer} was not accepted.",
    Reason.TLS_NOT_TLS: "{peer} does not speak TLS.",
    Reason.TLS_VERSION: "{peer} and probed have no TLS version or cipher in common.",
    Reason.TLS_HANDSHAKE: "The TLS handshake with {peer} failed.",
}


def explain(recorder: Recorder, reason: Reasons) -> str:
    """Return the sentence of a reason with what is known: the name, the peer, its certificate."""
    peer, name = _peer(recorder), _name(recorder)
    certificate = recorder.certificate
    if certificate is not None:
        whose = f"The certificate of {peer}" if peer else "The certificate"
        if reason is Reason.TLS_EXPIRED:
            return f"{whose} expired on {utc(certificate.not_after)}."
        if reason is Reason.TLS_NOT_YET_VALID:
            return f"{whose} is not valid before {utc(certificate.not_before)}."
        if reason is Reason.TLS_WRONG_NAME:
            return f"{whose} is for another name: {', '.join(certificate.names)}."
    if reason is Reason.TLS_CLIENT_CERTIFICATE:
        if "probed.tls.client_certificate" in recorder.facts:
            return "The peer did not accept our certificate."
        return "The peer wants a certificate of ours: set tls.certificate."
    if peer and reason in _OF_PEER:
        return _OF_PEER[reason].format(peer=peer)
    if name and reason in _OF_NAME:
        return _OF_NAME[reason].format(name=name)
    return reason.sentence


def _peer(recorder: Recorder) -> str:
    """`host:port`, with the address that was dialed where it differs; a unix socket's path."""
    facts = recorder.facts
    host, port = facts.get("server.address"), facts.get("server.port")
    address = facts.get("network.peer.address")
    if facts.get("network.transport") == "unix":
        return str(address)
    if host is None or port is None:
        return ""
    where = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return where if address is None or address == host else f"{where} ({address})"


def _name(recorder: Recorder) -> str:
    """The name that was looked up when the run ended."""
    name = recorder.facts.get("dns.question.name")
    if name is None and _phase(recorder) == "resolve":
        name = recorder.facts.get("server.address")
    return "" if name is None else str(name)


def _after(reason: Reasons, seconds: float) -> str:
    return f"{reason.sentence.rstrip('.')} ({seconds:.3g} s)."


def place_of(error: BaseException) -> str:
    """Return file, line and function where the error was raised, without a path."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "(no traceback)"
    code = trace.tb_frame.f_code
    return f"at {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} in {code.co_name}"


# --- the evidence


def _evidence(recorder: Recorder) -> dict[str, Fact]:
    """Return the facts about the peer that help when a run ends early."""
    facts = {name: recorder.facts[name] for name in _SHOWN if name in recorder.facts}
    phase = recorder.failed_phase
    if phase is not None:
        facts["phase"] = phase.name
    if recorder.certificate is not None:
        facts.update(describe(recorder.certificate))
    found = {**recorder.evidence, **facts}
    return {name: recorder.clean_fact(value) for name, value in found.items()}


def _phase(recorder: Recorder) -> str | None:
    """The name of the phase that was left open, without its prefix."""
    phase = recorder.failed_phase
    return None if phase is None else phase.name.rpartition("/")[2]


TIMEOUTS: dict[str, Reason] = {
    "resolve": Reason.TIMEOUT_RESOLVE,
    "connect": Reason.TIMEOUT_CONNECT,
    "tls": Reason.TIMEOUT_TLS,
    "starttls": Reason.TIMEOUT_TLS,
    "request": Reason.TIMEOUT_REQUEST,
    "wait": Reason.TIMEOUT_WAIT,
    "receive": Reason.TIMEOUT_RECEIVE,
    "banner": Reason.TIMEOUT_BANNER,
    "query": Reason.TIMEOUT_QUERY,
    **dict.fromkeys(("ehlo", "ehlo_tls", "mail", "rcpt", "rset", "data"), Reason.TIMEOUT_COMMAND),
    "auth": Reason.TIMEOUT_AUTH,
}


def timeout_in(phase: str | None) -> Reason:
    """The reason of a deadline that passed in `phase` (`upstream/billing/wait` counts as `wait`)."""
    return TIMEOUTS.get((phase or "").rpartition("/")[2], Reason.TIMEOUT_RUN)


# --- the doubt

_TIMED = {"slow", "too_slow", "banner_slow", "latency_trend", "timeout"}
_GIVEN_UP = {Reason.CONNECT_RESET, Reason.CONNECT_CLOSED}


def doubt_timing(
    findings: Sequence[Finding], blocked: float, duration: float, culprit: str = ""
) -> tuple[Finding, ...]:
    """Return the findings of a run, `unknown` where they rest on time in which the event loop was
    `blocked`, by the `culprit` if that is known. Both times are in seconds.

    A doubt does not last: the check runs again as soon as the loop is on time, and that run, or else the
    next one that is due, is judged by what it says. Else a busy machine would hide every outage.
    """
    if blocked < max(BLOCKED, duration * BLOCKED_PART):
        return tuple(findings)
    by = f" by {culprit}" if culprit else ""
    message = (
        f"probed's event loop was blocked for {blocked:.2g} s{by}, so this timing is unreliable."
    )
    return excuse(
        findings, Reason.SELF_OVERLOADED, message, lambda found: _is_timed(found.reason, blocked)
    )


def is_doubted(result: Result) -> bool:
    """Whether timing in the result was doubted."""
    return result.outcome is Outcome.UNKNOWN and any(
        found.reason == Reason.SELF_OVERLOADED for found in result.findings
    )


def is_doubted_failure(result: Result) -> bool:
    """Whether the result would be a failure but for the doubt."""
    return is_doubted(result) and any(
        found.reason.partition(".")[0] == "timeout" or found.reason in _GIVEN_UP
        for found in result.findings
    )


def _is_timed(reason: str, blocked: float) -> bool:
    """Whether the reason says how long something took; or that the peer gave up, which it may have
    done because this process was blocked for so long.
    """
    area, _, cause = reason.partition(".")
    return area == "timeout" or cause in _TIMED or (blocked >= 1.0 and reason in _GIVEN_UP)


def excuse(
    findings: Sequence[Finding], reason: Reason, message: str, doubted: Callable[[Finding], bool]
) -> tuple[Finding, ...]:
    """Return the findings, those that are `doubted` as `unknown`, and before them the reason why."""
    if not any(map(doubted, findings)):
        return tuple(findings)
    why = Finding(Outcome.UNKNOWN, reason, message)
    return (
        why,
        *(f._replace(level=Outcome.UNKNOWN) if doubted(f) else f for f in findings),
    )


def outcome_of(findings: Sequence[Finding]) -> Outcome:
    """Return the worst level of the findings; `ok` without any."""
    return max((f.level for f in findings), key=_rank, default=Outcome.OK)


def _rank(outcome: Outcome) -> int:
    return outcome.rank
