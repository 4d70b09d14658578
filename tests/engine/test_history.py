"""What is known of checks: who is held by whom, what is saved, what a reload leaves alone."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest

from probed import HostPort, Outcome, Probe, Run
from probed.config import Check
from probed.engine.history import RESULTS, TOTAL, Change, History
from probed.model import Finding, Result, Verdict
from probed.state import CheckState
from probed.store.checks import SavedCheck


class Nothing(Probe):
    """Asks nobody."""

    kind = "nothing"
    address: HostPort = HostPort("a.test", 1)

    @property
    def target(self) -> str:
        return str(self.address)

    async def probe(self, run: Run) -> None:
        """Do nothing."""


def check(name: str, *parents: str, host: str = "a.test") -> Check:
    return Check(name, Nothing(address=HostPort(host, 1)), depends_on=parents, fail_after=2)


def result(name: str, outcome: Outcome = Outcome.OK, at: float = 1.0) -> Result:
    return Result(name, "nothing", "a.test:1", outcome, at, 0.1, "0" * 32, "0" * 16)


@pytest.fixture
def chain() -> History:
    """`page` needs `gateway`, which needs `dns`; `mail` needs `dns` too."""
    return History([
        check("page", "gateway"), check("gateway", "dns"), check("dns"), check("mail", "dns"),
    ])  # fmt: skip


def held(history: History) -> dict[str, tuple[str, ...]]:
    return {name: entry.held_by for name, entry in history.checks.items() if entry.held_by}


def test_a_check_is_held_while_one_above_it_fails_however_far(chain: History) -> None:
    _, touched = chain.take(result("dns", Outcome.FAILED))
    assert set(touched) == {"page", "gateway", "mail"}
    assert held(chain) == {"page": ("dns",), "gateway": ("dns",), "mail": ("dns",)}
    chain.take(result("gateway", Outcome.FAILED))
    assert chain.checks["page"].held_by == ("gateway", "dns")


def test_it_is_free_again_as_soon_as_what_is_above_is_well(chain: History) -> None:
    chain.take(result("dns", Outcome.FAILED))
    _, touched = chain.take(result("dns"))
    assert set(touched) == {"page", "gateway", "mail"}
    assert not held(chain)


def test_down_holds_until_it_is_no_longer_down(chain: History) -> None:
    for _ in range(2):
        chain.take(result("dns", Outcome.FAILED))
    chain.take(result("dns"))
    assert chain.checks["dns"].state.verdict is Verdict.DOWN
    assert held(chain)
    chain.take(result("dns"))
    assert not held(chain)


def test_a_transition_says_by_what_it_is_held(chain: History) -> None:
    chain.take(result("dns", Outcome.FAILED))
    transitions = [chain.take(result("gateway", Outcome.FAILED))[0] for _ in range(2)]
    assert transitions[1] is not None
    assert transitions[1].held_by == ("dns",)
    assert chain.checks["gateway"].transitions == (Change.of(transitions[1]),)


def test_what_could_not_be_judged_holds_nobody(chain: History) -> None:
    for _ in range(5):
        chain.take(result("dns", Outcome.UNKNOWN))
    assert not held(chain)


def test_a_reload_keeps_what_is_known_while_the_target_is_the_same(chain: History) -> None:
    chain.take(result("dns", Outcome.FAILED))
    before = chain.checks["dns"]
    changed = replace(check("dns"), timeout=1.0)
    chain.replace([check("gateway", "dns"), changed, check("mail", "dns", host="b.test")])
    assert chain.checks["dns"] is before
    assert before.check is changed
    assert held(chain) == {"gateway": ("dns",), "mail": ("dns",)}
    chain.replace([check("dns", host="b.test"), check("gateway", "dns")])
    assert chain.checks["dns"].state == CheckState()
    assert not chain.checks["dns"].past
    assert not held(chain)
    assert list(chain.checks) == ["dns", "gateway"]


def test_a_restart_goes_on_from_what_was_kept(chain: History) -> None:
    down = CheckState(Verdict.DOWN, failed_streak=4, last_run=5.0)
    chain.restore(
        {
            "dns": SavedCheck("nothing", "a.test:1", down, {"seen": 3}),
            "mail": SavedCheck("nothing", "elsewhere:1", down),
            "page": SavedCheck("other", "a.test:1", down),
            "gone": SavedCheck("nothing", "a.test:1", down),
        }
    )
    assert chain.checks["dns"].state is down
    assert chain.checks["dns"].memory == {"seen": 3}
    assert chain.checks["mail"].state == chain.checks["page"].state == CheckState()
    assert held(chain)["gateway"] == ("dns",)


def test_what_is_well_is_saved_now_and_then_and_what_is_not_at_once(chain: History) -> None:
    chain.take(result("dns"))
    assert set(chain.unsaved()) == {"dns"}
    chain.take(result("dns", at=2.0))
    assert not chain.unsaved()
    chain.take(result("dns", Outcome.FAILED))
    assert set(chain.unsaved()) == {"dns"}
    assert not chain.unsaved()
    chain.take(result("dns"))
    assert set(chain.unsaved()) == {"dns"}
    assert set(chain.unsaved(everything=True)) == {"dns"}


def test_a_check_that_remembers_is_saved_after_each_run(chain: History) -> None:
    chain.checks["dns"].memory["n"] = 1
    for _ in range(3):
        chain.take(result("dns"))
        assert chain.unsaved()["dns"].memory == {"n": 1}


def test_what_could_not_be_saved_still_has_to_be(chain: History) -> None:
    chain.take(result("dns"))
    unsaved = chain.unsaved()
    chain.keep(unsaved)
    assert set(chain.unsaved()) == {"dns"}


def test_results_are_bounded_and_the_last_bad_one_is_kept_longer(chain: History) -> None:
    bad = result("dns", Outcome.FAILED)
    chain.take(bad)
    for _ in range(2 * RESULTS):
        chain.take(result("dns"))
    entry = chain.checks["dns"]
    assert len(entry.past) == RESULTS
    assert entry.last_not_ok is bad


def test_many_checks_keep_fewer_results_each() -> None:
    history = History([check(f"c{n}") for n in range(TOTAL // 20)])
    for at in range(70):
        history.take(result("c0", at=float(at)))
    assert [past.started_at for past in history.checks["c0"].past] == list(range(50, 70))
    history.replace([check("c0")])
    for at in range(70):
        history.take(result("c0", at=float(at)))
    assert len(history.checks["c0"].past) == RESULTS
    history.replace([check(f"c{n}") for n in range(TOTAL)])
    assert [past.started_at for past in history.checks["c0"].past] == list(range(65, 70))


class Facts(dict[str, str]):
    """What a result holds, and may be watched."""


def test_of_results_before_the_last_only_what_is_shown_is_kept(chain: History) -> None:
    refused = (Finding(Outcome.FAILED, "connect.refused", "Nobody listens."),)
    facts = Facts()
    gone = weakref.ref(facts)
    chain.take(result("dns", Outcome.FAILED)._replace(findings=refused, facts=facts))
    del facts
    assert gone() is not None
    for _ in range(2):
        chain.take(result("dns", at=2.0))
        chain.take(result("dns", Outcome.UNKNOWN, at=3.0))
    assert gone() is None
    past = chain.checks["dns"].past
    assert [(p.started_at, p.outcome, p.reason) for p in past][:2] == [
        (1.0, Outcome.FAILED, "connect.refused"),
        (2.0, Outcome.OK, None),
    ]
