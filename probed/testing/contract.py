"""Contract suite that every probe kind must pass. Subclass `ProbeContract` in a test module.

    class TestTcp(ProbeContract):
        protocol = "tcp"

        def make(self, address: HostPort, tls: Tls | None) -> Probe:
            return TcpProbe(address=address, tls=tls, expect="^220 ")

        @asynccontextmanager
        async def good(self) -> AsyncIterator[Scenario]:
            async with serve(greeting) as server:
                yield Scenario(self.make(server.address, None))

        def scenarios(self) -> Scenarios:
            return {"greeting": self.good}

The suite's tests are coroutines for anyio's pytest plugin: the fixture `anyio_backend` must say
`asyncio`. Import this module after `pytest.register_assert_rewrite` for detailed assertions.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, cast

import anyio
import pytest
from anyio import to_thread

from probed.config import Check
from probed.config.docs import field_docs
from probed.engine.runner import Runner, execute
from probed.fields import HostPort, Tls
from probed.model import Outcome, Result
from probed.net import Network, Resolver
from probed.probe import CERTIFICATE_NOT_AFTER, Probe
from probed.testing.certificates import Authority, Issued
from probed.testing.expected import (
    ANSWERS,
    CERTIFICATES,
    HERE,
    NAME,
    NAMES,
    PEERS,
    THERE,
    WAYS,
)
from probed.testing.leaks import no_leaks
from probed.testing.nameserver import FAULTS, Fault, dns_server
from probed.testing.peer import Peer
from probed.testing.servers import BEHAVIOURS, serve
from probed.testing.soundness import (
    assert_commits,
    assert_failed,
    assert_memory,
    assert_reason,
    assert_sound,
    named_types,
)
from probed.testing.tcp_behaviours import CANARY
from probed.text.redact import Redactor

__all__ = ["CANARY", "ProbeContract", "Scenario", "Scenarios"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A probe of a running peer, and the expected result of the last of `runs` runs."""

    probe: Probe
    network: Network | None = None
    outcome: Outcome = Outcome.OK
    reason: str | None = None
    runs: int = 1


Scenarios: TypeAlias = "Mapping[str, Callable[[], AbstractAsyncContextManager[Scenario]]]"


