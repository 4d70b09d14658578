"""Reaching Stripe and its answers: every row of the table of errors, with the SDK, over a wire."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probed.model import Outcome, Result
from probed.probe import Run
from probed.testing.fake_stripe import FakeStripe
from probed.testing.servers import serve

pytestmark = pytest.mark.anyio
Found = Callable[[Result], list[tuple[str, str]]]


async def test_a_stripe_that_is_well_is_ok(fake: FakeStripe, asked: Any, measured: Any) -> None:
    result = await asked("reach", "api")
    assert result.outcome is Outcome.OK
    phases = [phase.name for phase in result.phases]
    for step in ("reach", "api"):
        for phase in ("resolve", "connect", "request", "wait", "receive"):
            assert f"{step}/{phase}" in phases
    assert measured(result)["probed.stripe.api.reads"] == fake.reads == 1
    assert result.facts["stripe.livemode"] is False
    assert {request.method for request in fake.requests} == {"GET"}


async def test_the_sdk_tells_stripe_nothing_of_this_machine(
    fake: FakeStripe, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    await asked("reach", "api", api_version="2025-01-27.acacia")
    told = {name for request in fake.requests for name in request.headers}
    assert told <= {
        "host", "user-agent", "accept", "accept-encoding", "connection", "traceparent",
        "authorization", "stripe-version",
    }  # fmt: skip
    assert {request.headers["user-agent"][:7] for request in fake.requests} == {"probed/"}
    asked_for = [
        r.headers["stripe-version"] for r in fake.requests if "stripe-version" in r.headers
    ]
    assert asked_for == ["2025-01-27.acacia"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("key", [("failed", "stripe.auth_rejected")]),
        ("expired", [("failed", "stripe.key_expired")]),
        ("permission", [("unknown", "stripe.permission_missing")]),
        ("rate", [("unknown", "stripe.rate_limited")]),
        ("rate-400", [("unknown", "stripe.rate_limited")]),
        (
            "global-rate",
            [("degraded", "stripe.rate_limited"), ("unknown", "stripe.rate_limited")],
        ),
        ("lock", [("unknown", "stripe.locked")]),
        ("error", [("failed", "stripe.api_error")]),
        ("conflict", [("failed", "stripe.api_error")]),
        ("idempotency", [("failed", "stripe.api_error")]),
        ("card", [("failed", "stripe.api_error")]),
        ("rejected", [("unknown", "stripe.request_rejected")]),
        ("gone", [("unknown", "stripe.request_rejected")]),
        ("html", [("failed", "http.not_json")]),
        ("huge", [("failed", "http.not_json")]),
        ("text", [("failed", "http.not_json")]),
        ("no-error", [("failed", "http.not_json")]),
        ("body", [("failed", "http.body_too_large")]),
        ("slow", [("failed", "timeout.wait")]),
        ("truncated", [("failed", "connect.closed")]),
        ("notice", []),
    ],
)
async def test_each_row_of_the_table_of_errors(
    fake: FakeStripe, asked: Any, found: Found, fault: str, expected: list[tuple[str, str]]
) -> None:
    fake.faults["*"] = fault
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = await asked("api", timeout=0.5 if fault == "slow" else 2.0)
    assert found(result) == expected
    assert len(fake.requests) == 1, "it was asked again"
    for finding in result.findings:
        assert len(finding.message) < 200
        assert "6789" not in repr(finding), "a part of the key is shown"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("error", ("failed", "stripe.api_error")),
        ("html", ("failed", "http.not_json")),
        ("text", ("failed", "http.not_json")),
        ("notice", ("failed", "stripe.api_error")),  # a 200 to nobody is not Stripe's
    ],
)
async def test_what_answers_without_a_key_must_be_stripe(
    fake: FakeStripe, asked: Any, found: Found, fault: str, expected: tuple[str, str]
) -> None:
    fake.faults["reach"] = fault
    result = await asked("reach")
    assert found(result) == [expected]


async def test_an_error_shows_what_support_asks_for(fake: FakeStripe, asked: Any) -> None:
    fake.faults["*"] = "expired"
    evidence = (await asked("api")).findings[0].evidence
    assert evidence["status"] == 401
    assert evidence["code"] == "api_key_expired"
    assert evidence["request-id"].startswith("req_")
    assert evidence["step"] == "api"


async def test_the_permission_that_is_missing_is_named(fake: FakeStripe, asked: Any) -> None:
    fake.faults["/v1/charges"] = "permission"
    result = await asked("api", ping="charges")
    assert "rak_charge_read" in result.findings[0].message
    assert result.findings[0].evidence["permission"] == "rak_charge_read"


async def test_a_key_that_the_application_does_not_share_is_our_own_trouble(
    fake: FakeStripe, asked: Any, found: Found
) -> None:
    fake.faults["*"] = "key"
    assert found(await asked("api", key_shared=False)) == [("unknown", "stripe.auth_rejected")]


@pytest.mark.parametrize("ping", ["balance", "charges"])
async def test_an_answer_of_the_other_mode_has_failed(
    fake: FakeStripe, asked: Any, found: Found, ping: str
) -> None:
    fake.livemode = True
    result = await asked("api", ping=ping)
    assert found(result) == [("failed", "stripe.mode_mismatch")]
    assert "live mode" in result.findings[0].message


async def test_one_cause_is_told_once(fake: FakeStripe, asked: Any, found: Found) -> None:
    async with serve("refused") as nobody:
        result = await asked("reach", "api", api_base=f"http://{nobody.address}")
    assert found(result) == [("failed", "connect.refused")]
    assert result.findings[0].evidence["step"] == "reach, api"


async def test_slow_answers_are_told_from_too_slow_ones(asked: Any, found: Found) -> None:
    result = await asked("reach", latency={"degraded": "1ms", "failed": "10s"})
    # A loopback may be quicker than that on a good day.
    assert found(result) in ([("degraded", "http.slow")], [])
    result = await asked("reach", latency={"degraded": "0s", "failed": "0s"})
    assert found(result) == [("failed", "http.too_slow")]


async def test_clocks_that_are_apart_are_told(fake: FakeStripe, asked: Any, measured: Any) -> None:
    fake.skew = 90.0
    result = await asked("reach")
    assert [str(f.reason) for f in result.findings] == ["stripe.clock_skew"]
    assert 88 < measured(result)["probed.clock.skew stripe"] < 92


async def test_nothing_but_get_leaves_the_process(fake: FakeStripe, asked: Any) -> None:
    """Through the SDK itself, whatever method is used: the guard raises before there is a socket."""
    import stripe

    from probes.stripe.sdk import Api, ReadOnlyViolation
    from probes.stripe.step import Step

    probe, run = _probe_and_run(fake)
    api = Api(Step("api", run), probe)
    for method in ("post", "delete"):
        with pytest.raises(ReadOnlyViolation):
            await api._sdk.raw_request_async(method, "/v1/customers", email="a@example.com")
    customers = api._sdk.v1.customers
    for call in (customers.create_async(params={}), customers.delete_async("cus_1")):
        with pytest.raises(ReadOnlyViolation):
            await call
    await api.get("/v1/balance")
    with pytest.raises(NotImplementedError):  # not over another client either
        api._sdk.raw_request("get", "/v1/balance")
    assert [request.method for request in fake.requests] == ["GET"]
    assert stripe.enable_telemetry is False


def _probe_and_run(fake: FakeStripe) -> tuple[Any, Run]:
    from probed.clock import SystemClock
    from probed.net import Network
    from probed.testing.fake_stripe import KEY
    from probed.text.redact import Redactor
    from probes.stripe import StripeProbe

    probe = StripeProbe(mode="test", key=KEY, api_base=fake.base)
    run = Run(
        probe.declared, clock=SystemClock(), network=Network(), redactor=Redactor(), trace_id="1" * 32,
        span_id="2" * 16, timeout=2.0,
    )  # fmt: skip
    return probe, run


_PROGRAM = """
import asyncio, os, sys
from probed.net import Network
from probed.engine.runner import execute
from probed.testing.fake_stripe import KEY, FakeStripe
from probes.stripe import StripeProbe
from probed.text.redact import Redactor

