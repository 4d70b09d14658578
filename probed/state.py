"""(CheckState, Result) -> (CheckState, Transition?). Pure: the time comes from the Result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from probed.judgement import is_doubted_failure
from probed.model import Outcome, Result, Transition, Verdict

WINDOW, FLAPS, CALM = 20, 7, 8
"""A check is flapping once its outcome changed 7 times in 20 runs, until it has not changed in 8 runs."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Runs in a row that make the verdict worse, and better; `damped`: a flapping check stays at
    least degraded.
    """

    fail_after: int = 2
    recover_after: int = 2
    damped: bool = True


_ORDER = (Verdict.UP, Verdict.DEGRADED, Verdict.DOWN)


@dataclass(frozen=True, slots=True)
class CheckState:
    """The state of a check over time. Times are seconds since the epoch.

    Streaks count runs in a row; an `unknown` run leaves all but `unknown_streak` as they are. `doubted`
    counts those of the latest runs that would have failed but for a doubt in their timing: where the
    next one fails without a doubt, they have failed, too.
    `changes` has a bit for each of the last 20 runs, the latest lowest: 1 where the outcome changed.
    """

    verdict: Verdict = Verdict.PENDING
    since: float = 0.0
    failed_streak: int = 0
    not_ok_streak: int = 0
    not_failed_streak: int = 0
    ok_streak: int = 0
    unknown_streak: int = 0
    doubted: int = 0
    last_run: float | None = None
    last_success: float | None = None
    outcome: Outcome | None = None
    changes: int = 0
    flapping: bool = False

    @property
    def healthy(self) -> bool:
        """Whether the check is known to be well: traces of its ok runs may be sampled."""
        return self.verdict is Verdict.UP and not self.not_ok_streak and not self.unknown_streak


def advance(
    state: CheckState, result: Result, thresholds: Thresholds
) -> tuple[CheckState, Transition | None]:
    """Return the state after the result, and the transition if the verdict changed."""
    counted = _count(state, result, thresholds)
    verdict = _verdict(counted, thresholds)
    if counted.flapping and verdict in _ORDER and state.verdict in _ORDER:
        verdict = max(verdict, state.verdict, Verdict.DEGRADED, key=_ORDER.index)
    if verdict is state.verdict:
        return counted, None
    transition = Transition.of(result, state.verdict, verdict)
    return replace(counted, verdict=verdict, since=transition.at), transition


def _count(state: CheckState, result: Result, thresholds: Thresholds) -> CheckState:
    outcome = result.outcome
    if outcome is Outcome.UNKNOWN:
        doubted = state.doubted + 1 if is_doubted_failure(result) else 0
        return replace(
            state,
            unknown_streak=state.unknown_streak + 1,
            doubted=doubted,
            last_run=result.started_at,
        )
    ok, failed = outcome is Outcome.OK, outcome is Outcome.FAILED
    changed = state.outcome is not None and state.outcome is not outcome
    changes = (state.changes << 1 | changed) & (1 << WINDOW) - 1
    return CheckState(
        verdict=state.verdict,
        since=state.since,
        failed_streak=state.failed_streak + state.doubted + 1 if failed else 0,
        not_ok_streak=0 if ok else state.not_ok_streak + (state.doubted if failed else 0) + 1,
        not_failed_streak=0 if failed else state.not_failed_streak + 1,
        ok_streak=state.ok_streak + 1 if ok else 0,
        unknown_streak=0,
        last_run=result.started_at,
        last_success=state.last_success if failed else result.started_at,
        outcome=outcome,
        changes=changes,
        flapping=thresholds.damped and _flaps(changes, flapping=state.flapping),
    )


def _flaps(changes: int, *, flapping: bool) -> bool:
    if flapping:
        return changes & (1 << CALM) - 1 != 0
    return changes.bit_count() >= FLAPS


def _verdict(state: CheckState, thresholds: Thresholds) -> Verdict:
    """Return the verdict. Going down and recovering each take their number of runs in a row;
    `unknown` never counts as down, and a check that is down stays down until it is seen to recover.
    """
    now = state.verdict
    if state.unknown_streak:
        lost = state.unknown_streak >= thresholds.fail_after and now is not Verdict.DOWN
        return Verdict.UNKNOWN if lost else now
    if state.failed_streak >= thresholds.fail_after:
        return Verdict.DOWN
    if now is Verdict.DOWN:
        if state.not_failed_streak < thresholds.recover_after:
            return now
        return Verdict.UP if state.ok_streak >= thresholds.recover_after else Verdict.DEGRADED
    if state.not_ok_streak >= thresholds.fail_after:
        return Verdict.DEGRADED
    if now is Verdict.DEGRADED:
        return Verdict.UP if state.ok_streak >= thresholds.recover_after else now
    # Pending or unknown: the first good run is all that is known, and it is good.
    return Verdict.UP if state.ok_streak else now
