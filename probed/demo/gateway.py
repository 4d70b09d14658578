"""The demo's API gateway and the two services behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import anyio
from anyio.abc import TaskGroup

from probed.demo.client import fetch
from probed.demo.peer import NOT_FOUND, Check, HttpPeer
from probed.reasons import ProbeError
from probed.testing.webserver import Answer


def _json(status: int, value: object, content_type: str) -> Answer:
    return Answer(status, {"Content-Type": content_type}, json.dumps(value, indent=1) + "\n")


def _breaker(failure_rate: str) -> dict[str, Any]:
    details = {
        "failureRate": failure_rate,
        "failureRateThreshold": "50.0%",
        "slowCallRate": "0.0%",
        "slowCallRateThreshold": "100.0%",
        "bufferedCalls": 40,
        "slowCalls": 0,
        "slowFailedCalls": 0,
        "failedCalls": 1,
        "notPermittedCalls": 0,
        "state": "CLOSED",
    }
    return {"status": "UP", "details": details}


class Billing(HttpPeer):
    """A service with Spring Boot Actuator's health, and resilience4j's breakers."""

    breaks: ClassVar[Mapping[str, str]] = {
        "upstream": "billing refuses connections, so the gateway cannot answer for it"
    }

    _HEALTH = _json(
        200,
        {
            "status": "UP",
            "components": {
                "circuitBreakers": {
                    "status": "UP",
                    "details": {"cards": _breaker("2.5%"), "ledger": _breaker("-1.0%")},
                },
                "db": {
                    "status": "UP",
                    "details": {"database": "PostgreSQL", "validationQuery": "isValid()"},
                },
                "diskSpace": {
                    "status": "UP",
                    "details": {"total": 1 << 38, "free": 1 << 37, "threshold": 10485760},
                },
                "ping": {"status": "UP"},
            },
            "groups": ["liveness", "readiness"],
        },
        "application/vnd.spring-boot.actuator.v3+json",
    )

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        await self.serve(self.server)
        self.setting.urls["billing"] = self.server.url("/actuator/health")

    async def break_(self, name: str) -> None:
        await super().break_(name)
        await self.server.refuse()

    async def mend(self, name: str) -> None:
        await super().mend(name)
        self.server.resume()

    async def answer(self, target: str) -> Answer:
        return self._HEALTH if target == "/actuator/health" else NOT_FOUND

    def checks(self) -> list[Check]:
        return [
            {
                "name": "billing",
                "probe": "gateway",
                "url": self.setting.urls["billing"],
                "health": {"format": "actuator", "require": ["db", "circuitBreakers"]},
            }
        ]


class Catalog(HttpPeer):
    """A service with health as `application/health+json`."""

    _HEALTH = _json(
        200,
        {
            "status": "pass",
            "version": "1",
            "releaseId": "1.4.2",
            "serviceId": "catalog",
            "checks": {
                "postgres:responseTime": [
                    {
                        "componentType": "datastore",
                        "observedValue": 3.2,
                        "observedUnit": "ms",
                        "status": "pass",
                    }
                ],
                "postgres:connections": [
                    {"componentType": "datastore", "observedValue": 7, "status": "pass"}
                ],
            },
        },
        "application/health+json",
    )

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        await self.serve(self.server)
        self.setting.urls["catalog"] = self.server.url("/health")

    async def answer(self, target: str) -> Answer:
        return self._HEALTH if target == "/health" else NOT_FOUND

    def checks(self) -> list[Check]:
        return [
            {
                "name": "catalog",
                "probe": "gateway",
                "url": self.setting.urls["catalog"],
                "health": {"format": "health+json", "require": ["postgres"]},
            }
        ]


class Gateway(HttpPeer):
    """A reverse proxy: `/billing/...` and `/catalog/...` are forwarded, `/health` has the health of both
    services, `/actuator/health` that of billing, and `/plain` is one word.
    """

    breaks: ClassVar[Mapping[str, str]] = {
        "gateway": "the gateway answers 502, although the services behind it are healthy",
        "slow": "the gateway answers slowly",
    }

    _UPSTREAMS = ("billing", "catalog")
    _PATIENCE = 2.0
    _BAD_GATEWAY = Answer(
        502,
        {"Content-Type": "text/html", "Server": "demo-gateway"},
        "<html><head><title>502 Bad Gateway</title></head>\n"
        "<body><h1>502 Bad Gateway</h1></body></html>\n",
    )

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        await self.serve(self.server)
        self.setting.urls["gateway"] = self.server.url("/health")
        self.setting.urls["actuator"] = self.server.url("/actuator/health")
        self.setting.urls["plain"] = self.server.url("/plain")

    async def answer(self, target: str) -> Answer:
        found = self._BAD_GATEWAY if "gateway" in self.broken else await self._route(target)
        return replace(found, delay=self.setting.slowness) if "slow" in self.broken else found

    async def _route(self, target: str) -> Answer:
        if target == "/health":
            return await self._health()
        if target == "/plain":
            return Answer(200, body="OK\n")
        if target == "/actuator/health":
            return await self._forward(self.setting.urls["billing"])
        name, _, path = target.removeprefix("/").partition("/")
        if name in self._UPSTREAMS:
            origin = self.setting.urls[name].split("/", 3)[:3]
            return await self._forward("/".join([*origin, path]))
        return NOT_FOUND

    async def _forward(self, url: str) -> Answer:
        try:
            with anyio.fail_after(self._PATIENCE):
                found = await fetch(url)
        except (OSError, ProbeError):
            return self._BAD_GATEWAY
        via = {"Server": "demo-gateway", "Via": "1.1 demo-gateway"}
        return replace(found, headers={**found.headers, **via})

    async def _health(self) -> Answer:
        """Return the health of the services: 4xx or 5xx for `fail` (draft-inadarei-api-health-check, 3)."""
        found: dict[str, dict[str, Any]] = {name: {} for name in self._UPSTREAMS}
        async with anyio.create_task_group() as tasks:
            for name in found:
                tasks.start_soon(self._probe, name, found)
        healthy = all(check["status"] == "pass" for check in found.values())
        document = {
            "status": "pass" if healthy else "fail",
            "serviceId": "demo-gateway",
            "checks": {f"{name}:responseTime": [check] for name, check in found.items()},
        }
        return _json(200 if healthy else 503, document, "application/health+json")

    async def _probe(self, name: str, found: dict[str, dict[str, Any]]) -> None:
        began = anyio.current_time()
        response = await self._forward(self.setting.urls[name])
        found[name] = {
            "componentType": "component",
            "observedValue": round((anyio.current_time() - began) * 1000, 3),
            "observedUnit": "ms",
            "status": "pass" if response.status == 200 else "fail",
        }

    def checks(self) -> list[Check]:
        urls = self.setting.urls
        upstreams = [{"name": name, "url": urls[name]} for name in self._UPSTREAMS]
        return [
            {
                "name": "gateway",
                "probe": "gateway",
                "url": urls["gateway"],
                "status": ["200-299"],
                "health": {"format": "auto", "require": list(self._UPSTREAMS)},
                "latency": {"degraded": "500ms", "failed": "3s"},
                "upstreams": upstreams,
                "severity": "P0",
            },
            {
                "name": "gateway-actuator",
                "probe": "gateway",
                "url": urls["actuator"],
                "latency": {"degraded": "500ms", "failed": "3s"},
            },
            {
                "name": "gateway-plain",
                "probe": "gateway",
                "url": urls["plain"],
                "health": {"format": "simple"},
                "latency": {"degraded": "500ms", "failed": "3s"},
            },
        ]
