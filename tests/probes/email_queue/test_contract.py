"""email_queue: the contract of all kinds, with Redis as the peer, and programs as good ones."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from probed import HostPort, Outcome, Probe, Tls
from probed.testing import Peer, ProbeContract, Scenario, serve
from probed.testing.contract import Scenarios
from probes.email_queue import EmailQueueProbe


async def redis(peer: Peer) -> None:
    while True:
        await peer.read_line()
        words = []
        for _ in range(2):
            await peer.read_line()
            words.append(await peer.read_line())
        await peer.send(b":3\r\n" if words[0] == b"LLEN" else b"+OK\r\n")


class TestContract(ProbeContract):
    timeout = 2.0
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "close_early": (Outcome.FAILED, "connect."),
        "half_line": (Outcome.FAILED, "queue.not_understood"),
        "reset_mid_line": (Outcome.FAILED, "queue.not_understood"),
        "endless_line": (Outcome.FAILED, "queue.not_understood"),
        "endless_lines": (Outcome.FAILED, "queue.not_understood"),
        "garbage": (Outcome.FAILED, "queue.not_understood"),
        "hostile_line": (Outcome.FAILED, "queue.not_understood"),
        "tls_on_plain": (Outcome.FAILED, "connect."),
        "drip": (Outcome.FAILED, "queue.not_understood"),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        keys = [{"key": "mail"}]
        return EmailQueueProbe(redis={"address": address, "keys": keys, "tls": tls})

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        async with serve(redis) as server:
            yield Scenario(self.make(server.address, None))

    @asynccontextmanager
    async def messages(self) -> AsyncIterator[Scenario]:
        message = {
            "queue_name": "deferred",
            "arrival_time": time.time() - 600,
            "recipients": [{"delay_reason": "connection refused"}],
        }
        program = f"import time; time.sleep(0.6); print({json.dumps(message)!r})"
        run = [sys.executable, "-I", "-S", "-c", program]
        yield Scenario(EmailQueueProbe(postqueue={"run": run}), runs=3)

    def scenarios(self) -> Scenarios:
        return {"redis": self.good, "messages": self.messages}
