"""The layout of all pages, and the small elements that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from probed.engine.history import CheckHistory
from probed.model import Finding, Verdict
from probed.web.page.assets import SCRIPT, STYLE
from probed.web.page.markup import Child, Html, el, text

ORDER = (Verdict.DOWN, Verdict.UNKNOWN, Verdict.DEGRADED, Verdict.PENDING, Verdict.UP)
"""Verdicts, the most urgent first."""
_PAGES = (("/", "Checks"), ("/config", "Configuration"), ("/status", "Daemon"))
CAUSES = 3
"""Findings of a run that are shown as causes."""
REFRESH = 15
"""Seconds after which a page without a script reloads."""


def document(
    title: str, where: str, body: Iterable[Child], *, here: str, events: str | None
) -> Iterator[str]:
    """Yield a whole page in pieces; the `body` is rendered while it is iterated over."""
    shown = f"{title} · probed"
    attributes = f' data-events="{text(events)}"' if events else ""
    yield f'<!doctype html><html lang="en"{attributes}><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    if events:
        yield f'<noscript><meta http-equiv="refresh" content="{REFRESH}"></noscript>'
    yield f'<link rel="icon" href="/favicon.svg">{el("title", shown)}<style>{STYLE}</style></head><body>'
    links = (
        el("a", word, href=path, aria_current="page" if path == here else None)
        for path, word in _PAGES
    )
    live = el("span", "", id="live", role="status") if events else ""
    yield el(
        "header", el("strong", "probed"), el("nav", links), el("span", where, class_="where"), live
    )
    yield "<main>"
    for part in body:
        yield text(part)
    yield '</main><div id="said" class="said" aria-live="polite"></div>'
    yield f"<script>{SCRIPT}</script></body></html>" if events else "</body></html>"


@cache
def verdict(found: Verdict) -> Html:
    return el("span", found.value, class_=f"v {found.value}")


def moment(at: float | None) -> Html:
    """Return a time in UTC."""
    if not at:
        return Html("")
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return Html(f'<time datetime="{when}">{when[:10]} {when[11:19]}</time>')


def check_url(name: str, more: str = "") -> str:
    return f"/checks/{quote(name, safe='')}{more}"


def runbook(url: str | None) -> Child:
    """Return a link if a browser may follow it, else text."""
    if not url:
        return None
    if url.startswith(("https://", "http://")):
        return el("a", "runbook", href=url, rel="noreferrer noopener")
    return el("span", url)


def trouble(entry: CheckHistory) -> Html:
    """Return a check that is not up, its causes first."""
    check, state, last = entry.check, entry.state, entry.last_not_ok or entry.last
    found = () if last is None else last.findings
    causes: Child = [
        el("p", el("code", str(one.reason)), " ", one.message)
        for one in sorted(found, key=lambda one: -one.level.rank)[:CAUSES]
    ]
    notes: list[Child] = []
    if entry.suppressed_by:
        notes.append(el("p", suppression(entry), class_="mute"))
    if state.flapping:
        notes.append(el("p", "Flapping.", class_="mute"))
    return el(
        "article",
        el(
            "h3",
            verdict(state.verdict),
            el("a", check.name, href=check_url(check.name)),
            el("span", check.severity.value, class_="sev"),
            el("span", "since ", moment(state.since), class_="mute") if state.since else None,
            runbook(check.runbook),
        ),
        causes,
        notes,
        class_=f"trouble is{state.verdict.value}",
    )


def suppression(entry: CheckHistory) -> str:
    """Return why alerts of the check are suppressed."""
    names = entry.suppressed_by
    which = (
        "which it depends on, is failing" if len(names) == 1 else "which it depends on, are failing"
    )
    return f"Alert suppressed: {', '.join(names)}, {which}."


def findings(found: Iterable[Finding]) -> list[Html]:
    return [
        el(
            "div",
            el("div", el("code", str(one.reason)), " ", one.message),
            pairs(one.evidence),
            class_=f"finding {one.level.value}",
        )
        for one in found
    ]


def pairs(values: Mapping[str, Any]) -> Child:
    """Return names and values as a description list."""
    rows: list[Child] = []
    for name, value in values.items():
        if value is None or value == "":
            continue
        shown: Child
        if isinstance(value, Mapping):
            shown = pairs(value)
        elif isinstance(value, tuple):
            lines = [str(item) for item in value]
            shown = el("pre", "\n".join(lines)) if len(lines) > 1 else "".join(lines)
        else:
            shown = str(value)
        rows += [el("dt", name), el("dd", shown)]
    return el("dl", rows) if rows else None
