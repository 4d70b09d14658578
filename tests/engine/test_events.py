"""Events: what each order of failing and recovering gives, and who gets it."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from probed import HostPort, Outcome, Probe, Run
from probed.config import Check
from probed.engine.history import History
from probed.events import Event, Publisher, Recorded
from probed.model import Result


class Nothing(Probe):
    """Asks nobody."""

    kind = "nothing"
    address: HostPort = HostPort("a.test", 1)

    async def probe(self, run: Run) -> None:
        """Do nothing."""


PARENT = Check("dns", Nothing(), fail_after=2, recover_after=1)
CHILD = Check("web", Nothing(), fail_after=2, recover_after=1, depends_on=("dns",))
OUTCOMES = {"+": Outcome.OK, "-": Outcome.FAILED, "?": Outcome.UNKNOWN}


def result(name: str, outcome: Outcome, at: float) -> Result:
    return Result(name, "nothing", "a.test:1", outcome, at, 0.5, "0" * 32, "0" * 16)


def shown(event: Event) -> str:
    """`web up>down (dns)`, `web suppressed by dns`: an event in a word or two."""
    told = event._asdict()
    about = {
        "VerdictChanged": lambda: (
            f"{event.check.name} {told['old']}>{told['new']}"
            + (f" ({', '.join(told['suppressed_by'])})" if told["suppressed_by"] else "")
        ),
        "Suppressed": lambda: f"{event.check.name} suppressed by {', '.join(told['by'])}",
        "Released": lambda: f"{event.check.name} released, {told['verdict']}",
        "FlappingChanged": lambda: f"{event.check.name} flapping {told['flapping']}",
        "Removed": lambda: f"{event.check.name} removed, {told['verdict']}",
        "Reset": lambda: f"{event.check.name} reset, {told['verdict']}",
        "Configured": lambda: f"{event.check.name} configured, {told['state'].verdict}",
    }
    return about[type(event).__name__]()


def play(runs: str, history: History) -> list[str]:
    """Apply runs such as `dns- web+`; return the events, those that say only that a run was recorded
    aside.
    """
    events = []
    for number, run in enumerate(runs.split()):
        found = history.apply(result(run[:-1], OUTCOMES[run[-1]], float(number)))
        assert isinstance(found[0], Recorded)
        assert not any(isinstance(event, Recorded) for event in found[1:])
        assert all(event.at == number + 0.5 for event in found)
        events += [shown(event) for event in found[1:]]
    return events


FROM_UP = ["dns pending>up", "web pending>up"]


@pytest.mark.parametrize(
    ("runs", "events"),
    [
        # The parent fails first, and recovers first: the child's alert is due then.
        ("dns- dns- web- web- dns+ web+", [
            "web suppressed by dns", "dns up>down", "web up>down (dns)",
            "dns down>up", "web released, down", "web down>up",
        ]),
        # The parent fails first; the child recovers first.
        ("dns- dns- web- web- web+ dns+", [
            "web suppressed by dns", "dns up>down", "web up>down (dns)",
            "web down>up (dns)", "dns down>up", "web released, up",
        ]),
        # The child fails first: its alert is out; the parent recovers first.
        ("web- web- dns- dns- dns+ web+", [
            "web up>down", "web suppressed by dns", "dns up>down",
            "dns down>up", "web released, down", "web down>up",
        ]),
        # The child fails first, and recovers first.
        ("web- web- dns- dns- web+ dns+", [
            "web up>down", "web suppressed by dns", "dns up>down",
            "web down>up (dns)", "dns down>up", "web released, up",
        ]),
        # In turns: the child goes down while the parent is only suspected.
        ("web- dns- web- dns- web+ dns+", [
            "web suppressed by dns", "web up>down (dns)", "dns up>down",
            "web down>up (dns)", "dns down>up", "web released, up",
        ]),
        # The suspicion was wrong: one failed run of the parent.
        ("web- dns- web- dns+ web+", [
            "web suppressed by dns", "web up>down (dns)", "web released, down", "web down>up",
        ]),
        # Only one of them fails.
        ("dns- dns- web+ dns+", [
            "web suppressed by dns", "dns up>down", "dns down>up", "web released, up",
        ]),
        ("web- web- dns+ web+", ["web up>down", "web down>up"]),
        # A run that could not be judged neither suppresses nor releases.
        ("dns? web- web-", ["web up>down"]),
        ("dns- dns- dns? web- web- dns+", [
            "web suppressed by dns", "dns up>down", "web up>down (dns)",
            "dns down>up", "web released, down",
        ]),
    ],
)  # fmt: skip
def test_each_order_of_failing_and_recovering_gives_these_events(
    runs: str, events: list[str]
) -> None:
    history = History([PARENT, CHILD])
    assert play("dns+ web+", history) == FROM_UP
    assert play(runs, history) == events


def test_flapping_begins_and_ends_with_an_event() -> None:
    history = History([PARENT])
    play("dns+", history)
    events = play("dns- dns+ " * 4, history)
    assert events.count("dns flapping True") == 1
    assert "dns flapping False" in play("dns+ " * 10, history)


def test_a_reload_says_what_is_new_gone_and_forgotten() -> None:
    history = History()
    assert [shown(e) for e in history.replace([PARENT, CHILD], at=1.0)] == [
        "dns configured, pending", "web configured, pending",
    ]  # fmt: skip
    play("dns- dns- web- web-", history)
    # Nothing has changed: no event.
    assert history.replace([PARENT, CHILD]) == ()
    # Another setting, the same target: what is known stays.
    slower = replace(CHILD, interval=60.0)
    assert [shown(e) for e in history.replace([PARENT, slower])] == ["web configured, down"]
    # A check that is down is removed; what depended on it is configured without it.
    alone = replace(CHILD, interval=60.0, depends_on=())
    events = history.replace([alone], at=9.0)
    assert [shown(e) for e in events] == ["dns removed, down", "web configured, down"]
    assert [event.at for event in events] == [9.0, 9.0]
    # Another target: what was known is dropped.
    moved = replace(alone, probe=Nothing(address=HostPort("b.test", 1)))
    assert [shown(e) for e in history.replace([moved])] == [
        "web reset, down", "web configured, pending",
    ]  # fmt: skip


def test_a_disabled_check_is_removed_and_suppresses_nothing() -> None:
    history = History([PARENT, CHILD])
    play("dns- dns- web- web-", history)
    events = history.replace([replace(PARENT, enabled=False), CHILD])
    assert [shown(e) for e in events] == ["dns removed, down", "web released, down"]
    assert [shown(e) for e in history.replace([PARENT, CHILD])] == [
        "dns configured, down", "web suppressed by dns",
    ]  # fmt: skip


def test_every_subscriber_gets_every_event_in_order_and_one_that_raises_is_loud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[tuple[str, Event]] = []

    def first(event: Event) -> None:
        seen.append(("first", event))

    def broken(event: Event) -> None:
        raise RuntimeError("a secret may stand here")

    def last(event: Event) -> None:
        seen.append(("last", event))

    history = History([PARENT, CHILD])
    events = history.apply(result("dns", Outcome.FAILED, 1.0))
    with caplog.at_level(logging.ERROR):
        Publisher([first, broken, last]).publish(events)
    assert seen == [(who, event) for event in events for who in ("first", "last")]
    assert len(caplog.records) == len(events) == 2
    text = caplog.records[0].getMessage()
    assert "broken failed on Recorded of check dns: RuntimeError at test_events.py:" in text
    assert "secret" not in caplog.text
