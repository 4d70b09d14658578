"""One check; the configuration; the daemon itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from probed.engine.history import CheckHistory
from probed.model import Result, Transition
from probed.text.humanize import measure_lines, seconds
from probed.web.page.graphics import sparkline, timeline, waterfall
from probed.web.page.layout import check_url, findings, moment, pairs, runbook, suppression, verdict
from probed.web.page.markup import Child, Html, el

LINES = 400_000
"""Characters of a configuration that the page shows at most."""
Rows = Iterable[tuple[str, str, str]]
"""Name, labels and value of each of the daemon metrics."""


def check_body(
    entry: CheckHistory, transitions: Sequence[Transition], *, may_run: bool, note: str = ""
) -> Iterator[Child]:
    check, state = entry.check, entry.state
    yield el("h1", check.name)
    yield el(
        "p",
        verdict(state.verdict),
        " since " if state.since else None,
        moment(state.since),
        f" · {check.severity.value} · {check.probe.kind} · ",
        el("span", check.target, class_="mute"),
        " · " if check.runbook else None,
        runbook(check.runbook),
    )
    if note:
        yield el("p", note, role="alert")
    if may_run:
        yield el(
            "form", el("button", "Run now"), method="post", action=check_url(check.name, "/run")
        )
    yield live_part(entry, transitions)
    about = {
        "labels": ", ".join(f"{key}={value}" for key, value in check.labels.items()),
        "tags": ", ".join(check.tags),
        "depends on": ", ".join(check.depends_on),
        "interval": seconds(check.interval),
        "timeout": seconds(check.timeout),
        "written at": f"{check.position.file}:{check.position.line}" if check.position else "",
    }
    yield el("h2", "Settings")
    yield pairs(about)
    yield el(
        "p",
        el("a", "All settings, and where each is set", href=check_url(check.name, "/settings")),
    )


def live_part(entry: CheckHistory, transitions: Sequence[Transition]) -> Html:
    """Return the part of the page that changes with each run."""
    last, failed = entry.last, entry.last_not_ok
    parts: list[Child] = []
    if entry.suppressed_by:
        parts.append(el("p", suppression(entry)))
    if last is None:
        never = entry.state.last_run is None
        parts.append(el("p", "Not run yet." if never else "Not run since the restart."))
    else:
        parts += _run("Last run", last)
    if failed is not None and failed is not last:
        parts += _run("Last run that was not ok", failed)
    if entry.past:
        parts.append(el("h2", f"The last {len(entry.past)} runs"))
        parts.append(sparkline(entry.check.name, entry.past, shown=60, wide=True))
    if transitions:
        until = entry.state.last_run or 0.0
        parts += [el("h2", "Verdicts"), timeline(transitions, until), _changes(transitions)]
    return el("div", parts, id="live-part")


def _run(title: str, result: Result) -> list[Child]:
    lines = [line.strip() for line in measure_lines(result.measures, "")]
    facts = dict(result.facts)
    attempts = f", attempt {result.attempts}" if result.attempts > 1 else ""
    return [
        el("h2", title),
        el("p", verdict_of(result), " at ", moment(result.started_at), f", {seconds(result.duration_s)}{attempts}",
           el("span", f" · trace {result.trace_id}", class_="mute")),
        findings(result.findings),
        el(
            "div",
            el("div", waterfall(result.phases, result.duration_s) if result.phases else None),
            el("div", pairs(facts), el("pre", "\n".join(lines)) if lines else None),
            class_="cols",
        ),
    ]  # fmt: skip


def verdict_of(result: Result) -> Html:
    names = {"ok": "up", "failed": "down"}
    found = result.outcome.value
    return el("span", found, class_=f"v {names.get(found, found)}")


def _changes(transitions: Sequence[Transition]) -> Html:
    rows = [
        el(
            "tr",
            el("td", moment(change.at)),
            el("td", verdict(change.old)),
            el("td", verdict(change.new)),
            el("td", el("code", change.reason) if change.reason else None, " ", change.message),
        )
        for change in reversed(transitions)
    ]
    head = el("tr", *(el("th", word, scope="col") for word in ("At (UTC)", "From", "To", "Why")))
    return el("table", el("thead", head), el("tbody", rows))


def settings_body(name: str, text: str, problem: str = "") -> Iterator[Child]:
    yield el("h1", name)
    yield el("p", el("a", "back to the check", href=check_url(name)))
    if problem:
        yield el("p", problem, role="alert")
    yield el("pre", text)


def config_body(reload: Mapping[str, Any], text: str) -> Iterator[Child]:
    yield el("h1", "Configuration")
    yield reload_part(reload)
    if len(text) > LINES:
        text = f"{text[:LINES]}\n… {len(text) - LINES} more characters: probed config show"
    yield el("pre", text)


def reload_part(reload: Mapping[str, Any]) -> Html:
    """Return when the configuration was loaded, and why the last reload was refused."""
    parts: list[Child] = [pairs({"file": reload["file"], "in force since": reload["loaded_at"]})]
    if not reload["last_reload_ok"]:
        parts.append(el("p", "The last reload was refused:", role="alert", class_="down"))
        parts.append(el("pre", str(reload["error"])))
    return el("div", parts, id="reload")


def status_body(status: Mapping[str, Any], rows: Callable[[], Rows]) -> Iterator[Child]:
    yield el("h1", "The daemon")
    yield status_part(status, rows)


def status_part(status: Mapping[str, Any], rows: Callable[[], Rows]) -> Html:
    told = {
        key: _plain(value) for key, value in status.items() if key not in {"config", "verdicts"}
    }
    told["verdicts"] = ", ".join(f"{n} {name}" for name, n in status["verdicts"].items() if n)
    made = [
        el("tr", el("th", name, scope="row"), el("td", labels), el("td", value, class_="num"))
        for name, labels, value in rows()
    ]
    return el(
        "div",
        pairs(told),
        reload_part(status["config"]),
        el("h2", "Daemon metrics"),
        el("table", el("tbody", made)),
        id="live-part",
    )


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def error_body(title: str, sentences: Sequence[str]) -> Iterator[Child]:
    yield el("h1", title)
    yield from (el("p", sentence) for sentence in sentences)
