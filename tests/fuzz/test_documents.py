"""What peers say once it is read: health documents, paths, patterns, answers of collectors."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

import httpx2
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from probed.telemetry.post import _accepted, retry_after
from probed.text.patterns import Pattern
from probed.text.redact import Redactor, sanitize
from probes.gateway.health.formats import parse
from probes.gateway.paths import FOUND_LIMIT, JsonPath, TooMany

FUZZ = settings.get_profile(os.environ.get("PROBED_FUZZ", "suite"))
WORDS = st.sampled_from([
    "status", "components", "checks", "details", "UP", "DOWN", "pass", "fail", "warn", "Healthy",
    "Unhealthy", "results", "entries", "name", "db", "circuitBreakers", "state", "OPEN", "HALF_OPEN",
    "observedValue", "componentType", "data", "active", "max", "output", "time", "outcome",
])  # fmt: skip
NAMES = st.one_of(WORDS, st.text(max_size=8))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=30,
)
TYPES = st.sampled_from([
    "application/json", "application/health+json", "text/plain", "", "application/vnd.spring-boot.actuator.v3+json",
    'text/html; charset="', "\x00",
])  # fmt: skip


def quick(begun: float) -> None:
    assert time.process_time() - begun < 0.5


@pytest.mark.timing
@settings(FUZZ)
@given(value=JSON, kind=TYPES)
@example({"status": "UP", "components": {"db": {"status": "UP"}}}, "application/json")
def test_health_documents_of_any_shape(value: Any, kind: str) -> None:
    begun = time.process_time()
    document = parse(kind, json.dumps(value).encode())
    assert len(repr(document)) < 1 << 20
    quick(begun)


@settings(FUZZ)
@given(body=st.binary(max_size=300), kind=TYPES)
@example(b"[" * 100_000, "application/json")
@example(b"1" * 5000, "application/json")
@example(b"\xff\xfe{\x00", "application/health+json")
def test_health_documents_of_any_bytes(body: bytes, kind: str) -> None:
    parse(kind, body)


@settings(FUZZ)
@given(text=st.one_of(st.text(max_size=40), st.lists(st.sampled_from([
    "$", ".", "[", "]", "*", "'", '"', "0", "-1", "a", "..", "?", ":", "\\", "[*]", ".*", "['a']",
]), max_size=12).map("".join)), value=JSON)  # fmt: skip
def test_paths(text: str, value: Any) -> None:
    try:
        path = JsonPath(text)
    except ValueError:
        return
    try:
        found = path.find(value)
    except TooMany:
        return
    assert len(found) <= (1 if path.single else FOUND_LIMIT)
    assert str(JsonPath(str(path))) == text


PATTERN = st.lists(
    st.sampled_from([
        "a", "b", "0", ".", "^", "$", "|", "(", ")", "(?:", "[a-c]", "[^b]", "*", "+", "?", "{2,3}", "{2}", "\\d", "\\w",
        "\\b", "\\s", "(?i)", "*?", "\\.", " ",
    ]),
    max_size=10,
).map("".join)  # fmt: skip


@settings(FUZZ)
@given(pattern=PATTERN, text=st.text("ab0 .\n", max_size=24))
def test_patterns_find_what_re_finds(pattern: str, text: str) -> None:
    # What may stand behind a `$` at the end of the text, and what RE2 takes for a byte.
    assume("$" not in pattern[:-1] or not text.endswith("\n"))
    assume("\\B" not in pattern or text)
    try:
        ours = Pattern(pattern)
        wanted = re.search(pattern.replace("\\z", "\\Z"), text, re.ASCII)
    except (ValueError, re.error):
        return
    assert ours.search(text) is bool(wanted)


@pytest.mark.timing
@settings(FUZZ)
@given(pattern=PATTERN, part=st.text("ab0 ", min_size=1, max_size=3))
@example("(a|a)*b", "a")
@example("(?:a+)+$", "a")
def test_no_pattern_takes_long(pattern: str, part: str) -> None:
    try:
        ours = Pattern(pattern)
    except ValueError:
        assume(False)
    begun = time.process_time()
    ours.search(part * 20_000)
    quick(begun)


@settings(FUZZ)
@given(
    body=st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode),
    header=st.text(max_size=40),
    media=st.sampled_from(
        ["application/x-protobuf", "application/json", "text/html", "", "\u00e9;"]
    ),
)
@example(b"\x0a\x08\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "1e999", "")
@example(b'{"partialSuccess": {"rejectedSpans": 1e999}}', "", "application/json")
@example(b'{"partialSuccess": {"rejectedSpans": "x"}}', "", "application/json")
def test_answers_of_a_collector(body: bytes, header: str, media: str) -> None:
    answer = httpx2.Response(200, headers={"Content-Type": media.encode()}, content=body)
    for signal in ("traces", "metrics"):
        reply = _accepted(signal, answer)  # type: ignore[arg-type]
        assert len(reply.message) <= 200
        assert reply.message == sanitize(reply.message, 200)
    wait = retry_after(header, 1e9)
    assert wait is None or 0 <= wait <= 86_400


@settings(FUZZ)
@given(text=st.text(max_size=300), secret=st.text(min_size=6, max_size=30))
def test_a_secret_is_nowhere(text: str, secret: str) -> None:
    assume(secret.strip() == secret and "REDACTED" not in secret and secret not in "REDACTED")
    found = Redactor([secret]).redact(f"{text}{secret}{text}")
    assert secret not in found or secret in text.replace(secret, "")
