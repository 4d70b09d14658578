"""Every row of the gateway's verdict table, over a real wire."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from probed.config import loads
from probed.config.show import show
from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network
from probed.registry import Registry
from probed.testing.certificates import Authority
from probed.testing.leaks import no_leaks
from probed.testing.peer import Peer
from probed.testing.servers import serve
from probed.testing.webserver import Answer, HttpServer, http_server
from probes.gateway import GatewayProbe

pytestmark = pytest.mark.anyio


async def ask(url: str, *, timeout: float = 2.0, **settings: Any) -> Result:
    async with no_leaks():
        return await execute(GatewayProbe(url=url, **settings), network=Network(), timeout=timeout)


async def answered(answer: Answer, **settings: Any) -> Result:
    async with http_server({"/": answer}) as server:
        return await ask(server.url(), **settings)


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def body(document: Mapping[str, Any], status: int = 200, kind: str = "application/json") -> Answer:
    return Answer(status=status, headers={"Content-Type": kind}, body=json.dumps(document))


async def test_an_expected_status_is_ok_and_everything_is_measured() -> None:
    result = await answered(Answer(body="hello"))
    assert result.outcome is Outcome.OK
    measured = {m.measure.name: m for m in result.measures}
    duration = measured["http.client.request.duration"]
    assert 0 < duration.value < 1
    assert dict(duration.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": "200",
    }
    assert measured["probed.http.response.body.size"].value == 5
    assert measured["probed.http.response.status_code"].value == 200


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ("unknown", "http.unauthorized")),
        (403, ("unknown", "http.unauthorized")),
        (404, ("failed", "http.status")),
        (429, ("unknown", "http.rate_limited")),
        (500, ("failed", "http.status")),
        (502, ("failed", "http.bad_gateway")),
        (503, ("failed", "http.unavailable")),
        (504, ("failed", "http.gateway_timeout")),
    ],
)
async def test_an_unexpected_status_has_its_reason(status: int, expected: tuple[str, str]) -> None:
    result = await answered(Answer(status=status, body="text\x1b[0m", headers={"Server": "edge"}))
    assert found(result) == [expected]
    evidence = result.findings[0].evidence
    assert evidence["status"] == status
    assert evidence["server"] == "edge"
    assert evidence["body"] == "text\\x1b[0m"


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_a_status_that_is_listed_is_ok(status: int) -> None:
    result = await answered(Answer(status=status), status=[200, f"{status}-{status}"])
    assert result.outcome is Outcome.OK


async def test_a_redirect_is_not_followed_and_only_its_origin_is_shown() -> None:
    answer = Answer(status=302, headers={"Location": "https://login.test:444/a?token=hunter2"})
    result = await answered(answer)
    assert found(result) == [("failed", "http.redirected")]
    assert result.findings[0].evidence["location"] == "https://login.test:444"
    assert "hunter2" not in repr(result)


async def test_envoy_that_sheds_load_is_an_open_circuit() -> None:
    answer = Answer(status=503, headers={"X-Envoy-Overloaded": "true", "Retry-After": "5"})
    result = await answered(answer)
    assert found(result) == [("failed", "http.unavailable"), ("failed", "gateway.circuit_open")]
    assert result.findings[0].evidence["retry-after"] == "5"


async def test_a_slow_answer_is_degraded_and_a_too_slow_one_failed() -> None:
    latency = {"degraded": "20ms", "failed": "10s"}
    result = await answered(Answer(delay=0.1), latency=latency)
    assert found(result) == [("degraded", "http.slow")]
    result = await answered(Answer(delay=0.1), latency={"degraded": "10ms", "failed": "20ms"})
    assert found(result) == [("failed", "http.too_slow")]


async def test_a_body_over_the_limit_is_degraded() -> None:
    result = await answered(Answer(body="x" * 3000), body_limit="2KiB")
    assert found(result) == [("degraded", "http.body_too_large")]


async def test_an_encoding_that_cannot_be_undone_is_degraded() -> None:
    result = await answered(Answer(headers={"Content-Encoding": "br"}, body="hello"))
    assert found(result) == [("degraded", "http.encoding")]


UP = {"status": "UP", "components": {"db": {"status": "UP"}}}


async def test_a_service_that_says_it_is_well_is_ok() -> None:
    result = await answered(body(UP))
    assert result.outcome is Outcome.OK
    component = next(
        m for m in result.measures if m.measure.name == "probed.gateway.component.status"
    )
    assert (component.value, dict(component.attributes)) == (
        1.0,
        {"component": "db", "kind": "component", "state": "ok"},
    )


async def test_a_service_that_says_it_is_down_has_failed_whatever_the_status() -> None:
    down = {"status": "DOWN", "components": {"db": {"status": "DOWN"}, "disk": {"status": "UP"}}}
    result = await answered(body(down))
    assert found(result) == [("failed", "health.down")]
    assert "db (DOWN)" in result.findings[0].message
    result = await answered(body(down, 503))
    assert found(result) == [("failed", "http.unavailable"), ("failed", "health.down")]


async def test_a_failing_status_with_a_good_body_names_the_contradiction() -> None:
    result = await answered(body(UP, 500))
    assert found(result) == [("failed", "http.status")]
    assert "contradiction" in result.findings[0].evidence


async def test_a_part_that_is_down_degrades_a_service_that_is_up() -> None:
    document = {"status": "UP", "components": {"cache": {"status": "DOWN"}}}
    result = await answered(body(document))
    assert found(result) == [("degraded", "health.degraded")]


async def test_a_warning_is_degraded() -> None:
    document = {"status": "warn", "checks": {"disk": [{"status": "warn", "output": "90 %"}]}}
    result = await answered(body(document, kind="application/health+json"))
    assert found(result) == [("degraded", "health.degraded")]


async def test_a_service_that_cannot_say_is_unknown() -> None:
    result = await answered(
        body({"status": "UNKNOWN", "components": {"db": {"status": "UNKNOWN"}}})
    )
    assert found(result) == [("unknown", "health.unknown")]


async def test_a_required_component_must_be_there_and_be_ok() -> None:
    result = await answered(body(UP), health={"require": ["db", "redis"]})
    assert found(result) == [("failed", "health.component_missing")]
    document = {"status": "UP", "components": {"db": {"status": "DOWN"}}}
    result = await answered(body(document), health={"require": ["db"]})
    assert ("failed", "health.down") in found(result)
    document = {"status": "UP", "components": {"db": {"status": "UNKNOWN"}}}
    result = await answered(body(document), health={"require": ["db"]})
    assert found(result) == [("unknown", "health.unknown")]


async def test_what_is_required_is_missing_from_a_body_that_is_no_health_document() -> None:
    result = await answered(Answer(body="<html>"), health={"require": ["db"]})
    assert found(result) == [("failed", "health.component_missing")]


def breakers(state: str, status: str = "UNKNOWN") -> dict[str, Any]:
    details = {
        "billing": {"status": "UNKNOWN", "details": {"state": state, "failureRate": "60.0%"}}
    }
    return {
        "status": "UP",
        "components": {"circuitBreakers": {"status": status, "details": details}},
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("OPEN", ("degraded", "gateway.circuit_open")),
        ("FORCED_OPEN", ("degraded", "gateway.circuit_open")),
        ("HALF_OPEN", ("degraded", "gateway.circuit_half_open")),
    ],
)
async def test_an_open_breaker_is_found_under_an_unknown_aggregate(
    state: str, expected: tuple[str, str]
) -> None:
    result = await answered(body(breakers(state)))
    assert found(result) == [expected]
    assert "billing" in result.findings[0].message


async def test_a_closed_breaker_is_nothing_to_find() -> None:
    result = await answered(body(breakers("CLOSED", "UP")))
    assert result.outcome is Outcome.OK


async def test_with_a_fixed_format_another_body_has_failed() -> None:
    result = await answered(Answer(body="hello"), health={"format": "actuator"})
    assert found(result) == [("failed", "http.not_json")]


async def upstreams(
    gateway: Answer, *servers: HttpServer, more: list[dict[str, str]] | None = None
) -> Result:
    listed = [{"name": f"u{i}", "url": server.url()} for i, server in enumerate(servers)]
    return await answered(gateway, upstreams=[*listed, *(more or [])])


async def test_upstreams_that_answer_while_the_gateway_does_not_blame_the_routing() -> None:
    async with http_server({"/": Answer()}) as one, http_server({"/": Answer()}) as two:
        result = await upstreams(Answer(status=502), one, two)
    assert found(result) == [("failed", "http.bad_gateway"), ("failed", "gateway.routing")]
    assert "u0, u1" in result.findings[1].message
    assert {p.name for p in result.phases} >= {"wait", "upstream/u0/wait", "upstream/u1/receive"}


async def test_an_upstream_that_fails_too_is_named_as_the_cause_with_its_phase() -> None:
    async with http_server({"/": Answer()}) as one, serve("refused") as dead:
        bad = {"name": "billing", "url": f"http://127.0.0.1:{dead.port}/"}
        result = await upstreams(Answer(status=503), one, more=[bad])
    assert found(result) == [("failed", "http.unavailable"), ("failed", "gateway.upstream_down")]
    assert "billing" in result.findings[1].message
    assert "(connect)" in result.findings[1].message
    assert result.findings[1].evidence == {"billing": "connect.refused"}


async def test_a_failing_upstream_behind_a_good_gateway_is_degraded_and_all_of_them_failed() -> (
    None
):
    async with http_server({"/": Answer()}) as one, serve("refused") as dead:
        bad = {"name": "billing", "url": f"http://127.0.0.1:{dead.port}/"}
        result = await upstreams(Answer(), one, more=[bad])
        assert found(result) == [("degraded", "gateway.upstream_down")]
        result = await upstreams(Answer(), more=[bad])
        assert found(result) == [("failed", "gateway.upstream_down")]


async def test_an_upstream_that_says_it_is_down_counts_as_failing() -> None:
    async with http_server({"/": body({"status": "DOWN"})}) as one:
        result = await upstreams(Answer(status=502), one)
    assert ("failed", "gateway.upstream_down") in found(result)


async def test_a_gateway_that_hangs_because_of_an_upstream_that_hangs_names_both() -> None:
    async with serve("silent") as gateway, serve("silent") as behind:
        result = await ask(
            f"http://127.0.0.1:{gateway.port}/",
            timeout=0.4,
            upstreams=[{"name": "billing", "url": f"http://127.0.0.1:{behind.port}/"}],
        )
    assert found(result) == [("failed", "timeout.wait"), ("failed", "gateway.upstream_down")]
    assert result.findings[1].evidence == {"billing": "timeout.wait"}
    assert result.duration_s < 0.7


async def test_an_upstream_that_could_not_be_judged_is_not_called_down() -> None:
    async with http_server({"/": Answer(status=403)}) as one:
        result = await upstreams(Answer(status=502), one)
    assert found(result) == [("failed", "http.bad_gateway"), ("unknown", "http.unauthorized")]


async def test_the_trace_goes_out_and_all_requests_share_it() -> None:
    async with http_server({"/": Answer()}) as gateway, http_server({"/": Answer()}) as behind:
        result = await ask(gateway.url(), upstreams=[{"name": "u", "url": behind.url()}])
        sent = [server.requests[0].headers["traceparent"] for server in (gateway, behind)]
    assert sent == [f"00-{result.trace_id}-{result.span_id}-01"] * 2


async def test_headers_go_out_and_are_shown_nowhere() -> None:
    async with http_server({"/": Answer(status=500)}) as server:
        result = await ask(server.url(), headers={"X-Key": "hunter2canary"})
        assert server.requests[0].headers["x-key"] == "hunter2canary"
    assert "hunter2canary" not in repr(result)


@pytest.mark.parametrize(
    ("days", "expected"),
    [(2.0, ("failed", "tls.expires_soon")), (10.0, ("degraded", "tls.expires_soon")), (90.0, None)],
)
async def test_a_certificate_that_expires_soon(
    days: float, expected: tuple[str, str] | None, tmp_path: Path
) -> None:
    authority = Authority()
    context = authority.issue("localhost", days=days).context
    async with http_server({"/": Answer()}, tls=context) as server:
        result = await ask(server.url(host="localhost"), tls={"ca": authority.pem_file(tmp_path)})
    assert found(result) == ([expected] if expected else [])
    assert any(m.measure.name == "probed.tls.certificate.not_after" for m in result.measures)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"status": []}, "at least 1 item"),
        ({"status": ["2xx"]}, "write statuses as 200 or 200-299"),
        ({"status": [99]}, "write statuses as 200 or 200-299"),
        ({"status": ["300-200"]}, "write statuses as 200 or 200-299"),
        ({"headers": {"X": "a\nb"}}, "cannot be sent"),
        ({"headers": {"Connection": "keep-alive"}}, "is ours to set"),
        ({"url": "https://u:p@a.test/"}, "no user or password in a URL"),
        ({"url": "ftp://a.test/"}, "http:// or https:// URL"),
        ({"url": "http://a.test:99999/"}, "not a URL"),
        ({"url": "http://a b/"}, "percent-encoding"),
        (
            {"upstreams": [{"name": "a", "url": "http://a/"}] * 2},
            "two upstreams have the same name",
        ),
        ({"body_limit": "1 parsec"}, "write a size"),
        ({"latency": {"degraded": 5}}, "write a duration with its unit"),
        ({"certificate": {"failed": "soon"}}, "write a duration with its unit"),
        ({"healht": {}}, "Extra inputs"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_without_its_value(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        GatewayProbe(**({"url": "http://a.test/"} | settings))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("setting", "shown"),
    [("", ["200-299"]), ("status: [204, 300-302]", ["204", "300-302"]), ("status: 200", ["200"])],
)
def test_the_statuses_are_shown_as_they_are_written(setting: str, shown: list[str]) -> None:
    text = f"checks: [{{name: a, probe: gateway, url: 'http://a.test/', {setting}}}]"
    config = loads(text, Registry(), environ={})
    again = show(config)
    assert yaml.safe_load(again)["checks"][0]["status"] == shown
    assert loads(again, Registry(), environ={}).checks == config.checks


DOWN = json.dumps({"status": "DOWN", "components": {"db": {"status": "DOWN"}}})


@pytest.mark.parametrize(
    "text", [DOWN[:30], DOWN[:-1], "{", '{"a": 1} x', "[1, 2", '[{"a": 1}', '{"status']
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_half_a_document_is_not_ok(text: str, kind: str) -> None:
    result = await answered(Answer(headers={"Content-Type": kind}, body=text))
    assert found(result) == [("failed", "http.not_json")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "[+]ping ok\nhealthz check passed\n",
        "[INFO] well",
        "{{ template }}",
        "{x}",
        "null",
        "{}",
        "[]",
    ],
)
async def test_other_text_is_no_half_document(text: str) -> None:
    result = await answered(Answer(headers={"Content-Type": "application/json"}, body=text))
    assert result.outcome is Outcome.OK, result.findings


@pytest.mark.parametrize("cut", [12, 30, -9, -4, -1])
async def test_a_compressed_body_that_is_cut_off_is_not_ok(cut: int) -> None:
    whole = gzip.compress(DOWN.encode() * 3)
    answer = Answer(headers={"Content-Encoding": "gzip"}, body=whole[:cut])
    assert found(await answered(answer)) == [("degraded", "http.encoding")]


@pytest.mark.parametrize(
    "line",
    ["RTSP/1.0 200 OK", "ICE/1.0 200 OK", "HTCPCP/1.0 200 OK", "SIP/2.0 200 OK", "http/1.1 200 OK"],
)
async def test_other_protocols_that_look_alike_are_not_ok(line: str) -> None:
    async def talk(peer: Peer) -> None:
        await peer.receive()
        await peer.send(f"{line}\r\nContent-Length: 2\r\n\r\nok".encode())

    async with serve(talk) as server:
        result = await ask(f"http://{server.address}/")
    assert found(result) == [("failed", "http.protocol")]
