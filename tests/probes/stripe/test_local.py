"""Against localstripe, a Stripe that others have written: it signs and delivers, and we agree."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network
from probed.testing.fake_receiver import SYNC, FakeReceiver
from probed.testing.fake_stripe import FakeStripe
from probed.testing.leaks import no_leaks
from probes.stripe import StripeProbe

pytestmark = pytest.mark.anyio
KEY = "sk_test_" + "localFake"
SECRET = "whsec_" + "localFakeSecret0123456789"
OTHER = "whsec_" + "anotherFakeSecret123456789"
OFF = dict.fromkeys(("reach", "api", "events", "endpoints", "webhook", "drift"))


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    """Its base address."""
    program = Path(__file__).with_name("local.py")
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.communicate()


@asynccontextmanager
async def one(of: str, local: str) -> AsyncIterator[str]:
    """The base address of either Stripe, for what both can do."""
    if of == "localstripe":
        yield local
    else:
        async with FakeStripe(key=KEY) as fake:
            yield fake.base


async def ask(base: str, *steps: str, **settings: Any) -> Result:
    given = {
        "mode": "test",
        "key": KEY,
        "api_base": base,
        "steps": OFF | dict.fromkeys(steps, "1m"),
    }
    async with no_leaks():
        return await execute(StripeProbe(**given | settings), network=Network(), timeout=5.0)


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


BOTH = pytest.mark.parametrize("of", ["localstripe", "FakeStripe"])


@BOTH
async def test_without_a_key_both_answer_401(of: str, local: str) -> None:
    async with one(of, local) as base:
        assert (await ask(base, "reach")).outcome is Outcome.OK


@BOTH
@pytest.mark.parametrize("ping", ["balance", "charges"])
async def test_with_a_key_both_answer(of: str, local: str, ping: str) -> None:
    async with one(of, local) as base:
        assert (await ask(base, "api", ping=ping)).outcome is Outcome.OK


@BOTH
async def test_both_reject_a_key_that_they_do_not_know(of: str, local: str) -> None:
    async with one(of, local) as base:
        result = await ask(base, "api", key="rk_test_" + "notOneOfTheirs")
    assert found(result) == [("failed", "stripe.auth_rejected")]
    assert result.findings[0].evidence["status"] == 401


async def test_what_it_cannot_do_is_never_ok(local: str) -> None:
    """It knows no deliveries, and answers in plain text where it knows no route."""
    assert found(await ask(local, "events")) == [("unknown", "stripe.request_rejected")]
    assert found(await ask(local, "endpoints")) == [("failed", "http.not_json")]


def post(url: str, value: Any, *, form: bool = False) -> dict[str, Any]:
    """As the application does: only the probe may not."""
    body = urllib.parse.urlencode(value) if form else json.dumps(value)
    headers = {"Authorization": f"Bearer {KEY}"}
    if not form:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, body.encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        read: dict[str, Any] = json.loads(answer.read() or b"{}")
        return read


async def test_it_signs_and_delivers_and_our_check_agrees(local: str) -> None:
    async def configure(receiver: FakeReceiver, secret: str) -> None:
        settings = {"url": receiver.hook, "secret": secret, "events": None}
        await to_thread.run_sync(post, f"{local}/_config/webhooks/shop", settings)

    async def happen() -> dict[str, Any]:
        def create() -> dict[str, Any]:
            return post(f"{local}/v1/customers", {"email": "jane@example.com"}, form=True)

        return await to_thread.run_sync(create)

    async with FakeReceiver(SECRET) as receiver:
        webhook = {"url": receiver.hook, "secret": SECRET, "synthetic": "signed"}
        app = {"url": receiver.url(SYNC), "last_event": "$.last_event_created"}
        await configure(receiver, SECRET)
        customer = await happen()
        await receiver.until(
            lambda: any(
                event["data"]["object"].get("id") == customer["id"] for event in receiver.processed
            )
        )
        result = await ask(
            local, "reach", "api", "webhook", "drift",
            webhook=webhook, drift={"app": app}, events={"grace": "0s"},
        )  # fmt: skip
        assert result.outcome is Outcome.OK, result.findings
        lag = [m.value for m in result.measures if m.measure.name == "probed.stripe.sync.lag"]
        assert lag == [0]

        # The application gets a wrong secret: deliveries fail, and so does what we sign.
        receiver.secrets = [OTHER]
        receiver.processed.clear()
        await happen()
        await receiver.until(lambda: receiver.refused > 1)
        assert receiver.processed == []
        assert found(await ask(local, "webhook", webhook=webhook)) == [
            ("failed", "webhook.secret_mismatch")
        ]

        # The secret is rolled at Stripe and in the application: ours is the old one.
        await configure(receiver, OTHER)
        await happen()
        await receiver.until(lambda: bool(receiver.processed))
        refused = await ask(local, "webhook", webhook=webhook)
        assert found(refused) == [("failed", "webhook.secret_mismatch")]
        rolled = {**webhook, "secret": OTHER, "previous_secret": SECRET}
        assert (await ask(local, "webhook", webhook=rolled)).outcome is Outcome.OK

        # Nothing is verified: what it delivers is taken, and so is what nobody has signed.
        receiver.character = "open"
        assert found(await ask(local, "webhook", webhook=webhook)) == [
            ("failed", "webhook.signature_not_enforced")
        ]
    with anyio.fail_after(5):
        nobody = await ask(local, "webhook", webhook=webhook)
    assert found(nobody) == [("failed", "connect.refused")]
