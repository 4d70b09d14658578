"""What the tests of the stripe kind share: a Stripe on loopback, and one run of a probe of it."""

from __future__ import annotations

import time as system_time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import anyio
import pytest

from probed.clock import Clock
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing.fake_receiver import FakeReceiver
from probed.testing.fake_stripe import KEY, FakeStripe
from probed.testing.leaks import no_leaks
from probed.text.redact import Redactor
from probes.stripe import StripeProbe

OFF: dict[str, Any] = dict.fromkeys(("reach", "api", "events", "endpoints", "webhook", "drift"))
"""No step at all."""
SECRET = "whsec_" + "probedFakeSecret0123456789"

Asked: TypeAlias = Callable[..., Awaitable[Result]]
"""`await asked("api", memory=None, **settings)`: one run of those steps, against `fake`."""


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with FakeStripe() as stripe:
        yield stripe


@pytest.fixture
def asked(fake: FakeStripe) -> Asked:
    async def ask(
        *steps: str,
        memory: MutableMapping[str, Any] | None = None,
        clock: Clock | None = None,
        timeout: float = 2.0,
        redactor: Redactor | None = None,
        patience: float = 0.5,
        network: Network | None = None,
        **settings: Any,
    ) -> Result:
        chosen = OFF | dict.fromkeys(steps, "1m")
        given = {"mode": "test", "key": KEY, "api_base": fake.base, "steps": chosen} | settings
        async with no_leaks(patience=patience):
            return await execute(
                StripeProbe(**given), network=network or Network(), timeout=timeout, memory=memory, clock=clock,
                redactor=redactor,
            )  # fmt: skip

    return ask


@pytest.fixture
def found() -> Callable[[Result], list[tuple[str, str]]]:
    def pairs(result: Result) -> list[tuple[str, str]]:
        return [(finding.level.value, str(finding.reason)) for finding in result.findings]

    return pairs


@pytest.fixture
def measured() -> Callable[[Result], dict[str, float]]:
    def values(result: Result) -> dict[str, float]:
        """By name, and by name and attribute where there is one."""
        return {
            "".join([m.measure.name, *(f" {value}" for _, value in m.attributes)]): m.value
            for m in result.measures
        }

    return values


class Wall:
    """A clock whose time of day is set; its monotonic time is real."""

    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def time(self) -> float:
        return self.now

    monotonic = staticmethod(system_time.monotonic)
    sleep = staticmethod(anyio.sleep)


@pytest.fixture
def wall(fake: FakeStripe) -> Wall:
    """The time of day of probe and Stripe both."""
    clock = Wall()
    fake.clock = clock.time
    return clock


@pytest.fixture
async def receiver() -> AsyncIterator[FakeReceiver]:
    async with FakeReceiver(SECRET) as application:
        yield application
