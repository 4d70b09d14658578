"""What peers may do to us: large, slow and broken answers, and answers that echo what they are told."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from probed.model import Outcome
from probed.testing.fake_receiver import PATH, FakeReceiver
from probed.testing.fake_stripe import KEY, FakeStripe
from probed.testing.soundness import plain
from probed.testing.watchdog import Watchdog
from probed.testing.webserver import Answer, Received

pytestmark = pytest.mark.anyio
SECRET = "whsec_" + "probedFakeSecret0123456789"
JANE = "jane.c4nary@example.com"


def full_page(fake: FakeStripe, count: int = 100) -> int:
    """Events as large as real ones; the bytes of a page of them."""
    for number in range(count):
        fake.event(
            "customer.subscription.updated", age=3600.0 + number, pending=1, email=JANE,
            items=[{"id": f"si_{n}", "price": {"currency": "eur", "amount": n}} for n in range(12)],
        )  # fmt: skip
    return len(json.dumps(fake.events))


@pytest.mark.timing
async def test_a_hundred_events_keep_the_loop_free(
    fake: FakeStripe, asked: Any, found: Any
) -> None:
    assert full_page(fake) > 100_000
    await asked("api")  # the SDK is loaded
    answer = fake._found(
        "GET", "/v1/events", {"limit": ["100"]}
    )  # made once: it is not what is measured
    fake._listed_events = lambda _: answer  # type: ignore[method-assign]
    async with Watchdog() as watchdog:
        result = await asked("events")
    assert found(result) == [("failed", "stripe.events_undelivered")]
    assert watchdog.longest < 0.02, f"{watchdog.longest * 1000:.1f} ms"


@pytest.mark.timing
async def test_loading_the_sdk_does_not_stop_the_loop(fake: FakeStripe) -> None:
    """In a process of its own, where it is not loaded yet."""
    program = f"""
import asyncio, sys, time
from probed.net import Network
from probed.engine.runner import execute
from probes.stripe import StripeProbe

async def main():
    probe = StripeProbe(mode="test", key="{KEY}", api_base="{fake.base}",
                        steps=dict(reach=None, events=None, endpoints=None))
    network = Network()
    longest, last = 0.0, 0.0
    async def watch():
        nonlocal longest, last
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
    import probes.stripe.rounds
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    result = await execute(probe, network=network, timeout=10.0)
    assert "stripe" in sys.modules
    print(result.outcome.value, longest)
asyncio.run(main())
"""
    import sys

    async def load() -> float:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        outcome, longest = out.decode().split()
        assert outcome == "ok"
        return float(longest)

    # Neighbours on the machine can make one of them slow, not each of five.
    seen = []
    while len(seen) < 5 and min(seen, default=1.0) >= 0.02:
        seen.append(await load())
    assert min(seen) < 0.02


@pytest.mark.timing
@pytest.mark.parametrize("fault", ["html", "huge", "body", "text", "truncated", "no-error"])
@pytest.mark.parametrize("step", ["reach", "api", "events", "endpoints"])
async def test_answers_of_others_are_bounded(
    fake: FakeStripe, asked: Any, fault: str, step: str
) -> None:
    fake.faults = {"*": fault, "reach": fault}
    memory: dict[str, Any] = {}
    async with Watchdog() as watchdog:
        result = await asked(step, memory=memory)
    assert result.outcome is Outcome.FAILED
    assert len(json.dumps(plain(result))) < 8192
    assert len(json.dumps(memory)) < 4096
    assert watchdog.longest < 0.05


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"object": "list", "data": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"data": {"object": 1}, "has_more": "yes", "livemode": "no"}',
        b'{"data": [[], 1, null, {"created": 1e999, "id": [], "type": {}}], "has_more": true}',
        b'{"error": {"message": {"a": 1}, "code": ["x"], "type": 7}}',
        b"null", b"7", b'"x"', b"\xff\xfe", b"",
        b'{"livemode": false, "data": [' + b'{"id":"evt_1","created":1,"type":"a"},' * 20_000 + b"{}]}",
    ],
    ids=range(11),
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
async def test_json_that_is_not_stripes_is_never_a_crash(
    fake: FakeStripe, asked: Any, body: bytes, status: int
) -> None:
    fake.default = lambda _: Answer(status, {"Content-Type": "application/json"}, body)
    webhook = {"url": "https://h.example.com/", "synthetic": "off"}
    memory: dict[str, Any] = {}
    result = await asked("reach", "api", "endpoints", "events", memory=memory, webhook=webhook)
    assert result.outcome is not Outcome.OK
    assert "internal.error" not in {str(finding.reason) for finding in result.findings}
    assert len(json.dumps(memory)) < 8192


async def test_a_receiver_that_never_ends_its_answer(receiver: FakeReceiver, asked: Any) -> None:
    receiver.answers[PATH] = Answer(400, {}, b"x" * 10_000_000)
    webhook = {"url": receiver.hook}
    assert (await asked("webhook", webhook=webhook)).outcome is Outcome.OK


async def test_no_key_no_secret_and_no_customer_gets_out(
    fake: FakeStripe, receiver: FakeReceiver, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With nothing configured to be hidden: by what is looked at, and by its form. The peers tell all
    that they were told, in status lines, headers, bodies and errors.
    """
    caplog.set_level(logging.DEBUG)
    sent: list[str] = []

    def told(request: Received) -> str:
        sent.append(repr(request))
        return f"{dict(request.headers)} {JANE}".replace('"', "'")

    def echo(request: Received) -> Answer:
        text = told(request)
        headers = dict.fromkeys(("Request-Id", "Stripe-Version", "Location", "Server"), text)
        error = {"type": text, "code": text, "message": text, "param": text, "doc_url": text}
        value = {"error": error, "data": [{"id": text, "type": text, "created": 1}], "object": text}
        return Answer(echo_status, headers, json.dumps(value))

    full_page(fake, 3)
    receiver.answers[PATH] = echo
    good, bad = fake._reply, echo
    memory: dict[str, Any] = {}
    results = []
    for echo_status in (200, 302, 400, 401, 403, 404, 429, 500):
        for answer in (good, bad):
            fake.default = answer
            result = await asked(
                "reach", "api", "events", "endpoints", "webhook",
                webhook={"url": receiver.hook, "secret": SECRET, "synthetic": "signed"},
                memory=memory, api_version=f"2025-01-{echo_status % 28 + 1:02}.x",
            )  # fmt: skip
            results.append(json.dumps(plain(result)))
            results.append(json.dumps(memory))
    shown = "".join(results) + caplog.text
    for canary in (KEY, KEY.partition("_test_")[2], SECRET, SECRET.removeprefix("whsec_"), JANE):
        assert canary not in shown
    assert KEY in "".join(sent)
