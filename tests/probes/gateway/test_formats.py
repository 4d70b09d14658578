"""Health formats beside the two large ones, a mapping of a site's own, and pools, over the wire."""

from __future__ import annotations

import json
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

UI = {"status": "Unhealthy", "totalDuration": "00:00:00.05", "entries": {
    "sql": {"status": "Unhealthy", "description": "no route", "duration": "00:00:00.01", "data": {"pool": 3}},
    "redis": {"status": "Degraded"}, "self": {"status": "Healthy"}}}  # fmt: skip
QUARKUS = {"status": "DOWN", "checks": [
    {"name": "db", "status": "DOWN", "data": {"<default>": "no connection"}}, {"name": "live", "status": "UP"}]}  # fmt: skip
LIVEZ = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]shutdown excluded: ok\nlivez check failed\n"
OWN = {
    "state": "yellow",
    "parts": [{"id": "db", "ok": True}, {"id": "mq", "ok": False}],
    "breakers": {"pay": "open"},
}
MAP = {
    "status": "$.state",
    "components": "$.parts",
    "name": "id",
    "state": "ok",
    "degraded": ["yellow"],
}


async def judged(
    body: Any, *, status: int = 200, kind: str = "application/json", **health: Any
) -> Result:
    sent = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(status=status, headers={"Content-Type": kind}, body=sent)
    async with http_server({"/": answer}) as server:
        probe = GatewayProbe(url=server.url(), health=health)
        return await execute(probe, network=Network(), timeout=2)


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


@pytest.mark.parametrize(
    ("body", "kind", "health", "expected", "named"),
    [
        (UI, "application/json", {}, [("failed", "health.down")], "sql"),
        (UI, "application/json", {"format": "aspnet"}, [("failed", "health.down")], "sql"),
        ("Unhealthy", "text/plain", {"format": "aspnet"}, [("failed", "health.down")], ""),
        ("Degraded", "text/plain", {}, [("degraded", "health.degraded")], ""),
        (QUARKUS, "application/json", {}, [("failed", "health.down")], "db"),
        (QUARKUS, "application/json", {"format": "microprofile"}, [("failed", "health.down")], "db"),
        (LIVEZ, "text/plain; charset=utf-8", {}, [("failed", "health.down")], "etcd"),
        ("ok", "text/plain", {"format": "kubernetes"}, [], ""),
        ("[+]ping ok\nreadyz check passed\n", "text/plain", {}, [], ""),
        (OWN, "application/json", {"map": MAP}, [("degraded", "health.degraded")], "mq"),
        ({"state": "boot"}, "application/json", {"map": {"status": "$.state"}}, [("unknown", "health.unknown")], ""),
        ({"other": 1}, "application/json", {"map": {"status": "$.state"}}, [("failed", "http.not_json")], "$.state"),
        (OWN, "application/json", {"map": {"breakers": "$.breakers"}}, [("degraded", "gateway.circuit_open")], "pay"),
        (LIVEZ, "text/plain", {"require": ["etcd"]}, [("failed", "health.down")], "etcd"),
        (UI, "application/json", {"format": "kubernetes"}, [("failed", "http.not_json")], "kubernetes"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value)[:50],
)  # fmt: skip
async def test_each_format_names_what_is_down(
    body: Any, kind: str, health: dict[str, Any], expected: list[tuple[str, str]], named: str
) -> None:
    result = await judged(body, kind=kind, **health)
    assert found(result)[: len(expected)] == expected
    assert len(found(result)) >= len(expected)
    assert named in " ".join(f.message for f in result.findings)
    if not expected:
        assert found(result) == []


async def test_a_check_that_was_excluded_is_not_down() -> None:
    result = await judged(LIVEZ, kind="text/plain")
    states = {
        dict(m.attributes)["component"]: dict(m.attributes)["state"]
        for m in result.measures
        if m.measure.name == "probed.gateway.component.status"
    }
    assert states == {"ping": "ok", "etcd": "failed", "log": "ok", "shutdown": "unknown"}


POOL = {"name": "db", "used": "$.pool.active", "limit": "$.pool.max"}


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (7, []),
        (8, [("degraded", "gateway.pool_exhausted")]),
        (10, [("failed", "gateway.pool_exhausted")]),
        (12, [("failed", "gateway.pool_exhausted")]),
        ("?", [("failed", "http.not_json")]),
        (None, [("failed", "http.not_json")]),
    ],
)
async def test_a_pool_is_judged_by_how_much_of_it_is_in_use(
    used: Any, expected: list[tuple[str, str]]
) -> None:
    body = {"status": "UP", "pool": {"active": used, "max": 10}}
    result = await judged(body, pools=[POOL])
    assert found(result) == expected
    values = [
        m.value for m in result.measures if m.measure.name == "probed.gateway.pool.utilization"
    ]
    assert values == ([used / 10] if isinstance(used, int) else [])


async def test_bounds_of_pools_can_be_moved_and_switched_off() -> None:
    body = {"status": "UP", "pool": {"active": 9, "max": 10}}
    bounds = {"degraded": 0.95, "failed": None}
    assert found(await judged(body, pools=[POOL], utilization=bounds)) == []


@pytest.mark.parametrize(
    ("health", "path", "said"),
    [
        ("{map: {}}", "health.map", "say where the status stands"),
        ("{map: {status: $.a}, format: aspnet}", "health", "either a format or a map"),
        ("{map: {status: '$.a[*]'}}", "health.map.status", "one"),
        ("{map: {status: $.a, ok: [x], failed: [X]}}", "health.map", "the word x is written twice"),
        ("{format: aspnett}", "health.format", "aspnet"),
        ("{pools: [{name: a, used: $.a}]}", "health.pools[0].limit", "is missing"),
    ],
)
def test_what_cannot_be_is_one_error_at_its_place(health: str, path: str, said: str) -> None:
    text = f"checks: [{{name: a, probe: gateway, url: 'http://h/', health: {health}}}]"
    with pytest.raises(ConfigError) as caught:
        loads(text, Registry(), environ={})
    line = str(caught.value).splitlines()[0]
    assert f"checks[0].{path}" in line
    assert said in str(caught.value)
