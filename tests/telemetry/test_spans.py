from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import StatusCode

from probed.model import Finding, Outcome, Phase, Result
from probed.telemetry.conventions import SCHEMA_URL
from probed.telemetry.sdk import sdk_resource
from probed.telemetry.spans import Spans, count_spans, encode_spans

MakeResult = Callable[..., Result]
START = 1_767_225_600_000_000_000


def spans_of(result: Result) -> list[ReadableSpan]:
    spans = Spans(sdk_resource({"service.name": "probed", "service.version": "1"})).of(result)
    assert len(spans) == count_spans(result)
    return spans


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_is_a_root_with_its_phases_as_children(result: MakeResult) -> None:
    root, resolve, connect = spans_of(result())
    assert root.name == "probed.check mx"
    assert root.kind is SpanKind.CLIENT
    assert root.parent is None
    assert f"{root.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{root.context.span_id:016x}" == "b7ad6b7169203331"
    assert (root.start_time, root.end_time) == (START, START + 20_000_000)
    assert [child.name for child in (resolve, connect)] == ["resolve", "connect"]
    for child in (resolve, connect):
        assert child.kind is SpanKind.INTERNAL
        assert child.parent == root.context
        assert child.context.trace_id == root.context.trace_id
    assert connect.start_time == pytest.approx(START + 1_000_000, abs=500)
    assert connect.end_time == pytest.approx(START + 20_000_000, abs=500)
    assert len({span.context.span_id for span in (root, resolve, connect)}) == 3


def test_the_same_run_gives_the_same_spans_again(result: MakeResult) -> None:
    first, second = spans_of(result()), spans_of(result())
    assert [s.context.span_id for s in first] == [s.context.span_id for s in second]


def test_the_root_says_what_was_asked_and_learned(result: MakeResult) -> None:
    (root, *_) = spans_of(
        result(facts={"server.address": "mx.example.com", "server.port": 25, "none": None},
               labels={"team": "mail"})
    )  # fmt: skip
    assert attributes(root) == {
        "probed.check": "mx", "probed.probe": "mail", "probed.target": "mx.example.com:25",
        "probed.outcome": "ok", "probed.attempt": 1, "probed.severity": "P2",
        "probed.label.team": "mail", "server.address": "mx.example.com", "server.port": 25,
        "user_agent.synthetic.type": "test",
    }  # fmt: skip
    assert root.status.status_code is StatusCode.UNSET
    assert root.events == ()


def test_a_failed_run_is_an_error_with_its_reason(result: MakeResult) -> None:
    failed = result(
        Outcome.FAILED,
        phases=(Phase("resolve", 0, 0.1), Phase("connect", 0.1, 0.2, "connect.refused")),
    )
    root, resolve, connect = spans_of(failed)
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == "It did not work."
    assert attributes(root)["error.type"] == "connect.refused"
    assert attributes(root)["probed.finding.reasons"] == ["connect.refused"]
    assert resolve.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(resolve)
    assert connect.status.status_code is StatusCode.ERROR
    assert attributes(connect)["error.type"] == "connect.refused"


def test_a_phase_that_was_not_come_to_is_told_from_one_that_went_well(result: MakeResult) -> None:
    _, banner, auth = spans_of(
        result(phases=(Phase("banner", 0, 0.1), Phase("auth", 0.1, 0, skipped=True)))
    )
    assert "probed.phase.skipped" not in attributes(banner)
    assert attributes(auth)["probed.phase.skipped"] is True
    assert auth.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("outcome", [Outcome.DEGRADED, Outcome.UNKNOWN])
def test_what_is_no_failure_is_no_error_but_says_why(result: MakeResult, outcome: Outcome) -> None:
    (root, *_) = spans_of(result(outcome, reason="http.slow"))
    assert root.status.status_code is StatusCode.UNSET
    found = attributes(root)
    assert (found["probed.outcome"], found["probed.reason"]) == (outcome.value, "http.slow")
    assert "error.type" not in found


def test_findings_are_bounded(result: MakeResult) -> None:
    many = tuple(Finding(Outcome.FAILED, "http.status", "x" * 1000) for _ in range(50))
    (root, *_) = spans_of(result(Outcome.FAILED, findings=many))
    found = attributes(root)
    assert len(found["probed.finding.reasons"]) == len(found["probed.finding.messages"]) == 10
    assert {len(message) for message in found["probed.finding.messages"]} == {256}


def test_a_confirmation_has_its_own_trace_and_links_to_what_it_confirms(result: MakeResult) -> None:
    first = result(Outcome.FAILED, trace_id="1" * 32, span_id="1" * 16)
    second = result(Outcome.FAILED, trace_id="2" * 32, span_id="2" * 16, previous=first)
    roots = [span for span in spans_of(second) if span.parent is None]
    assert [f"{root.context.trace_id:032x}" for root in roots] == ["2" * 32, "1" * 32]
    (link,) = roots[0].links
    assert f"{link.context.trace_id:032x}" == "1" * 32
    assert f"{link.context.span_id:016x}" == "1" * 16
    assert roots[1].links == ()
    assert [attributes(root)["probed.attempt"] for root in roots] == [2, 1]


def test_names_that_cannot_be_utf8_are_sent_nevertheless(result: MakeResult) -> None:
    odd = result(check="a\ud800", labels={"\udfff": "\udfff"}, phases=(Phase("\ud800", 0, 1),))
    request = ExportTraceServiceRequest.FromString(encode_spans(spans_of(odd)))
    names = [span.name for span in request.resource_spans[0].scope_spans[0].spans]
    assert names == ["probed.check a?", "?"]


def test_only_kept_attempts_have_spans(result: MakeResult) -> None:
    assert spans_of(result(sampled=False)) == []
    mixed = result(previous=result(Outcome.FAILED, sampled=False))
    assert len(spans_of(mixed)) == 3


def test_the_official_encoder_takes_them(result: MakeResult) -> None:
    data = encode_spans(spans_of(result(Outcome.FAILED)))
    request = ExportTraceServiceRequest.FromString(data)
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    assert resource.schema_url == scope.schema_url == SCHEMA_URL
    assert (scope.scope.name, scope.scope.version) == ("probed", "1")
    root = scope.spans[0]
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.status.code == 2
    assert scope.spans[1].parent_span_id == root.span_id
