"""While every reference fails, other failures say nothing of their targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest

from probed import HostPort, Outcome, Probe, Reason, Run
from probed.config import Check
from probed.engine.references import REST, References
from probed.engine.runner import Runner
from probed.model import Result
from probed.net import Network
from probed.testing import FakeClock

pytestmark = pytest.mark.anyio


class Asked(Probe):
    """Does what the test says."""

    kind = "asked"
    address: HostPort = HostPort("a.test", 1)
    answer: Callable[[Run], None]

    async def probe(self, run: Run) -> None:
        self.answer(run)


@dataclass
class Internet:
    """Whether there is one, and who asked for it."""

    there: bool = True
    asked: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def check(self, name: str, *, reference: bool = False, enabled: bool = True) -> Check:
        def answer(run: Run) -> None:
            self.asked.append(name)
            if not self.there:
                run.fail(Reason.CONNECT_UNREACHABLE)

        return Check(name, Asked(answer=answer), reference=reference, enabled=enabled)

    async def run(self, references: References, check: Check) -> Result:
        """A run as the daemon does it."""
        started = self.clock.monotonic()
        result = await references._runner.run(check)
        await self.clock.advance(0.1)
        return await references.judge(check, result, started)

    def references(self, *checks: Check) -> References:
        return References(Runner(Network(), clock=self.clock), checks)


@pytest.fixture
def internet() -> Internet:
    return Internet()


async def test_offline_a_failure_is_unknown_and_says_what_it_would_have_been(
    internet: Internet,
) -> None:
    web, a, b = internet.check("web"), *(internet.check(n, reference=True) for n in "ab")
    references = internet.references(web, a, b)
    internet.there = False
    result = await internet.run(references, web)
    assert result.outcome is Outcome.UNKNOWN
    assert result.why == (
        "self.offline: All reference targets fail too (a, b): this machine is offline."
    )
    assert [f.reason for f in result.findings] == ["self.offline", "connect.unreachable"]
    assert result.previous is not None
    assert result.previous.outcome is Outcome.UNKNOWN


async def test_online_a_failure_is_a_failure(internet: Internet) -> None:
    web, a = internet.check("web"), internet.check("a", reference=True)
    references = internet.references(web, a)
    down = Check("down", Asked(answer=lambda run: run.fail(Reason.CONNECT_REFUSED)))
    assert (await internet.run(references, down)).outcome is Outcome.FAILED
    assert internet.asked == ["a"]


async def test_one_reference_that_answers_is_enough(internet: Internet) -> None:
    a = internet.check("a", reference=True)
    internet.there = False
    b = Check("b", Asked(answer=lambda run: None), reference=True)
    web = internet.check("web")
    assert (await internet.run(internet.references(a, b, web), web)).outcome is Outcome.FAILED


async def test_what_succeeds_is_not_doubted_and_asks_nobody(internet: Internet) -> None:
    web, a = internet.check("web"), internet.check("a", reference=True)
    assert (await internet.run(internet.references(web, a), web)).outcome is Outcome.OK
    assert internet.asked == ["web"]


async def test_a_reference_that_fails_has_failed(internet: Internet) -> None:
    a = internet.check("a", reference=True)
    internet.there = False
    assert (await internet.run(internet.references(a), a)).outcome is Outcome.FAILED


async def test_without_references_nothing_is_excused(internet: Internet) -> None:
    web = internet.check("web")
    idle = internet.check("idle", reference=True, enabled=False)
    internet.there = False
    assert (await internet.run(internet.references(web, idle), web)).outcome is Outcome.FAILED


async def test_many_failures_ask_the_references_once_in_a_while(internet: Internet) -> None:
    webs = [internet.check(f"web{i}") for i in range(50)]
    a = internet.check("a", reference=True)
    references = internet.references(*webs, a)
    internet.there = False
    outcomes = []

    async def one(check: Check) -> None:
        outcomes.append((await internet.run(references, check)).outcome)

    async with anyio.create_task_group() as tasks:
        for web in webs:
            tasks.start_soon(one, web)
        await internet.clock.advance(1)
    assert outcomes == [Outcome.UNKNOWN] * 50
    assert internet.asked.count("a") == 1
    await internet.clock.advance(REST)
    await internet.run(references, webs[0])
    assert internet.asked.count("a") == 2


async def test_a_reference_that_has_run_since_is_not_asked_again(internet: Internet) -> None:
    web, a = internet.check("web"), internet.check("a", reference=True)
    references = internet.references(web, a)
    internet.there = False
    started = internet.clock.monotonic()
    result = await references._runner.run(web)
    await internet.clock.advance(0.1)
    await internet.run(references, a)
    asked = internet.asked.count("a")
    assert (await references.judge(web, result, started)).outcome is Outcome.UNKNOWN
    assert internet.asked.count("a") == asked


async def test_online_again_a_failure_counts_at_once(internet: Internet) -> None:
    a = internet.check("a", reference=True)
    down = Check("down", Asked(answer=lambda run: run.fail(Reason.CONNECT_REFUSED)))
    references = internet.references(a, down)
    internet.there = False
    assert (await internet.run(references, down)).outcome is Outcome.UNKNOWN
    internet.there = True
    await internet.clock.advance(REST)
    assert (await internet.run(references, down)).outcome is Outcome.FAILED
