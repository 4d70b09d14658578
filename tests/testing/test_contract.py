"""The contract suite passes a sound kind, and finds the defects of unsound ones."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from probed.fields import HostPort, Tls, Url
from probed.http import Request
from probed.model import Measure, Outcome
from probed.net import Stream
from probed.probe import Probe, Run
from probed.probe.connections import start_tls
from probed.reasons import Reason, Reasons
from probed.testing.certificates import Authority
from probed.testing.contract import CANARY, ProbeContract, Scenario, Scenarios
from probed.testing.leaks import LeakError
from probed.testing.peer import Peer
from probed.testing.servers import serve
from probed.testing.soundness import assert_memory
from probed.testing.webserver import Answer, http_server
from probed.text.redact import SecretStr

pytestmark = pytest.mark.anyio


class EchoReason(Reasons):
    WRONG = "echo.wrong", "The peer did not greet."


class EchoProbe(Probe):
    """Read the greeting of a peer."""

    kind = "echo"
    address: HostPort
    """Address of the peer."""
    tls: Tls | None = None
    """TLS settings."""
    password: SecretStr = SecretStr(CANARY)
    """A secret."""

    measures = (Measure("probed.echo.size", unit="By", help="Length of the greeting."),)
    reasons = EchoReason

    async def probe(self, run: Run) -> None:
        async with run.connect(self.address, tls=self.tls) as stream:
            with run.phase("banner"):
                line = await stream.readline()
        run.memory["size"] = len(line)
        run.measure("probed.echo.size", len(line))
        run.expect(line.startswith(b"220"), EchoReason.WRONG, evidence={"banner": line})


async def greet(peer: Peer) -> None:
    await peer.send(b"220 hello\r\n")


class EchoContract(ProbeContract):
    probe: ClassVar[type[EchoProbe]] = EchoProbe
    timeout = 0.3

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return self.probe(address=address, tls=tls)

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        async with serve(greet) as server:
            yield Scenario(self.make(server.address, None), runs=2)

    @asynccontextmanager
    async def rude(self) -> AsyncIterator[Scenario]:
        async with http_server({"/": Answer()}) as server:
            server.answers.clear()
            yield Scenario(
                self.make(HostPort("127.0.0.1", server.port), None),
                outcome=Outcome.FAILED,
                reason="timeout.banner",
            )

    def scenarios(self) -> Scenarios:
        return {"good": self.good, "rude": self.rude}


class TestEcho(EchoContract):
    """A sound kind passes."""


class StartTlsProbe(EchoProbe):
    """Read the greeting of a peer after STARTTLS."""

    async def probe(self, run: Run) -> None:
        async with run.connect(self.address) as stream:
            if self.tls is not None:
                with run.phase("starttls"):
                    await self._say(stream)
                await start_tls(run, stream, self.tls, self.address.host, self._say)
            with run.phase("banner"):
                line = await stream.readline()
        run.measure("probed.echo.size", len(line))
        run.expect(line.startswith(b"220"), EchoReason.WRONG)

    @staticmethod
    async def _say(stream: Stream) -> None:
        await stream.send(b"STARTTLS\r\n")
        await stream.readline()


class TestStartTls(EchoContract):
    """A kind that upgrades to TLS after a plain-text dialogue."""

    probe = StartTlsProbe

    async def before_tls(self, peer: Peer) -> None:
        await peer.read_until(b"STARTTLS\r\n")
        await peer.send(b"220 go ahead\r\n")


class PageProbe(Probe):
    """Fetch a page."""

    kind = "page"
    url: Url
    """URL of the page."""
    tls: Tls = Tls()
    """TLS settings."""

    measures = (
        Measure("probed.page.size", unit="By", help="Length of the page.", attributes=("server",)),
    )

    async def probe(self, run: Run) -> None:
        answer = await run.fetch(Request(self.url, tls=self.tls))
        server = answer.header("server") or "none"
        run.measure("probed.page.size", answer.size, {"server": server})
        run.fact("page.type", run.clean(answer.header("content-type") or ""))
        evidence = {"body": answer.body, "server": server}
        run.expect(answer.status == 200, Reason.HTTP_STATUS, evidence=evidence)
        run.expect(answer.undecoded is None, Reason.HTTP_ENCODING)


class TestPage(ProbeContract):
    """A kind with HTTP is also tested against the misbehaviours of HTTP."""

    protocol = "http"
    timeout = 0.3

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        scheme = "https" if tls else "http"
        return PageProbe(url=Url.parse(f"{scheme}://{address}/"), tls=tls or Tls())

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Scenario]:
        async with http_server({"/": Answer(body="hello")}) as server:
            yield Scenario(self.make(server.address, None))

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[Scenario]:
        async with http_server({}) as server:
            probe = self.make(server.address, None)
            yield Scenario(probe, outcome=Outcome.FAILED, reason="http.status")

    def scenarios(self) -> Scenarios:
        return {"page": self.page, "gone": self.gone}


class TestWithoutTls(EchoContract):
    """Tests of TLS and of names are removed if they do not apply to a kind."""

    speaks_tls = False
    resolves = False

    def test_what_is_left_out(self) -> None:
        for name in ("test_bad_certificate", "test_name_that_does_not_resolve"):
            assert getattr(self, name) is None
        assert callable(self.test_misbehaving_peer)


Ask = Callable[[EchoProbe, Run], Awaitable[None]]


def variant(ask: Ask, *, seconds: float = 0.5) -> EchoContract:
    """Return the contract of a kind with this behaviour."""

    class Variant(EchoProbe):
        """A kind that is unsound."""

        async def probe(self, run: Run) -> None:
            await ask(self, run)

    class VariantContract(EchoContract):
        probe = Variant
        timeout = seconds

    return VariantContract()


async def connect_only(self: EchoProbe, run: Run) -> None:
    async with run.connect(self.address, tls=self.tls):
        pass


async def test_a_kind_that_takes_silence_for_health_is_found() -> None:
    contract = variant(connect_only)
    for behaviour in ("silent", "close_early", "garbage"):
        with pytest.raises(AssertionError, match="was ok"):
            await contract.test_misbehaving_peer(behaviour)
    contract = variant(connect_only)
    type(contract).tolerates = frozenset({"silent"})
    await contract.test_misbehaving_peer("silent")


async def test_a_declared_measure_that_never_comes_is_found() -> None:
    class Lazy(EchoContract):
        def scenarios(self) -> Scenarios:
            return {"good": self.good}

    contract = Lazy()
    await contract.test_every_declared_measure_is_emitted()
    lazy = variant(connect_only)
    type(lazy).scenarios = Lazy.scenarios  # type: ignore[method-assign, assignment]
    with pytest.raises(AssertionError, match=r"never emitted: \['probed\.echo\.size'\]"):
        await lazy.test_every_declared_measure_is_emitted()


async def test_a_socket_left_open_is_found() -> None:
    kept: list[socket.socket] = []

    async def leak(self: EchoProbe, run: Run) -> None:
        stream = await run.network.dial(run, self.address.host, self.address.port)
        kept.append(stream.socket)
        await stream.readline()

    with pytest.raises(LeakError, match="socket"):
        await variant(leak).test_misbehaving_peer("close_early")
    kept[0].close()


async def test_a_task_left_running_is_found() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def leak(self: EchoProbe, run: Run) -> None:
        tasks.append(asyncio.create_task(asyncio.sleep(60)))
        await EchoProbe.probe(self, run)

    with pytest.raises(LeakError, match="task"):
        await variant(leak).test_misbehaving_peer("close_early")
    tasks[0].cancel()


async def test_another_reason_than_the_expected_one_is_found() -> None:
    contract = variant(EchoProbe.probe)
    type(contract).expects = {"half_close": (Outcome.FAILED, "banner.mismatch")}
    with pytest.raises(AssertionError, match=r"found connect\.closed, not banner\.mismatch"):
        await contract.test_misbehaving_peer("half_close")
    type(contract).expects = {"half_close": (Outcome.DEGRADED, "connect.closed")}
    with pytest.raises(AssertionError, match=r"^failed: "):
        await contract.test_misbehaving_peer("half_close")


async def test_a_kind_that_asks_an_old_address_is_found() -> None:
    known: list[str] = []

    async def hasty(self: EchoProbe, run: Run) -> None:
        known.extend([] if known else await run.network.resolver.addresses(self.address.host))
        async with run.connect(HostPort(known[0], self.address.port)) as stream:
            await stream.readline()

    with pytest.raises(AssertionError, match="an old address was contacted"):
        await variant(hasty).test_name_that_leads_where_nobody_may_go()


async def test_a_result_without_bounds_is_found() -> None:
    async def endless(self: EchoProbe, run: Run) -> None:
        for number in range(400):
            run.fact(f"echo.{number}", "x" * 500)

    with pytest.raises(AssertionError, match="the result takes"):
        await variant(endless).test_good_peer("good")


async def test_a_run_that_does_not_end_in_time_is_found() -> None:
    async def linger(self: EchoProbe, run: Run) -> None:
        try:
            await EchoProbe.probe(self, run)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.4)

    with pytest.raises(AssertionError, match="after its deadline"):
        await variant(linger, seconds=0.1).test_misbehaving_peer("silent")


async def test_a_certificate_that_is_not_judged_is_found(authority: Authority) -> None:
    async def trusting(self: EchoProbe, run: Run) -> None:
        blind = Tls(verify=False) if self.tls else None
        async with run.connect(self.address, tls=blind):
            pass

    contract = variant(trusting)
    with pytest.raises(AssertionError, match=r"^ok: "):
        await contract.test_bad_certificate("expired", authority, Tls(verify=False))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def test_a_secret_that_is_shown_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def show(self: EchoProbe, run: Run) -> None:
        run.facts["echo.greeting"] = CANARY  # past `fact`, which cleans

    with pytest.raises(AssertionError, match="a secret is shown"):
        await variant(show).test_good_peer("good")


async def test_foreign_text_that_was_not_made_safe_is_found() -> None:
    async def show(self: EchoProbe, run: Run) -> None:
        run.facts["echo.greeting"] = "\x1b[31mred"

    with pytest.raises(AssertionError, match="not made safe"):
        await variant(show).test_good_peer("good")


async def test_a_reason_of_nobodys_is_found() -> None:
    class Stray(Reasons):
        STRAY = "stray.reason", "A reason that the kind does not declare."

    async def stray(self: EchoProbe, run: Run) -> None:
        run.fail(Stray.STRAY)

    with pytest.raises(AssertionError, match=r"stray\.reason is in no set"):
        await variant(stray).test_good_peer("good")


async def test_a_probe_that_breaks_is_found() -> None:
    async def broken(self: EchoProbe, run: Run) -> None:
        raise KeyError("oops")

    with pytest.raises(AssertionError, match="the probe itself failed"):
        await variant(broken).test_good_peer("good")


async def test_a_fact_that_is_no_json_is_found() -> None:
    async def odd(self: EchoProbe, run: Run) -> None:
        run.fact("echo.greeting", b"bytes")  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="bytes"):
        await variant(odd).test_good_peer("good")


async def test_a_setting_without_a_docstring_is_found() -> None:
    class Silent(EchoProbe):
        """A kind without documentation."""

        depth: int = 1

    class SilentContract(EchoContract):
        probe = Silent

    with pytest.raises(AssertionError, match=r"Silent\.depth has no docstring"):
        await SilentContract().test_it_documents_itself()


async def test_a_run_that_swallows_its_cancellation_is_found() -> None:
    async def stubborn(self: EchoProbe, run: Run) -> None:
        try:
            await EchoProbe.probe(self, run)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.4)

    with pytest.raises(AssertionError, match="the run continued"):
        await variant(stubborn).test_cancelled_from_outside("silent", Tls())


def test_memory_must_be_small_and_hold_no_secret() -> None:
    assert_memory({"seen": ["a"]})
    with pytest.raises(AssertionError, match="bytes"):
        assert_memory({"seen": "x" * 100_000})
    with pytest.raises(AssertionError, match="secret"):
        assert_memory({"token": CANARY})


def test_reasons_are_told_apart_by_area() -> None:
    assert {r.partition(".")[0] for r in EchoReason} == {"echo"}
    assert str(Reason.TLS_EXPIRED) == "tls.expired"
    logging.getLogger(__name__).debug("nothing secret")
