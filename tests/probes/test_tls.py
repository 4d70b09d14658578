"""tls: the handshake works, and the certificate is good for long enough."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.engine.runner import execute
from probed.net import Network
from probed.testing import Authority, Peer, ProbeContract, Scenario, serve
from probed.testing.contract import Scenarios
from probes.tls import TlsProbe


async def shakes_hands(peer: Peer) -> None:
    await peer.until_gone()


class TestContract(ProbeContract):
    # What a peer says after the handshake is not asked for.
    expects = {  # noqa: RUF012
        "half_close": (Outcome.FAILED, "connect.closed"),
        "half_line": (Outcome.FAILED, "tls.not_tls"),
        "garbage": (Outcome.FAILED, "tls.not_tls"),
        "endless_line": (Outcome.FAILED, "tls.not_tls"),
        "tls_on_plain": (Outcome.FAILED, "tls.self_signed"),
        "drip": (Outcome.FAILED, "timeout.tls"),
        "tls_close": (Outcome.FAILED, "connect.closed"),
    }

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return TlsProbe(address=address, tls=tls or Tls())

    @asynccontextmanager
    async def peer(self, days: float, **expected: object) -> AsyncIterator[Scenario]:
        authority = Authority()
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(_folder()))
            issued = authority.issue("127.0.0.1", days=days)
            async with serve(shakes_hands, tls=issued.context) as server:
                tls = Tls(ca=authority.pem_file(folder))
                yield Scenario(self.make(server.address, tls), **expected)  # type: ignore[arg-type]

    def scenarios(self) -> Scenarios:
        return {
            "good": lambda: self.peer(90.0),
            "expires soon": lambda: self.peer(
                10.0, outcome=Outcome.DEGRADED, reason="tls.expires_soon"
            ),
            "expires very soon": lambda: self.peer(
                1.0, outcome=Outcome.FAILED, reason="tls.expires_soon"
            ),
        }


@contextlib.contextmanager
def _folder():  # noqa: ANN202
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.mark.parametrize("age", ["5", "soon", ""])
def test_an_age_without_unit_is_refused(age: str) -> None:
    with pytest.raises(ValueError, match="duration with its unit"):
        TlsProbe(address="a.test:443", certificate={"degraded": age})


@pytest.mark.anyio
async def test_an_expired_certificate_is_found_also_where_it_is_not_verified() -> None:
    issued = Authority().issue("127.0.0.1", expired=True)
    async with serve(shakes_hands, tls=issued.context) as server:
        probe = TlsProbe(address=server.address, tls=Tls(verify=False))
        result = await execute(probe, network=Network(), timeout=1.0)
    assert result.outcome is Outcome.FAILED
    assert result.worst is not None
    assert result.worst.reason == "tls.expired"
    assert [m.measure.name for m in result.measures] == ["probed.tls.certificate.not_after"]
