"""What is made of a health payload, whatever the peer sends."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probed import Outcome
from probes.gateway.health import (
    COMPONENT_LIMIT,
    DEPTH_LIMIT,
    TEXT_LIMIT,
    WORDS,
    Component,
    ComponentKind,
    Format,
    HealthDocument,
    NotThisFormat,
    parse,
)

DATA = Path(__file__).parent / "data"
OK, DEGRADED, FAILED, UNKNOWN = Outcome.OK, Outcome.DEGRADED, Outcome.FAILED, Outcome.UNKNOWN
FORMATS: tuple[Format, ...] = get_args(Format)
FIXED: tuple[Format, ...] = tuple(name for name in FORMATS if name != "auto")


def load(name: str, content_type: str = "application/json", **more: Any) -> HealthDocument:
    return parse(content_type, (DATA / name).read_bytes(), **more)


def of(value: object, content_type: str = "application/json", **more: Any) -> HealthDocument:
    return parse(content_type, json.dumps(value).encode(), **more)


def statuses(document: HealthDocument) -> dict[str, Outcome]:
    return {component.path: component.status for component in document.components}


# --- health+json


def test_health_json_in_full() -> None:
    """Arrays of one are not numbered; an absent status is a pass; connections are a pool."""
    assert load("health-json-pass.json", "application/health+json") == HealthDocument(
        "health+json",
        OK,
        (
            Component("postgres:responseTime", ComponentKind.CHECK, OK, "pass", 12.5, unit="ms"),
            Component("postgres:connections", ComponentKind.POOL, OK, "", 17.0, unit="connections"),
            Component("uptime", ComponentKind.CHECK, OK, "pass", 1209600.245, unit="s"),
        ),
        version="1",
    )


def test_health_json_arrays_are_numbered_and_warn_is_degraded() -> None:
    document = load("health-json-warn.json")
    assert (document.format, document.status) == ("health+json", DEGRADED)
    assert statuses(document) == {
        "cpu:utilization/0": DEGRADED,
        "cpu:utilization/1": OK,
        "memory:utilization": DEGRADED,
    }
    assert document.version == "2026.01.3-rc.1"
    assert document.worst is document.components[0]


def test_health_json_takes_a_bare_object_and_a_bare_word_for_an_array_of_one() -> None:
    """An empty array says nothing: unknown, not a pass."""
    document = load("health-json-fail.json")
    assert document.status is FAILED
    assert statuses(document) == {"payments": FAILED, "search": UNKNOWN, "sessions": OK}


@pytest.mark.parametrize("word", ["pass", "warn", "fail"])
def test_the_words_of_the_draft_give_it_away_without_checks(word: str) -> None:
    assert of({"status": word}).format == "health+json"


def test_a_null_status_is_not_an_absent_one() -> None:
    assert statuses(of({"checks": {"db": [{"status": None}]}})) == {"db": UNKNOWN}


def test_checks_without_a_word_for_the_whole_leave_the_whole_unknown() -> None:
    document = of({"checks": {"db": [{"status": "fail"}]}})
    assert document.status is UNKNOWN
    assert document.worst is not None
    assert document.worst.status is FAILED


# --- Spring Boot Actuator


def test_actuator_with_groups_and_nested_components() -> None:
    document = load("actuator-up.json", "application/vnd.spring-boot.actuator.v3+json")
    assert (document.format, document.status, document.truncated) == ("actuator", OK, False)
    assert statuses(document) == {
        "db": OK,
        "db/primary": OK,
        "db/replica": DEGRADED,
        "diskSpace": OK,
        "livenessState": OK,
        "ping": OK,
        "readinessState": OK,
    }
    assert {component.kind for component in document.components} == {ComponentKind.COMPONENT}
    assert load("actuator-up.json") == document


def test_a_breaker_that_is_open_under_an_unknown_aggregate_is_found() -> None:
    """resilience4j's aggregate says UNKNOWN, Spring makes UP of it, and a breaker is open."""
    document = load("actuator-breaker-open.json")
    assert document.status is OK
    assert statuses(document)["circuitBreakers"] is UNKNOWN
    breakers = [c for c in document.components if c.kind is ComponentKind.BREAKER]
    assert breakers == [
        Component("circuitBreakers/cards", ComponentKind.BREAKER, FAILED, "OPEN", 100.0, 50.0, "%"),
        Component(
            "circuitBreakers/ledger", ComponentKind.BREAKER, DEGRADED, "HALF_OPEN", None, 50.0, "%"
        ),
        Component(
            "circuitBreakers/mail", ComponentKind.BREAKER, FAILED, "FORCED_OPEN", None, 50.0, "%"
        ),
        Component("circuitBreakers/search", ComponentKind.BREAKER, OK, "CLOSED", 12.5, 50.0, "%"),
        Component(
            "circuitBreakers/stock", ComponentKind.BREAKER, UNKNOWN, "DISABLED", None, 50.0, "%"
        ),
    ]
    assert document.worst == breakers[0]