async def main():
    async with FakeStripe() as fake:
        for fault in ("", "error", "huge"):
            fake.faults["*"] = fault
            probe = StripeProbe(mode="test", key=KEY, api_base=fake.base)
            await execute(probe, network=Network(), timeout=5.0, redactor=Redactor([KEY]))
assert "stripe" not in sys.modules
asyncio.run(main())
assert "stripe" in sys.modules
"""


def test_no_file_is_written_and_nothing_is_printed(tmp_path: Path) -> None:
    """In a process of its own, with all that makes the SDK talk; it is loaded by the first run."""
    environment = {
        **os.environ, "HOME": str(tmp_path), "STRIPE_LOG": "debug",
        "XDG_CONFIG_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", _PROGRAM],
        env=environment, capture_output=True, text=True, check=False, timeout=25,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert list(tmp_path.rglob("*")) == []


async def test_the_sdk_logs_nothing(
    fake: FakeStripe, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in ("", "error", "permission", "html"):
        fake.faults["*"] = fault
        await asked("api")
    assert [record for record in caplog.records if record.name.startswith("stripe")] == []


_OTHERS = """
import sys
from probed.config import loads
from probed.registry import Registry
config = loads("checks: [{name: a, probe: gateway, url: 'http://h/'}]", Registry())
found = {name.partition(".")[0] for name in sys.modules} & {"stripe", "pymongo", "requests"}
assert not found, found
assert not [name for name in sys.modules if name.startswith("probes.stripe")]
"""


def test_without_a_stripe_check_nothing_of_it_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OTHERS], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stderr
