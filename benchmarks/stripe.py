"""Cost of a Stripe check: loading the SDK once, and each run of all steps."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, ratio
from probed.engine.runner import execute
from probed.net import Network
from probed.testing.fake_receiver import FakeReceiver
from probed.testing.fake_stripe import KEY, FakeStripe
from probes.stripe import StripeProbe

_LOAD = "import httpx2, pydantic, probes.stripe.rounds"
_SDK = _LOAD + ", probes.stripe.sdk"


def stripe(folder: Path, *, quick: bool) -> list[Figure]:  # noqa: ARG001
    """Measure the SDK's import beside the imports without it, and the CPU time of one run."""
    rounds = 3 if quick else 15
    for program in (_SDK, _LOAD):  # what is compiled is compiled
        _cost(program)
    pairs = [(_cost(_SDK), _cost(_LOAD)) for _ in range(rounds)]
    loading = ratio("first Stripe run: the SDK loaded / without it", pairs, (4.0, 2.5, 1.5), "ms")
    each = asyncio.run(_runs(20 if quick else 200))
    detail = "5 steps with 6 requests, and the work of the peers"
    run = Figure("CPU per Stripe run, peers included", median(each) * 1000, "ms", detail=detail)
    return [loading, run]


async def _runs(count: int) -> list[float]:
    secret, found = "whsec_benchmark0123456789", []
    async with FakeStripe() as fake, FakeReceiver(secret) as receiver:
        fake.endpoint(receiver.hook, "invoice.paid")
        for number in range(100):
            fake.event("invoice.paid", age=600.0 + number)
        probe = StripeProbe(
            mode="test", key=KEY, api_base=fake.base,
            webhook={"url": receiver.hook, "secret": secret, "synthetic": "signed"},
        )  # fmt: skip
        network = Network()
        for _ in range(count + 1):
            begun = time.process_time()
            result = await execute(probe, network=network, timeout=10.0)
            found.append(time.process_time() - begun)
            assert result.outcome.value == "ok", result.findings
    return found[1:]


def _cost(program: str) -> float:
    """Return milliseconds of CPU time of a process."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run((sys.executable, "-c", program), check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000
