"""Have the events been delivered? As far as Stripe's API tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probed import Outcome
from probes.stripe.answers import items, name, number, span
from probes.stripe.api import judge_mode
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import DAY, StripeSettings
from probes.stripe.step import Step

if TYPE_CHECKING:
    from probes.stripe.memory import StepMemory
    from probes.stripe.sdk import Api

PATH = "/v1/events"
PAGE = 100
GIVEN_UP = 3 * DAY
"""Age of an event from which on Stripe does not try to deliver it any more."""
SHOWN = 5
"""Types and ids that are shown."""


@dataclass(frozen=True, slots=True)
class Event:
    """The fields in use of an event; `created` is in seconds since the epoch."""

    id: str
    type: str
    created: int


@dataclass(frozen=True, slots=True)
class Listed:
    """Events, the newest first, each once; `more` says that there are others."""

    events: tuple[Event, ...]
    more: bool

    @property
    def at_least(self) -> str:
        return "at least " if self.more else ""


def types_of(memory: StepMemory) -> dict[str, Any]:
    """The filter by types: those of our endpoint, where they are known and may be asked for."""
    types = memory.fact("endpoints", "types")
    return {"types": types} if isinstance(types, list) and 0 < len(types) <= 20 else {}


async def listed(
    step: Step,
    settings: StripeSettings,
    api: Api,
    *,
    part: str = "",
    pages: int = 1,
    limit: int = PAGE,
    since: float,
    until: float,
    **parameters: Any,
) -> Listed:
    """The events of a time, of so many pages at most. What Stripe lists twice, because events came
    in between two pages, counts once.
    """
    created = {"gte": int(since), "lte": int(until)}
    found: dict[str, Event] = {}
    more, after = True, dict[str, str]()
    for page in range(1, pages + 1):
        with step.run.prefixed(f"{part}/" * bool(part) + f"{page}/" * (page > 1)):
            data = await api.get(PATH, limit=limit, created=created, **parameters, **after)
        judge_mode(step, settings, data)
        before = len(found)
        found |= {event.id: event for event in _read(data) if event.created <= until}
        more = data.get("has_more") is True
        if not more or len(found) == before:
            break
        after = {"starting_after": list(found)[-1]}
    return Listed(tuple(sorted(found.values(), key=_created, reverse=True)), more)


def _read(data: Mapping[str, Any]) -> list[Event]:
    found = []
    for item in items(data):
        ident, kind, created = (
            name(item.get("id")),
            name(item.get("type")),
            number(item.get("created")),
        )
        if ident and kind and created is not None:
            found.append(Event(ident, kind, created))
    return found


def _created(event: Event) -> int:
    return event.created


async def deliveries(step: Step, settings: StripeSettings, api: Api, memory: StepMemory) -> None:
    """Find events that were not delivered, and those that never will be."""
    bounds = settings.events
    until, types = step.now - bounds.grace, types_of(memory)
    known = await listed(
        step, settings, api, pages=bounds.max_pages, since=step.now - bounds.lookback, until=until,
        delivery_success=False, **types,
    )  # fmt: skip
    given_up = step.now - GIVEN_UP
    open_ = [event for event in known.events if event.created > given_up]
    lost = [event for event in known.events if event.created <= given_up]
    step.facts["undelivered"] = len(open_)
    step.measure("probed.stripe.events.undelivered", len(open_))
    oldest = step.now - open_[-1].created if open_ else 0.0
    step.measure("probed.stripe.events.oldest_undelivered.age", oldest)
    others = memory.fact("endpoints", "others")
    _judge(step, settings, open_, known.at_least, others if isinstance(others, int) else 0)
    _judge_lost(step, lost, known.at_least)
    _count_lost(step, lost, given_up, memory)
    if bounds.ratio or bounds.silent:
        await _window(step, settings, api, known, types)


def _judge(
    step: Step, settings: StripeSettings, found: list[Event], least: str, others: int
) -> None:
    count = len(found)
    crossed = settings.events.crossed(count)
    if crossed is None:
        return
    level, _ = crossed
    age = span(step.now - found[-1].created)
    types = Counter(event.type for event in found).most_common(SHOWN)
    told = ", ".join(f"{kind} ({number})" for kind, number in types)
    evidence: dict[str, Any] = {
        "undelivered": f"{least}{count}",
        "oldest": age,
        "types": told,
        "ids": [event.id for event in found[-SHOWN:]],
    }
    if others:
        evidence["other endpoints"] = f"{others} more are enabled: it may be one of those"
    step.find(
        level,
        StripeReason.EVENTS_UNDELIVERED,
        f"{least.capitalize()}{count} event{'s' if count > 1 else ''} not delivered after "
        f"{span(settings.events.grace)}, the oldest for {age}: {told}.",
        evidence,
    )


def _judge_lost(step: Step, lost: list[Event], least: str) -> None:
    if lost:
        step.find(
            Outcome.DEGRADED,
            StripeReason.EVENTS_LOST,
            f"{least.capitalize()}{len(lost)} undelivered event{'s are' if len(lost) > 1 else ' is'} "
            f"older than {span(GIVEN_UP)}: Stripe does not try again, and a replay is needed.",
            # What is newer than the oldest is listed with `ending_before` it.
            {"lost": f"{least}{len(lost)}", "oldest": lost[-1].id, "newest": lost[0].id},
        )


def _count_lost(step: Step, lost: list[Event], given_up: float, memory: StepMemory) -> None:
    """Count each lost event once, also across restarts: those of before are from before a time."""
    before = memory.fact("events", "given_up")
    counted = before if isinstance(before, int | float) else 0.0
    new = sum(1 for event in lost if event.created > counted)
    step.facts["given_up"] = max(given_up, counted)
    if new:
        step.run.measure("probed.stripe.events.lost", new)


async def _window(
    step: Step, settings: StripeSettings, api: Api, known: Listed, types: dict[str, Any]
) -> None:
    """How the time of the window, up to the grace, went; and whether there was anything in it."""
    bounds = settings.events
    until = step.now - bounds.grace
    since = until - bounds.window
    limit, pages = (PAGE, bounds.max_pages) if bounds.ratio else (1, 1)
    all_ = await listed(
        step,
        settings,
        api,
        part="window",
        pages=pages,
        limit=limit,
        since=since,
        until=until,
        **types,
    )
    total = len(all_.events)
    if bounds.ratio and total:
        late = sum(1 for event in known.events if event.created >= since)
        whole = not known.more or any(event.created < since for event in known.events)
        if whole:
            bound = "lower" if all_.more else "exact"
            ratio = max(0.0, 1 - late / total)
            step.measure("probed.stripe.webhook.success_ratio", ratio, bound=bound)
    if bounds.silent and not total:
        yesterday = await listed(
            step,
            settings,
            api,
            part="yesterday",
            limit=1,
            since=since - DAY,
            until=until - DAY,
            **types,
        )
        if yesterday.events:
            message = (
                f"Stripe has had no event for {span(bounds.window)}, but some at this time "
                "yesterday."
            )
            step.find(Outcome.DEGRADED, StripeReason.EVENTS_SILENT, message)


async def newest_delivered(
    step: Step, settings: StripeSettings, api: Api, memory: StepMemory
) -> None:
    """Note the last event of the last day that was delivered."""
    found = await listed(
        step, settings, api, limit=1, since=step.now - DAY, until=step.now, delivery_success=True,
        **types_of(memory),
    )  # fmt: skip
    if found.events:
        step.facts["delivered"] = found.events[0].id
