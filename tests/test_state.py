"""Verdicts follow from results alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from probed.model import Outcome, Result, Transition, Verdict
from probed.state import CheckState, Thresholds, advance

SIGNS = {"o": Outcome.OK, "d": Outcome.DEGRADED, "f": Outcome.FAILED, "u": Outcome.UNKNOWN}
SHORT = {Verdict.PENDING: "P", Verdict.UP: "U", Verdict.DEGRADED: "G", Verdict.DOWN: "D",
         Verdict.UNKNOWN: "?"}  # fmt: skip


TWO = Thresholds(2, 2)


def result(outcome: Outcome, at: float = 0.0) -> Result:
    return Result("web", "tcp", "t", outcome, at, 0.5, "0" * 32, "0" * 16)


def verdicts(outcomes: str, thresholds: Thresholds = TWO) -> str:
    """The verdict after each outcome, one letter each."""
    state, seen = CheckState(), ""
    for number, sign in enumerate(outcomes):
        state, _ = advance(state, result(SIGNS[sign], float(number)), thresholds)
        seen += SHORT[state.verdict]
    return seen


def test_the_first_good_run_is_up() -> None:
    assert verdicts("o") == "U"


def test_one_failure_is_not_down_and_two_in_a_row_are() -> None:
    assert verdicts("of") == "UU"
    assert verdicts("off") == "UUD"
    assert verdicts("ofofof") == "UUUUUU"


def test_a_check_that_keeps_changing_is_not_called_well() -> None:
    assert verdicts("ofofofofofof") == "UUUUUUUGGGGG"
    assert verdicts("ododododododod")[-1] == "G"


def test_a_check_that_flaps_stays_down_until_it_is_calm() -> None:
    flapping = "offoo" * 4
    seen = verdicts(flapping + "o" * 10)
    assert seen.index("D") < 6
    assert seen.rindex("D") == len(flapping) + 5
    assert seen[-1] == "U"
    assert "U" not in seen[16:24]


def test_a_check_that_flaps_still_goes_down() -> None:
    assert verdicts("of" * 5 + "ff")[-1] == "D"


def test_without_damping_every_change_is_a_verdict() -> None:
    assert verdicts("offoo" * 4, Thresholds(2, 2, damped=False)) == "UUDDU" + "UUDDU" * 3


def test_single_failures_far_apart_are_not_flapping() -> None:
    assert set(verdicts("oooooooof" * 6)) == {"U"}


def test_a_check_that_never_worked_is_pending_until_it_is_down() -> None:
    assert verdicts("ff") == "PD"


def test_coming_back_takes_its_number_of_good_runs() -> None:
    assert verdicts("offoo") == "UUDDU"
    assert verdicts("offofoo") == "UUDDDDU"


def test_degraded_is_a_verdict_of_its_own_with_the_same_patience() -> None:
    assert verdicts("oddoo") == "UUGGU"
    assert verdicts("odfoo") == "UUGGU"
    assert verdicts("offdd") == "UUDDG"


def test_from_degraded_it_can_go_down() -> None:
    assert verdicts("oddff") == "UUGGD"


def test_what_could_not_be_judged_is_never_down() -> None:
    assert verdicts("ouuuuu") == "UU????"
    assert verdicts("ofu") == "UUU"


def test_what_could_not_be_judged_is_never_a_recovery() -> None:
    assert verdicts("offuuuu") == "UUDDDDD"


def test_not_judged_between_failures_does_not_forget_them() -> None:
    assert verdicts("ofuf") == "UUUD"


def test_after_unknown_one_good_run_is_up_again() -> None:
    assert verdicts("ouuo") == "UU?U"


def test_thresholds_of_one_follow_every_run() -> None:
    assert verdicts("ofo", Thresholds(1, 1)) == "UDU"


def test_a_transition_says_what_was_what_is_when_and_because_of_what() -> None:
    state, none = advance(CheckState(Verdict.UP), result(Outcome.FAILED), Thresholds(2, 2))
    assert none is None
    cause = result(Outcome.FAILED, at=30.0)
    after, transition = advance(state, cause, Thresholds(2, 2))
    assert transition == Transition.of(cause, Verdict.UP, Verdict.DOWN)
    assert transition is not None
    assert (transition.check, transition.at, transition.trace_id) == ("web", 30.5, cause.trace_id)
    assert after.since == 30.5


def test_times_of_the_last_run_and_the_last_success_are_kept() -> None:
    state, _ = advance(CheckState(), result(Outcome.OK, 10.0), Thresholds())
    state, _ = advance(state, result(Outcome.FAILED, 20.0), Thresholds())
    assert (state.last_run, state.last_success, state.failed_streak) == (20.0, 10.0, 1)


def test_healthy_means_up_with_nothing_pending() -> None:
    state, _ = advance(CheckState(), result(Outcome.OK), Thresholds())
    assert state.healthy
    for outcome in (Outcome.DEGRADED, Outcome.FAILED, Outcome.UNKNOWN):
        assert not advance(state, result(outcome), Thresholds())[0].healthy


@given(st.text("odfu", max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_down_only_after_enough_failures_and_up_only_after_enough_good(
    outcomes: str, fail_after: int, recover_after: int
) -> None:
    seen = "P" + verdicts(outcomes, Thresholds(fail_after, recover_after, damped=False))
    judged = ""
    for sign, old, new in zip(outcomes, seen, seen[1:], strict=False):
        judged += sign if sign != "u" else ""
        if new == "D" and old != "D":
            assert judged.endswith("f" * fail_after)
        if old == "D" and new == "U":
            assert judged.endswith("o" * recover_after)
        if old == "D" and new == "G":
            assert set(judged[-recover_after:]) <= {"o", "d"}
        assert not (old == "D" and new == "?")
