"""Spans of a Result, built after the run with the ids of the run.

The root is a CLIENT span: its id was sent in `traceparent`, so the SERVER span of a traced peer is its
child, and service graphs draw edges for such pairs only. Phases are child spans with their real times:
INTERNAL, or CLIENT with the attributes of the convention if the phase is a call. `ok`, `degraded` and
`unknown` leave the status unset; `failed` sets ERROR, with the reason as `error.type`. There are no
span events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as sdk_encode
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from probed.model import Outcome, Phase, Result
from probed.telemetry import conventions as names
from probed.telemetry.sdk import nanoseconds, scope

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

FINDINGS = 10
"""Maximum number of findings on the root span."""
MESSAGE = 256
"""Maximum number of characters of a message."""

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def count_spans(result: Result) -> int:
    """Return the number of spans that `Spans.of` will build."""
    count = 0
    attempt: Result | None = result
    while attempt is not None:
        if attempt.sampled:
            count += 1 + len(attempt.phases)
        attempt = attempt.previous
    return count


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """Return an ExportTraceServiceRequest. Costs some 25 us per span."""
    return bytes(sdk_encode(spans).SerializeToString())


class Spans:
    """Builder of the spans of Results, for one resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._scope = scope(resource)

    def of(self, result: Result) -> list[ReadableSpan]:
        """Return the spans of the sampled attempts of a run.

        Each attempt has its own trace; a confirmation links to the attempt that it confirms.
        """
        spans = self._attempt(result) if result.sampled else []
        if result.previous is not None:
            spans += self.of(result.previous)
        return spans

    def _attempt(self, result: Result) -> list[ReadableSpan]:
        trace_id, root_id = int(result.trace_id, 16), int(result.span_id, 16)
        root = SpanContext(trace_id, root_id, is_remote=False, trace_flags=_SAMPLED)
        previous = result.previous
        links = () if previous is None else (Link(_context(previous)),)
        start, check = result.started_at, _text(result.check)
        spans = [
            ReadableSpan(
                name=f"probed.check {check}",
                context=root,
                kind=SpanKind.CLIENT,
                resource=self._resource,
                attributes=_attributes(result),
                links=links,
                status=_status(result),
                start_time=nanoseconds(start),
                end_time=nanoseconds(start + result.duration_s),
                instrumentation_scope=self._scope,
            )
        ]
        for index, phase in enumerate(result.phases, 1):
            # Derived from the root's id, so that a run that is sent twice has the same spans.
            span_id = (root_id + index * _GOLDEN) & _MASK or 1
            context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
            spans.append(self._phase(phase, context, root, start, check))
        return spans

    def _phase(
        self, phase: Phase, context: SpanContext, root: SpanContext, start: float, check: str
    ) -> ReadableSpan:
        """Return the span of a phase; `start` is that of the run."""
        attributes = _called(phase) | {names.PHASE: _text(phase.name), names.CHECK: check}
        if phase.error is not None:
            attributes[names.ERROR_TYPE] = str(phase.error)
        if phase.skipped:
            attributes[names.SKIPPED] = True
        began = start + phase.start_s
        return ReadableSpan(
            name=_name(phase),
            context=context,
            parent=root,
            kind=SpanKind.CLIENT if phase.call else SpanKind.INTERNAL,
            resource=self._resource,
            attributes=attributes,
            status=_UNSET if phase.error is None else Status(StatusCode.ERROR),
            start_time=nanoseconds(began),
            end_time=nanoseconds(began + phase.duration_s),
            instrumentation_scope=self._scope,
        )


def _name(phase: Phase) -> str:
    """Return `{db.operation.name} {target}` for a database call, as its convention says, else the phase."""
    operation = phase.call.get(names.DB_OPERATION_NAME)
    if operation is None:
        return _text(phase.name)
    namespace, collection = (
        phase.call.get(key) for key in (names.DB_NAMESPACE, names.DB_COLLECTION_NAME)
    )
    target = f"{namespace}.{collection}" if collection else namespace
    return _text(f"{operation} {target}")


def _called(phase: Phase) -> dict[str, str | bool | int | float]:
    return {
        key: _text(value) if isinstance(value, str) else value
        for key, value in phase.call.items()
        if value is not None
    }


def _text(text: str) -> str:
    """Return text without lone surrogates, which protobuf cannot encode."""
    return text.encode("utf-8", "replace").decode()


def _context(result: Result) -> SpanContext:
    return SpanContext(
        int(result.trace_id, 16), int(result.span_id, 16), is_remote=False, trace_flags=_SAMPLED
    )


def _status(result: Result) -> Status:
    if result.outcome is not Outcome.FAILED:
        return _UNSET
    worst = result.worst
    return Status(StatusCode.ERROR, None if worst is None else worst.message[:MESSAGE])


def _attributes(result: Result) -> dict[str, str | bool | int | float | Sequence[str]]:
    attributes: dict[str, str | bool | int | float | Sequence[str]] = {
        name: value for name, value in result.facts.items() if value is not None
    }
    attributes |= {_text(names.LABEL + key): _text(value) for key, value in result.labels.items()}
    attributes |= {
        names.CHECK: _text(result.check),
        names.PROBE: result.probe,
        names.TARGET: result.target,
        names.OUTCOME: result.outcome.value,
        names.ATTEMPT: result.attempts,
        names.SEVERITY: result.severity.value,
        names.SYNTHETIC_TYPE: names.SYNTHETIC_TEST,
    }
    worst = result.worst
    if worst is not None:
        attributes[names.REASON] = str(worst.reason)
        if result.outcome is Outcome.FAILED:
            attributes[names.ERROR_TYPE] = str(worst.reason)
    if result.findings:
        found = result.findings[:FINDINGS]
        attributes[names.FINDING_REASONS] = [str(finding.reason) for finding in found]
        attributes[names.FINDING_MESSAGES] = [finding.message[:MESSAGE] for finding in found]
    return attributes
