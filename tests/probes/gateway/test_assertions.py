"""What must hold of headers and body: patterns, and comparisons of what a path finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from probed.config import ConfigError, loads
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.registry import Registry
from probed.testing.webserver import Answer, http_server
from probes.gateway import GatewayProbe

pytestmark = pytest.mark.anyio

BODY = {
    "status": "UP", "queue": {"depth": 12, "oldest": 3.5, "name": "jobs"}, "ready": True, "none": None,
    "nodes": [{"state": "up", "lag": 1}, {"state": "down", "lag": 90}], "version": "2.14.1",
}  # fmt: skip


async def judged(
    expect: Mapping[str, Any],
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **settings: Any,
) -> Result:
    sent = json.dumps(BODY).encode() if body is None else body
    kind = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Set-Cookie": "id=hunter2",
    }
    answer = Answer(headers=kind | dict(headers or {}), body=sent)
    async with http_server({"/": answer}) as server:
        probe = GatewayProbe(url=server.url(), expect=expect, **settings)
        return await execute(probe, network=Network(), timeout=2)


def found(result: Result) -> list[tuple[str, str, str]]:
    return [(f.level.value, str(f.reason), f.message) for f in result.findings]


@pytest.mark.parametrize(
    "expect",
    [
        {"headers": {"cache-control": "no-store", "X-Debug": None}},
        {"headers": {"Content-Type": {"matches": "^application/(?:.+\\+)?json"}}},
        {"body": ['"status": "UP"', {"matches": "jobs", "name": "queue"}], "body_not": ["Exception"]},
        {"json": [{"path": "$.status", "equals": "UP"}]},
        {"json": [{"path": "$.queue.depth", "below": 100, "at_least": 12, "at_most": 12, "above": 11}]},
        {"json": [{"path": "$.nodes[*].state", "one_of": ["up", "down"]}]},
        {"json": [{"path": "$.version", "matches": "^2\\."}, {"path": "$.ready", "equals": True}]},
        {"json": [{"path": "$.none", "equals": None}, {"path": "$.gone", "exists": False}]},
        {"json": [{"path": "$.queue.oldest", "not_equals": 4}, {"path": "$.nodes[0]", "exists": True}]},
    ],
    ids=str,
)  # fmt: skip
async def test_what_holds_is_nothing_to_find(expect: Mapping[str, Any]) -> None:
    assert found(await judged(expect)) == []


@pytest.mark.parametrize(
    ("expect", "finding"),
    [
        ({"headers": {"X-Served-By": "edge"}},
         ("failed", "http.header_mismatch", "There is no header x-served-by.")),
        ({"headers": {"cache-control": None}},
         ("failed", "http.header_mismatch", "There must be no header cache-control.")),
        ({"headers": {"cache-control": {"matches": "^public", "level": "degraded", "name": "caching"}}},
         ("degraded", "http.header_mismatch",
          "The header cache-control is 'no-store', and does not match '^public' (caching).")),
        ({"body": ["welcome"]}, ("failed", "http.body_mismatch", "The body does not match 'welcome'.")),
        ({"body_not": [{"matches": "down", "level": "degraded"}]},
         ("degraded", "http.body_mismatch", "The body matches 'down', and must not.")),
        ({"json": [{"path": "$.status", "equals": "OK"}]},
         ("failed", "http.assertion", '$.status is "UP"; it must be "OK".')),
        ({"json": [{"path": "$.ready", "equals": 1}]},
         ("failed", "http.assertion", "$.ready is true; it must be 1.")),
        ({"json": [{"path": "$.queue.depth", "below": 10, "name": "backlog", "level": "degraded"}]},
         ("degraded", "http.assertion", "$.queue.depth is 12; it must be below 10 (backlog).")),
        ({"json": [{"path": "$.nodes[*].state", "equals": "up"}]},
         ("failed", "http.assertion",
          '$.nodes[*].state is "down"; it must be "up" (1 of the 2 values there).')),
        ({"json": [{"path": "$.queue.name", "above": 3}]},
         ("failed", "http.assertion", '$.queue.name is "jobs"; a number was expected.')),
        ({"json": [{"path": "$.gone.far", "equals": 1}]},
         ("failed", "http.assertion", "There is no $.gone.far in the body.")),
        ({"json": [{"path": "$.queue", "exists": False}]},
         ("failed", "http.assertion", "There is $.queue in the body, and it must not be there.")),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
async def test_what_does_not_hold_is_said_with_what_was_found(
    expect: Mapping[str, Any], finding: tuple[str, str, str]
) -> None:
    assert found(await judged(expect)) == [finding]


async def test_a_header_that_is_a_credential_is_not_shown() -> None:
    result = await judged({"headers": {"set-cookie": "Secure"}})
    assert result.findings[0].reason == "http.header_mismatch"
    assert "hunter2" not in repr(result)


async def test_a_body_that_is_no_json_is_said_to_be_none() -> None:
    result = await judged({"json": [{"path": "$.a", "equals": 1}]}, b"<html>Sorry</html>")
    assert found(result)[0][:2] == ("failed", "http.not_json")
    assert result.findings[0].evidence["body"] == "<html>Sorry</html>"


async def test_what_was_not_read_is_not_judged() -> None:
    """The end of a body over the limit may hold what is missing in its begin."""
    long = b'{"pad": "' + b"x" * 3000 + b'", "status": "UP"}'
    expect = {"body": ["status"], "json": [{"path": "$.status", "equals": "UP"}]}
    result = await judged(expect, long, body_limit="2KiB")
    assert [f[:2] for f in found(result)] == [
        ("degraded", "http.body_too_large"),
        ("unknown", "http.body_mismatch"),
        ("unknown", "http.assertion"),
    ]


async def test_of_an_answer_with_another_status_only_the_status_is_judged() -> None:
    async with http_server({"/": Answer(status=500, body="{}")}) as server:
        probe = GatewayProbe(url=server.url(), expect={"json": [{"path": "$.a", "equals": 1}]})
        result = await execute(probe, network=Network(), timeout=2)
    assert [str(f.reason) for f in result.findings] == ["http.status"]


async def test_a_pattern_that_would_take_for_ever_elsewhere_does_not_here() -> None:
    result = await judged({"body": ["^(a+)+$"]}, b"a" * 60_000 + b"!")
    assert [f[:2] for f in found(result)] == [("failed", "http.body_mismatch")]
    assert result.duration_s < 1


@pytest.mark.parametrize(
    ("expect", "path", "said"),
    [
        ("{body: ['(']}", "expect.body[0]", "a ( without its )"),
        ("{body: ['(?=a)']}", "expect.body[0]", "look-around"),
        ("{json: [{path: status, equals: 1}]}", "expect.json[0].path", "$"),
        ("{json: [{path: $.a}]}", "expect.json[0]", "say what must hold"),
        ("{json: [{path: $.a, exists: false, equals: 1}]}", "expect.json[0]", "cannot be compared"),
        ("{headers: {'a b': x}}", "expect.headers", "a b"),
        ("{headers: {a: x, A: y}}", "expect.headers", "a is written twice"),
        ("{bodies: [x]}", "expect.bodies", "known are body, body_not, headers, json"),
    ],
)
def test_what_cannot_be_expected_is_one_error_at_its_place(
    expect: str, path: str, said: str
) -> None:
    text = f"checks: [{{name: a, probe: gateway, url: 'http://h/', expect: {expect}}}]"
    with pytest.raises(ConfigError) as caught:
        loads(text, Registry(), environ={})
    line = str(caught.value).splitlines()[0]
    assert f"checks[0].{path}" in line
    assert said in str(caught.value)