def test_an_unknown_aggregate_does_not_hide_that_a_breaker_is_half_open() -> None:
    worst = load("actuator-half-open.json").worst
    assert worst is not None
    assert (worst.path, worst.status) == ("circuitBreakers/cards", DEGRADED)


def test_a_rate_limiter_shows_the_permissions_that_are_left() -> None:
    (_, limiter) = load("actuator-breaker-open.json").named("rateLimiters")
    assert limiter == Component(
        "rateLimiters/outbound", ComponentKind.COMPONENT, OK, "UP", 48.0, unit="permissions"
    )


def test_the_shape_before_spring_boot_2_2_has_details_for_components() -> None:
    """There each breaker is an indicator of its own."""
    document = load("actuator-down-2.1.json", "application/vnd.spring-boot.actuator.v2+json")
    assert (document.format, document.status) == ("actuator", FAILED)
    assert [(c.path, c.kind, c.status, c.raw) for c in document.components] == [
        ("cardsCircuitBreaker", ComponentKind.BREAKER, FAILED, "OPEN"),
        ("db", ComponentKind.COMPONENT, FAILED, "DOWN"),
        ("rabbit", ComponentKind.COMPONENT, OK, "UP"),
    ]
    assert load("actuator-down-2.1.json").format == "actuator"


def test_a_breaker_without_a_state_is_judged_by_its_status() -> None:
    document = of(
        {
            "status": "UP",
            "components": {
                "circuitBreakers": {
                    "status": "UNKNOWN",
                    "details": {"a": {"status": "CIRCUIT_OPEN"}, "b": {"state": "closed"}},
                }
            },
        }
    )
    assert statuses(document)["circuitBreakers/a"] is FAILED
    assert statuses(document)["circuitBreakers/b"] is OK


def test_actuator_that_shows_no_details_is_told_by_its_media_type() -> None:
    assert of({"status": "UP"}, "application/vnd.spring-boot.actuator.v3+json") == HealthDocument(
        "actuator", OK
    )
    assert of({"status": "UP"}) == HealthDocument("simple", OK)


# --- a word


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"OK", OK),
        (b"Healthy\r\n", OK),
        (b"UP", OK),
        (b"true", OK),
        (b'"ok"', OK),
        (b"false", FAILED),
        (b"Degraded", DEGRADED),
        (b"Unhealthy\n", FAILED),
        (b"\xef\xbb\xbfOK", OK),
        ("OK".encode("utf-16"), OK),
        (b'{"status": "ok"}', OK),
        (b'{"status": true}', OK),
        (b'{"status": "Half-Open"}', DEGRADED),
        (b'{"status": "dns error"}', FAILED),
        (b'{"status": "unknown"}', UNKNOWN),
        (b'\xef\xbb\xbf{"status": "down"}', FAILED),
        ('{"status": "ok"}'.encode("utf-16"), OK),
        ('{"status": "ok"}'.encode("utf-32-be"), OK),
        (b'{"status": "down", "status": "ok"}', OK),
        (b'{"status": "ok", "load": NaN, "free": -Infinity}', OK),
        (b'{"status": "ok", "n": ' + b"9" * 50_000 + b"}", OK),
    ],
)
def test_a_word_in_json_or_in_text(body: bytes, status: Outcome) -> None:
    """Of a key that stands twice the last counts, as with most readers (RFC 8259, section 4)."""
    assert parse("text/plain; charset=utf-8", body) == HealthDocument("simple", status)


