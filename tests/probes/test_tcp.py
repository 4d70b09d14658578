"""tcp: something listens, and says what it should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.engine.runner import execute
from probed.net import Network
from probed.testing import Peer, ProbeContract, Scenario, serve
from probed.testing.contract import Scenarios
from probes.tcp import TcpProbe

pytestmark = pytest.mark.anyio


async def greeting(peer: Peer) -> None:
    await peer.send(b"220 mail.example ESMTP\x1b[2J\r\n")
    await peer.until_gone()


class TestContract(ProbeContract):
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "close_early": (Outcome.FAILED, "connect.closed"),
        "half_line": (Outcome.FAILED, "connect.closed"),
        "reset_mid_line": (Outcome.FAILED, "connect.reset"),
        "endless_line": (Outcome.FAILED, "banner.too_long"),
        "garbage": (Outcome.FAILED, "banner.mismatch"),
        "endless_lines": (Outcome.FAILED, "banner.mismatch"),
        "tls_on_plain": (Outcome.FAILED, "timeout.banner"),
        "drip": (Outcome.FAILED, "timeout.banner"),
        "hostile_line": (Outcome.OK, ""),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return TcpProbe(address=address, tls=tls, expect="^220 ")

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        async with serve(greeting) as server:
            yield Scenario(self.make(server.address, None))

    @asynccontextmanager
    async def mute(self) -> AsyncIterator[Scenario]:
        async with serve("silent") as server:
            yield Scenario(TcpProbe(address=server.address))

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Scenario]:
        async with serve(greeting) as server:
            probe = TcpProbe(address=server.address, expect="^SSH-")
            yield Scenario(probe, outcome=Outcome.FAILED, reason="banner.mismatch")

    def scenarios(self) -> Scenarios:
        return {"greeting": self.good, "no line expected": self.mute, "another line": self.another}


async def test_the_line_is_shown_as_evidence_and_made_safe() -> None:
    async with serve(greeting) as server:
        result = await execute(
            TcpProbe(address=server.address, expect="^SSH-"), network=Network(), timeout=1.0
        )
    assert result.findings[0].message == "The first line does not match '^SSH-'."
    assert result.findings[0].evidence == {"banner": "220 mail.example ESMTP\\x1b[2J"}


async def test_a_line_that_does_not_end_is_too_long() -> None:
    async with serve("endless_line") as server:
        result = await execute(
            TcpProbe(address=server.address, expect="x"), network=Network(), timeout=1.0
        )
    assert result.worst is not None
    assert result.worst.reason == "banner.too_long"


@pytest.mark.parametrize(
    "address", ["a.test", "a.test:0", "a.test:65536", "a.test:x", "::1:80", "a b:80", ":80", "-:80"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host"):
        TcpProbe(address=address)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("A.Test:25", "a.test:25"),
        ("[2001:DB8::1]:25", "[2001:db8::1]:25"),
        ("192.0.2.1:25", "192.0.2.1:25"),
        ("bücher.test:25", "xn--bcher-kva.test:25"),
    ],
)
def test_the_target_is_the_address_as_it_is_dialed(written: str, shown: str) -> None:
    assert TcpProbe(address=written).target == shown
