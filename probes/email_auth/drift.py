"""Whether everybody sees the same records, those that are written down, and those of the last run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from probed import Outcome, Run, Said, Vantage
from probed.mail import is_spf
from probes.email_auth.reasons import EmailAuthReason as Why
from probes.email_auth.verdicts import AuthPart

NEGATIVE = 3600
"""Seconds that "there is none" may be remembered by a resolver (RFC 2308 section 5)."""
GRACE = 30
"""Seconds by which clocks and remaining lifetimes may be off."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """Records that are compared: `label` is what they are called, `expected` what they should say,
    `same` whether a text says so.
    """

    label: str
    name: str
    type: str = "TXT"
    expected: str | None = None
    same: Callable[[str, str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Records as one vantage sees them."""

    fingerprint: str
    texts: tuple[str, ...]
    ttl: int | None


async def look(vantage: Vantage, tracked: Tracked) -> Seen | None:
    """The records; None where this vantage cannot say."""
    answer = await vantage.query(tracked.name, tracked.type)
    if answer.temporary or answer.said is Said.CNAME_ONLY:
        return None
    rows: Sequence[Any] = answer.rows
    if tracked.label == "spf":
        rows = [row for row in rows if is_spf(row)]
    texts = sorted(
        row.decode("utf-8", "backslashreplace") if isinstance(row, bytes) else str(row)
        for row in rows
    )
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).hexdigest()
    return Seen(digest[:16], tuple(texts), answer.ttl if texts else None)


@dataclass(frozen=True, slots=True)
class Views:
    """One set of records as resolvers and the zone's servers see it, by vantage point."""

    tracked: Tracked
    resolvers: Mapping[str, Seen]
    authoritative: Mapping[str, Seen]

    @property
    def truth(self) -> Seen | None:
        """Return the record that the zone's servers agree on, or else that of the first resolver."""
        if self.authoritative:
            found = {seen.fingerprint: seen for seen in self.authoritative.values()}
            return next(iter(found.values())) if len(found) == 1 else None
        return next(iter(self.resolvers.values()), None)


def judge(
    part: AuthPart,
    views: Sequence[Views],
    memory: MutableMapping[str, Any],
    now: float,
    *,
    broken: bool,
) -> None:
    """`memory` is saved from run to run, `now` is seconds since the epoch; `broken` tells that an
    outcome is failed too.
    """
    stale = _mapping(memory, "stale")
    still: dict[str, Any] = {}
    for view in views:
        _compare(part, view, stale, still, now)
        _compare_expected(part, view, broken=broken)
    memory["stale"] = still


def _compare(
    part: AuthPart, view: Views, stale: Mapping[str, Any], still: dict[str, Any], now: float
) -> None:
    label = view.tracked.label
    groups = _groups(view.authoritative or view.resolvers)
    if len(groups) > 1:
        who = "The zone's own servers disagree" if view.authoritative else "Resolvers disagree"
        says = "; ".join(", ".join(names) for names in groups.values())
        part.degraded(Why.DNS_DISAGREEMENT, f"{who} on {label}: {says}.", **_shown(view))
        return
    truth = view.truth
    if truth is None or not view.authoritative:
        return
    for name, seen in view.resolvers.items():
        if seen.fingerprint == truth.fingerprint:
            continue
        key = f"{label}@{name}"
        until = _until(stale.get(key), seen.fingerprint)
        if until is None:
            until = now + (NEGATIVE if seen.ttl is None else seen.ttl) + GRACE
        still[key] = [seen.fingerprint, until]
        if now <= until:
            left = max(0, round(until - now - GRACE))
            part.degraded(
                Why.DNS_PROPAGATING,
                f"The resolver {name} still has the former record of {label}, for {left} s more.",
                ttl_remaining=left,
                **_shown(view),
            )
        else:
            text = f"The resolver {name} has another record of {label} than the zone's own servers."
            part.degraded(Why.DNS_DISAGREEMENT, text, **_shown(view))


def _compare_expected(part: AuthPart, view: Views, *, broken: bool) -> None:
    tracked, truth = view.tracked, view.truth
    if tracked.expected is None or tracked.same is None or truth is None:
        return
    if len(truth.texts) == 1 and tracked.same(truth.texts[0], tracked.expected):
        return
    part.find(
        Outcome.FAILED if broken else Outcome.DEGRADED,
        Why.DNS_DRIFT,
        f"The record of {tracked.label} at {tracked.name} is not the one that is written down.",
        found=list(truth.texts[:5]),
        expected=tracked.expected,
    )


def remember(run: Run, views: Sequence[Views]) -> int:
    """Keep the fingerprints; how many are others than those of the last run."""
    saved = _mapping(run.memory, "records")
    now: dict[str, str] = {}
    changed: list[str] = []
    for view in views:
        key = f"{view.tracked.name} {view.tracked.type}"
        truth = view.truth
        before = saved.get(key)
        if truth is not None:
            now[key] = truth.fingerprint
            if isinstance(before, str) and before != truth.fingerprint:
                changed.append(f"{view.tracked.label}: {before[:16]} → {truth.fingerprint}")
        elif isinstance(before, str):
            now[key] = before[:16]
    run.memory["records"] = now
    if changed:
        run.fact("probed.email_auth.changed", run.clean(", ".join(changed)))
    return len(changed)


def _groups(seen: Mapping[str, Seen]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, one in seen.items():
        groups.setdefault(one.fingerprint, []).append(name)
    return groups


def _shown(view: Views) -> dict[str, Any]:
    everybody = {**view.authoritative, **view.resolvers}
    return {name: list(seen.texts[:3]) or "none" for name, seen in everybody.items()}


def _mapping(memory: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the mapping saved under this name; empty where another version saved something else."""
    saved = memory.get(name)
    return saved if isinstance(saved, Mapping) else {}


def _until(saved: Any, fingerprint: str) -> float | None:
    """Until when a resolver may have a former record, if it is still the same."""
    if not isinstance(saved, list | tuple) or len(saved) != 2 or saved[0] != fingerprint:
        return None
    return float(saved[1]) if isinstance(saved[1], int | float) else None