def test_a_simple_document_keeps_its_version() -> None:
    assert load("simple-ok.json") == HealthDocument("simple", OK, version="3.11.0")


_MEANINGS = {
    OK: ["pass", "ok", "up", "healthy", "serving", "true", "+"],
    DEGRADED: ["warn", "warning", "degraded", "half_open", "draining", "out_of_service"],
    FAILED: [
        *("fail", "error", "down", "unhealthy", "critical", "open", "forced_open"),
        *("unavail", "dns_error", "false", "-"),
    ],
    UNKNOWN: ["unknown", "checking", "disabled", "healthchecks_off"],
}


@pytest.mark.parametrize(
    ("word", "status"), [(word, status) for status in _MEANINGS for word in _MEANINGS[status]]
)
def test_what_the_words_mean_in_either_case(word: str, status: Outcome) -> None:
    assert WORDS[word] is status
    assert of({"status": word.upper()}, format="simple").status is status


# --- anything else


@pytest.mark.parametrize(
    "body",
    [
        (DATA / "other-product.json").read_bytes(),
        (DATA / "other-error-page.html").read_bytes(),
        b"",
        b"null",
        b"NaN",
        b"0",
        b"[]",
        b"{}",
        b"okay then",
        b'{"status": ["ok"]}',
        b'{"status": "ok"',
        b'{"checks": [{"name": "db"}]}',
        b"\xff\xfe\x00",
        b"\x00\x00\xfe\xff\xff",
        b"[" * 100_000,
        b'{"status":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=range(17),
)
def test_any_other_body_is_other_and_unknown(body: bytes) -> None:
    for content_type in (
        "", "text/html", "application/json", "application/health+json", "\x00;;;", "x" * 9999,
    ):  # fmt: skip
        assert parse(content_type, body) == HealthDocument("other", UNKNOWN)


def test_an_unknown_word_is_other_unless_the_format_is_announced() -> None:
    assert of({"status": "active"}) == HealthDocument("other", UNKNOWN)
    announced = of({"status": "active"}, "application/health+json; charset=utf-8")
    assert announced == HealthDocument("health+json", UNKNOWN)


@pytest.mark.timing
def test_deep_nesting_costs_no_time() -> None:
    deep = b'{"status": "UP", "components": ' + b'{"a": {"components": ' * 300
    body = deep + b"{}" + b"}}" * 300 + b"}"
    began = time.process_time()
    document = parse("", body)
    parse("", b'{"a":[' * 500_000)
    assert time.process_time() - began < 5
    assert document.truncated
    assert len(document.components) == DEPTH_LIMIT


# --- a fixed format


@pytest.mark.parametrize("wanted", FIXED)
@pytest.mark.parametrize("name", ["other-product.json", "other-error-page.html"])
def test_a_fixed_format_refuses_what_is_not_of_it(wanted: Format, name: str) -> None:
    with pytest.raises(NotThisFormat, match=f" of the format {wanted.replace('+', '.')}$"):
        load(name, format=wanted)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("actuator-up.json", "health+json"),
        ("health-json-pass.json", "actuator"),
        ("health-json-fail.json", "actuator"),
    ],
)
def test_one_format_is_not_read_as_another(name: str, wanted: Format) -> None:
    with pytest.raises(NotThisFormat):
        load(name, format=wanted)


def test_a_fixed_format_does_not_ask_for_the_content_type() -> None:
    bodies: dict[Format, object] = {
        "health+json": {"status": "UP"},
        "actuator": {"status": "UP"},
        "aspnet": {"status": "Healthy"},
        "microprofile": {"status": "UP", "checks": []},
        "kubernetes": "ok",
        "simple": {"status": "UP"},
    }
    for wanted in FIXED:
        assert of(bodies[wanted], "text/html", format=wanted) == HealthDocument(wanted, OK)