class ProbeContract:
    """Tests of one kind against good and misbehaving peers.

    `protocol` selects the misbehaviours: those of TCP, those of TCP and HTTP, those of name servers,
    or with None none, and then `make` is never called. `tolerates` names misbehaviours that this kind
    accepts; `expects` has outcome and reason for others where the suite has no expectation. `grace`
    is how many seconds a run may end after its deadline.
    """

    pytestmark = pytest.mark.anyio

    protocol: ClassVar[Literal["tcp", "http", "dns"] | None] = "tcp"
    speaks_tls: ClassVar[bool] = True
    resolves: ClassVar[bool] = True
    tolerates: ClassVar[frozenset[str]] = frozenset()
    expects: ClassVar[Mapping[str, tuple[Outcome, str]]] = {}
    timeout: ClassVar[float] = 0.5
    grace: ClassVar[float] = 0.3

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        """Return a probe of the peer at this address, plain or over TLS."""
        raise NotImplementedError

    def scenarios(self) -> Scenarios:
        """Return good peers by name. Together they make the kind emit every declared measure."""
        raise NotImplementedError

    async def before_tls(self, peer: Peer) -> None:
        """Talk before TLS starts, for kinds that upgrade (STARTTLS)."""

    # Building blocks of the tests.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Remove the tests that do not apply to the kind, instead of skipping them."""
        super().__init_subclass__(**kwargs)
        direct = cls.protocol in {"tcp", "http"}
        for name, concerns in {
            "test_misbehaving_peer": direct,
            "test_misbehaving_name_server": cls.protocol == "dns",
            "test_cancelled_from_outside": direct,
            "test_name_that_does_not_resolve": cls.protocol is not None and cls.resolves,
            "test_name_that_leads_to_the_peer": direct and cls.resolves,
            "test_name_with_a_thousand_addresses": direct and cls.resolves,
            "test_name_that_leads_where_nobody_may_go": direct and cls.resolves,
            "test_bad_certificate": direct and cls.speaks_tls,
            "test_peer_that_misbehaves_in_the_handshake": direct and cls.speaks_tls,
        }.items():
            if not concerns:
                setattr(cls, name, None)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        cases: dict[str, Sequence[str]] = {
            "scenario": list(self.scenarios()),
            "behaviour": self._behaviours(),
            "tls_behaviour": [name for name, b in BEHAVIOURS.items() if b.layer == "tls"],
            "certificate": list(CERTIFICATES),
            "fault": list(NAMES),
            "server_fault": [*FAULTS, "nobody"],
            "way": list(WAYS),
            "stage": ["silent", "tls_stall"] if self.speaks_tls else ["silent"],
        }
        for name, values in cases.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values)

    def _behaviours(self) -> list[str]:
        layers = {"tcp": ("tcp",), "http": ("tcp", "http")}.get(self.protocol or "", ())
        return [name for name, behaviour in BEHAVIOURS.items() if behaviour.layer in layers]

    async def run(
        self,
        probe: Probe,
        network: Network | None = None,
        memory: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Run the probe once, and assert that it ends in time with a sound result."""
        loop = asyncio.get_running_loop()
        timeout = timeout or self.timeout
        memory = {} if memory is None else memory
        start = loop.time()
        result = await execute(
            probe,
            timeout=timeout,
            network=network or Network(),
            redactor=Redactor([CANARY]),
            memory=memory,
        )
        late = loop.time() - start - timeout
        assert late < self.grace, f"the run ended {late:.3f} s after its deadline"
        assert_sound(probe, result)
        assert_memory(memory)
        return result

    async def play(self, scenario: str) -> list[Result]:
        """Run a scenario, and assert its outcome and reason."""
        memory: dict[str, Any] = {}
        async with self.scenarios()[scenario]() as scene:
            network = scene.network or Network()
            results = [await self.run(scene.probe, network, memory) for _ in range(scene.runs)]
        last = results[-1]
        assert last.outcome is scene.outcome, f"{last.outcome}: {last.findings}"
        if scene.reason is not None:
            assert_reason(last, scene.reason)
        return results

    @pytest.fixture
    def authority(self) -> Authority:
        return Authority()

    @pytest.fixture
    def trusting(self, authority: Authority, tmp_path: Path) -> Tls:
        return Tls(ca=authority.pem_file(tmp_path))

    @pytest.fixture(autouse=True)
    def no_secret_is_logged(self, caplog: pytest.LogCaptureFixture) -> Any:
        caplog.set_level(logging.DEBUG)
        yield
        assert CANARY not in caplog.text, "a secret was logged"

    # The tests.

    async def test_it_documents_itself(self) -> None:
        """The class and each of its settings and measures have documentation."""
        assert self.scenarios(), "no scenario"
        for scenario in self.scenarios().values():
            async with scenario() as scene:
                kind = type(scene.probe)
            assert kind.__doc__, f"{kind.__name__} has no docstring"
            docs = await to_thread.run_sync(field_docs, kind)
            for name in kind.model_fields:
                assert name in docs, f"{kind.__name__}.{name} has no docstring"
            for measure in kind.measures:
                assert measure.help, f"{measure.name} has no help"

    async def test_good_peer(self, scenario: str) -> None:
        """A good peer gets the expected outcome, and nothing is leaked."""
        async with no_leaks():
            await self.play(scenario)

    async def test_it_makes_no_garbage(self, scenario: str) -> None:
        """A run leaves no reference cycles: collecting them blocks the event loop, longer with more
        checks.
        """
        async with self.scenarios()[scenario]() as scene:
            network = scene.network or Network()
            ours = {"probed", type(scene.probe).__module__.partition(".")[0]}
            for _ in range(2):  # the first run fills caches
                gc.collect()
                gc.set_debug(gc.DEBUG_SAVEALL)
                try:
                    await self.run(scene.probe, network)
                    gc.collect()
                    left = [type(each) for each in gc.garbage]
                finally:
                    gc.set_debug(0)
                    gc.garbage.clear()
        found = named_types(left, ours)
        assert not found, f"left in cycles: {found}"

    async def test_memory_is_committed_with_its_result(self, scenario: str) -> None:
        """A run works on a copy of what the check remembers, and leaves nothing when it is cancelled."""
        async with self.scenarios()[scenario]() as scene:
            runner = Runner(scene.network or Network(), redactor=Redactor([CANARY]))
            await assert_commits(
                runner, Check("check", scene.probe, timeout=self.timeout, confirm=0)
            )

    async def test_every_declared_measure_is_emitted(self) -> None:
        """The scenarios together make the kind emit every measure that it declares."""
        declared: set[str] = set()
        emitted: set[str] = set()
        for name, scenario in self.scenarios().items():
            async with scenario() as scene:
                declared |= {measure.name for measure in type(scene.probe).measures}
            for result in await self.play(name):
                emitted |= {m.measure.name for m in result.measures}
        assert not declared - emitted, f"never emitted: {sorted(declared - emitted)}"

    async def test_misbehaving_peer(self, behaviour: str) -> None:
        """A misbehaving peer is never ok, and never delays a run."""
        async with no_leaks(), serve(behaviour) as server:
            result = await self.run(self.make(server.address, None))
        if behaviour in self.tolerates:
            return
        if BEHAVIOURS[behaviour].broken:
            assert result.outcome is not Outcome.OK, f"{behaviour} was ok"
        if behaviour in self.expects:
            self._assert_expected(behaviour, result)
        elif BEHAVIOURS[behaviour].broken:
            known = PEERS | ANSWERS
            if BEHAVIOURS[behaviour].layer == "tcp" or behaviour in known:
                assert_failed(result, known.get(behaviour, ""))

    def _assert_expected(self, behaviour: str, result: Result) -> None:
        outcome, reason = self.expects[behaviour]
        assert result.outcome is outcome, f"{result.outcome}: {result.findings}"
        assert_reason(result, reason)

    async def test_misbehaving_name_server(self, server_fault: str) -> None:
        """A misbehaving name server is never ok, and never delays a run."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(no_leaks())
            if server_fault == "nobody":
                address = (await stack.enter_async_context(serve("refused"))).address
            else:
                fault = cast("Fault", server_fault)
                address = (await stack.enter_async_context(dns_server(fault=fault))).address
            result = await self.run(self.make(address, None))
        if server_fault in self.expects:
            self._assert_expected(server_fault, result)
        else:
            reason = NAMES.get(cast("Fault", server_fault), "dns.")
            assert_failed(result, reason.replace("timeout.resolve", "timeout."))

    async def test_name_that_does_not_resolve(self, fault: Fault) -> None:
        """The reason distinguishes a failing name from a failing peer."""
        async with no_leaks(), dns_server(fault=fault) as server:
            network = Network(resolver=Resolver(servers=[server.server], hosts=None))
            probe = self.make(HostPort("nowhere.example.com", 9), None)
            result = await self.run(probe, network)
            assert server.queries, "the resolver of the run was not used"
        assert_failed(result, NAMES[fault])

    async def test_name_that_leads_to_the_peer(self, way: str) -> None:
        """An odd or half-broken name is sufficient if one of its addresses answers."""
        async with no_leaks(), serve("close_early") as server, WAYS[way]() as names:
            network = Network(resolver=Resolver(servers=[names.server], hosts=None))
            result = await self.run(self.make(HostPort(NAME, server.port), None), network)
            assert server.connections, f"the peer was not contacted: {result.findings}"
        if "close_early" not in self.tolerates:
            assert_failed(result, "connect.")

    async def test_name_with_a_thousand_addresses(self) -> None:
        """Only a limited number of addresses is tried."""
        thousand = [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(1000)]
        zone = {(NAME, "A"): thousand}
        async with no_leaks(), serve("refused") as server, dns_server(zone) as names:
            network = Network(resolver=Resolver(servers=[names.server], hosts=None))
            result = await self.run(
                self.make(HostPort(NAME, server.port), None), network, timeout=10.0
            )
        assert_failed(result, "connect.refused")

    async def test_name_that_leads_where_nobody_may_go(self) -> None:
        """The address that was checked is the one that is contacted, in every run: a name that later
        resolves to the metadata service (DNS rebinding) is denied.
        """
        async with no_leaks(), serve("close_early") as server, dns_server(HERE, ttl=0) as names:
            network = Network(resolver=Resolver(servers=[names.server], hosts=None))
            probe = self.make(HostPort(NAME, server.port), None)
            await self.run(probe, network)
            asked = server.connections
            assert asked, "the peer was not contacted"
            names.zone[NAME, "A"] = THERE
            result = await self.run(probe, network)
            assert server.connections == asked, "an old address was contacted"
        assert result.outcome is Outcome.UNKNOWN, f"{result.outcome}: {result.findings}"
        assert_reason(result, "connect.denied")

    async def test_bad_certificate(
        self, certificate: str, authority: Authority, trusting: Tls
    ) -> None:
        """A bad certificate has its own reason, and its expiry is measured."""
        issued = authority.of_kind(certificate, "127.0.0.1")
        async with no_leaks(), serve(self._over_tls(issued)) as server:
            result = await self.run(self.make(server.address, trusting))
        assert_failed(result, CERTIFICATES[certificate])
        ends = [m.value for m in result.measures if m.measure is CERTIFICATE_NOT_AFTER]
        assert ends == [issued.not_after], "the expiry of the certificate was not measured"

    def _over_tls(self, issued: Issued) -> Callable[[Peer], Any]:
        async def talk(peer: Peer) -> None:
            await self.before_tls(peer)
            await peer.start_tls(issued.context)
            await peer.until_gone()

        return talk

    async def test_peer_that_misbehaves_in_the_handshake(
        self, tls_behaviour: str, trusting: Tls
    ) -> None:
        """A peer that does not complete the TLS handshake fails in time."""
        talk = BEHAVIOURS[tls_behaviour].talk
        assert talk is not None

        async def upgrade(peer: Peer) -> None:
            await self.before_tls(peer)
            await talk(peer)

        async with no_leaks(), serve(upgrade) as server:
            result = await self.run(self.make(server.address, trusting))
        if tls_behaviour in self.expects:
            self._assert_expected(tls_behaviour, result)
        else:
            assert_failed(result, PEERS.get(tls_behaviour, ""))

    async def test_cancelled_from_outside(self, stage: str, trusting: Tls) -> None:
        """A cancelled run ends at once and leaks nothing."""
        loop = asyncio.get_running_loop()
        async with no_leaks(), serve(stage) as server:
            probe = self.make(server.address, trusting if stage == "tls_stall" else None)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_execute, probe)
                await server.until(lambda: server.connections > 0)
                start = loop.time()
                tasks.cancel_scope.cancel()
            took = loop.time() - start
        assert took < self.grace, f"the run continued for {took:.3f} s"


async def _execute(probe: Probe) -> None:
    await execute(probe, timeout=30.0, network=Network())
