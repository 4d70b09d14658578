"""Checks over time: which alerts are suppressed, what is saved, what a reload leaves alone."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest

from probed import HostPort, Outcome, Probe, Run
from probed.config import Check
from probed.engine.history import PENDING, RESULTS, SLICES, TOTAL, History
from probed.events import Event, Released, Suppressed, VerdictChanged
from probed.model import Finding, Result, Transition, Verdict
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


def suppressed(history: History) -> dict[str, tuple[str, ...]]:
    return {name: by for name, entry in history.checks.items() if (by := entry.suppressed_by)}


def named(events: tuple[Event, ...], kind: type[Event]) -> set[str]:
    return {event.check.name for event in events if isinstance(event, kind)}


def test_alerts_are_suppressed_while_a_check_above_fails_however_far(chain: History) -> None:
    events = chain.apply(result("dns", Outcome.FAILED))
    assert named(events, Suppressed) == {"page", "gateway", "mail"}
    assert suppressed(chain) == {"page": ("dns",), "gateway": ("dns",), "mail": ("dns",)}
    chain.apply(result("gateway", Outcome.FAILED))
    assert chain.checks["page"].suppressed_by == ("gateway", "dns")


def test_it_is_released_as_soon_as_all_above_are_well(chain: History) -> None:
    chain.apply(result("dns", Outcome.FAILED))
    events = chain.apply(result("dns"))
    assert named(events, Released) == {"page", "gateway", "mail"}
    assert not suppressed(chain)


def test_a_check_that_is_down_suppresses_until_it_has_recovered(chain: History) -> None:
    for _ in range(2):
        chain.apply(result("dns", Outcome.FAILED))
    chain.apply(result("dns"))
    assert chain.checks["dns"].state.verdict is Verdict.DOWN
    assert suppressed(chain)
    chain.apply(result("dns"))
    assert not suppressed(chain)


def test_a_change_of_verdict_says_by_what_its_alert_is_suppressed(chain: History) -> None:
    chain.apply(result("dns", Outcome.FAILED))
    chain.apply(result("gateway", Outcome.FAILED))
    (change,) = [
        event
        for event in chain.apply(result("gateway", Outcome.FAILED))
        if isinstance(event, VerdictChanged)
    ]
    assert (change.old, change.new) == (Verdict.PENDING, Verdict.DOWN)
    assert change.suppressed_by == ("dns",)
    (stored,) = chain.pending_of("gateway")
    assert (stored.at, stored.new, stored.suppressed_by) == (change.at, Verdict.DOWN, ("dns",))


def test_a_check_that_could_not_be_judged_suppresses_nothing(chain: History) -> None:
    for _ in range(5):
        chain.apply(result("dns", Outcome.UNKNOWN))
    assert not suppressed(chain)


def test_a_reload_keeps_what_is_known_while_the_target_is_the_same(chain: History) -> None:
    chain.apply(result("dns", Outcome.FAILED))
    before = chain.checks["dns"]
    changed = replace(check("dns"), timeout=1.0)
    chain.replace([check("gateway", "dns"), changed, check("mail", "dns", host="b.test")])
    assert chain.checks["dns"] is before
    assert before.check is changed
    assert suppressed(chain) == {"gateway": ("dns",), "mail": ("dns",)}
    chain.replace([check("dns", host="b.test"), check("gateway", "dns")])
    assert chain.checks["dns"].state == CheckState()
    assert not chain.checks["dns"].past
    assert not suppressed(chain)
    assert list(chain.checks) == ["dns", "gateway"]


def test_a_restart_goes_on_from_what_was_saved() -> None:
    down = CheckState(Verdict.DOWN, failed_streak=4, last_run=5.0)
    last, bad = result("dns", at=6.0), result("dns", Outcome.FAILED, at=5.0)
    chain = History(
        [check("gateway", "dns"), check("dns"), check("mail"), check("page")],
        saved={
            "dns": SavedCheck("nothing", "a.test:1", down, {"seen": 3}, last, bad),
            "mail": SavedCheck("nothing", "elsewhere:1", down, last=last),
            "page": SavedCheck("other", "a.test:1", down),
            "gone": SavedCheck("nothing", "a.test:1", down),
        },
    )
    dns = chain.checks["dns"]
    assert dns.state is down
    assert dns.memory == {"seen": 3}
    assert (dns.last, dns.last_not_ok) == (last, bad)
    assert chain.checks["mail"].state == chain.checks["page"].state == CheckState()
    assert chain.checks["mail"].last is None
    assert suppressed(chain) == {"gateway": ("dns",)}


def unsaved(history: History, *, everything: bool = False) -> set[str]:
    snapshot = history.snapshot(everything=everything)
    history.confirm(snapshot, saved=True)
    return set(snapshot.checks)


def test_a_well_check_is_saved_now_and_then_and_any_other_at_once(chain: History) -> None:
    chain.apply(result("dns"))
    assert unsaved(chain) == {"dns"}
    chain.apply(result("dns", at=2.0))
    rounds = [unsaved(chain) for _ in range(SLICES)]
    assert rounds.count({"dns"}) == 1
    assert rounds.count(set()) == SLICES - 1
    chain.apply(result("dns", Outcome.FAILED))
    assert unsaved(chain) == {"dns"}
    chain.apply(result("dns"))
    assert unsaved(chain) == {"dns"}
    assert unsaved(chain, everything=True) == {"dns"}


def test_a_check_that_remembers_is_saved_after_each_run(chain: History) -> None:
    for number in range(3):
        chain.apply(result("dns"), {"n": number})
        assert chain.snapshot().checks["dns"].memory == {"n": number}


def test_the_last_results_are_saved_when_they_were_not_ok_and_at_shutdown(chain: History) -> None:
    bad, good = result("dns", Outcome.FAILED), result("dns", at=2.0)
    chain.apply(bad)
    saved = chain.snapshot().checks["dns"]
    assert (saved.last, saved.last_not_ok) == (None, bad)
    chain.apply(good)
    saved = chain.snapshot().checks["dns"]
    assert (saved.last, saved.last_not_ok) == (None, None)
    saved = chain.snapshot(everything=True).checks["dns"]
    assert (saved.last, saved.last_not_ok) == (good, None), "the other one is saved already"


def test_each_result_of_a_check_that_runs_rarely_is_saved() -> None:
    history = History([replace(check("dns"), interval=60.0)])
    for at in (1.0, 61.0):
        good = result("dns", at=at)
        history.apply(good)
        assert history.snapshot().checks["dns"].last == good


def test_after_a_failed_save_all_of_it_is_saved_again(chain: History) -> None:
    for _ in range(2):
        chain.apply(result("dns", Outcome.FAILED))
    first = chain.snapshot()
    chain.confirm(first, saved=False)
    second = chain.snapshot()
    assert second.checks["dns"] == first.checks["dns"]
    assert second.transitions == first.transitions
    chain.confirm(second, saved=True)
    assert not chain.pending


def test_transitions_that_cannot_be_saved_are_bounded_and_the_latest_stay(chain: History) -> None:
    chain.pending.extend([Transition.of(result("mail"), Verdict.UP, Verdict.DOWN)] * PENDING)
    snapshot = chain.snapshot()
    for _ in range(2):
        chain.apply(result("dns", Outcome.FAILED))
    assert len(chain.pending) == PENDING
    (latest,) = chain.pending_of("dns")
    chain.confirm(snapshot, saved=True)
    assert list(chain.pending) == [latest]


def test_results_are_bounded_and_the_last_bad_one_is_kept_longer(chain: History) -> None:
    bad = result("dns", Outcome.FAILED)
    chain.apply(bad)
    for _ in range(2 * RESULTS):
        chain.apply(result("dns"))
    entry = chain.checks["dns"]
    assert len(entry.past) == RESULTS
    assert entry.last_not_ok is bad


def test_many_checks_keep_fewer_results_each() -> None:
    history = History([check(f"c{n}") for n in range(TOTAL // 20)])
    for at in range(70):
        history.apply(result("c0", at=float(at)))
    assert [past.started_at for past in history.checks["c0"].past] == list(range(50, 70))
    history.replace([check("c0")])
    for at in range(70):
        history.apply(result("c0", at=float(at)))
    assert len(history.checks["c0"].past) == RESULTS
    history.replace([check(f"c{n}") for n in range(TOTAL)])
    assert [past.started_at for past in history.checks["c0"].past] == list(range(65, 70))


class Facts(dict[str, str]):
    """What a result holds, and may be watched."""


def test_of_results_before_the_last_only_what_is_shown_is_kept(chain: History) -> None:
    refused = (Finding(Outcome.FAILED, "connect.refused", "Nobody listens."),)
    facts = Facts()
    gone = weakref.ref(facts)
    chain.apply(result("dns", Outcome.FAILED)._replace(findings=refused, facts=facts))
    del facts
    assert gone() is not None
    for _ in range(2):
        chain.apply(result("dns", at=2.0))
        chain.apply(result("dns", Outcome.UNKNOWN, at=3.0))
    assert gone() is None
    past = chain.checks["dns"].past
    assert [(p.started_at, p.outcome, p.reason) for p in past][:2] == [
        (1.0, Outcome.FAILED, "connect.refused"),
        (2.0, Outcome.OK, None),
    ]