def test_simple_asks_only_for_the_word_of_the_whole() -> None:
    document = load("actuator-breaker-open.json", format="simple")
    assert document == HealthDocument("simple", OK)
    assert of({"status": "active"}, format="simple").status is UNKNOWN


# --- the limits


def test_no_more_components_than_the_limit() -> None:
    names = [f"c{number}" for number in range(COMPONENT_LIMIT + 1)]
    whole = of({"status": "UP", "components": dict.fromkeys(names[1:], "UP")})
    more = of({"status": "UP", "components": dict.fromkeys(names, "UP")})
    checks = of({"checks": {"node:load": [{"observedValue": 1}] * (COMPONENT_LIMIT + 1)}})
    assert [d.truncated for d in (whole, more, checks)] == [False, True, True]
    assert {len(d.components) for d in (whole, more, checks)} == {COMPONENT_LIMIT}


def test_text_of_the_peer_is_one_safe_line_of_bounded_length() -> None:
    nasty = "\x1b[31mred\r\n\u202e\ud800" + "x" * 5000
    document = of(
        {
            "status": nasty,
            "version": nasty,
            "checks": {nasty: [{"status": nasty, "observedUnit": nasty, "observedValue": 1}]},
        }
    )
    (component,) = document.components
    for text in (component.path, component.raw, component.unit, document.version):
        assert text is not None
        assert len(text) == TEXT_LIMIT
        assert text.isprintable()
        assert text.startswith("\\x1b[31mred\\x0d\\x0a\\u202e\\ud800x")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999", "9" * 5000, '"85"', "true", "[1]"])
def test_what_is_not_a_finite_number_is_not_observed(literal: str) -> None:
    body = f'{{"status": "pass", "checks": {{"x:y": [{{"observedValue": {literal}}}]}}}}'
    assert parse("", body.encode()).components == (Component("x:y", ComponentKind.CHECK, OK, ""),)


def test_named_means_the_path_what_is_under_it_and_its_measurements() -> None:
    document = HealthDocument(
        "x",
        OK,
        tuple(
            Component(path, ComponentKind.CHECK, OK, "")
            for path in ("db", "db/primary", "db:connections", "db:responseTime/0", "dbx", "a/db")
        ),
    )
    assert [component.path for component in document.named("db")] == [
        "db",
        "db/primary",
        "db:connections",
        "db:responseTime/0",
    ]
    assert document.named("nothing") == ()
    assert HealthDocument("x", OK).worst is None


# --- nothing raises

_KEYS = st.sampled_from(
    [
        *("status", "checks", "components", "details", "state", "groups", "version", "releaseId"),
        *("circuitBreakers", "rateLimiters", "failureRate", "failureRateThreshold"),
        *("availablePermissions", "observedValue", "observedUnit", "db:connections"),
    ]
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["UP", "OPEN", "pass", "50.0%", "-1.0%", "\ud800", "9" * 400]),
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_KEYS | st.text(max_size=4), inner, max_size=6),
    ),
    max_leaves=40,
)
_BODIES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda value, codec: json.dumps(value).encode(codec, errors="replace"),
        st.dictionaries(_KEYS, _JSON, max_size=6),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-le"]),
    ),
)
_TYPES = st.sampled_from(
    ["", "application/health+json", "application/vnd.spring-boot.actuator.v3+json"]
) | st.text(max_size=20)


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(content_type=_TYPES, body=_BODIES, wanted=st.sampled_from(FORMATS))
def test_no_body_raises_and_all_limits_hold(content_type: str, body: bytes, wanted: Format) -> None:
    try:
        document = parse(content_type, body, format=wanted)
    except NotThisFormat:
        assert wanted != "auto"
        return
    assert wanted in {"auto", document.format}
    assert document.format in {*FIXED, "other"}
    assert len(document.components) <= COMPONENT_LIMIT
    for component in document.components:
        assert all(
            len(text) <= TEXT_LIMIT
            for text in (component.path, component.raw, component.unit or "")
        )
        assert all(
            number is None or math.isfinite(number)
            for number in (component.observed, component.limit)
        )
