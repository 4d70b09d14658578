"""All checks: those that are not up first, then a table, filtered by the query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from probed.config import Check
from probed.engine.history import CheckHistory, History
from probed.model import Verdict
from probed.text.humanize import seconds
from probed.web.page.graphics import sparkline
from probed.web.page.layout import ORDER, check_url, moment, trouble, verdict
from probed.web.page.markup import Child, Html, el

TROUBLES = 25
"""Checks that are not up whose causes are shown at most."""
_FIELDS = ("state", "kind", "tag", "q")


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter in the query; an empty string matches anything."""

    state: str = ""
    kind: str = ""
    tag: str = ""
    q: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        return cls(**{name: query.get(name, "")[:200] for name in _FIELDS})

    def takes(self, entry: CheckHistory) -> bool:
        check = entry.check
        if not check.enabled:
            return False
        if self.state and entry.state.verdict.value != self.state:
            return False
        if self.kind and check.probe.kind != self.kind:
            return False
        if self.tag and self.tag not in check.tags:
            return False
        return not self.q or self.q.lower() in f"{check.name}\0{check.target}".lower()

    @property
    def query(self) -> str:
        found = {name: value for name in _FIELDS if (value := getattr(self, name))}
        return urlencode(found)


class Overview:
    """The overview. A row is rendered again only after its check has run."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._rows: dict[str, tuple[object, Verdict, Html, tuple[Html, Html], Check]] = {}

    def body(self, wanted: Filter) -> Iterator[Child]:
        checks = self._history.checks
        if len(self._rows) > len(checks):  # a reload has removed some
            self._rows = {name: row for name, row in self._rows.items() if name in checks}
        yield el("h1", "Checks", class_="said")
        yield self.summary()
        yield self.troubles()
        yield self._form(wanted)
        yield Html("<table><thead>")
        yield el("tr", *(el("th", word, scope="col", class_=kind) for word, kind in _HEADS))
        yield Html("</thead><tbody>")
        number = 0
        for number, entry in enumerate(self.entries(wanted), 1):  # noqa: B007
            yield self.row(entry)
        yield Html("</tbody></table>")
        if not number:
            yield el("p", "No check matches this filter.", class_="mute")

    def entries(self, wanted: Filter) -> Iterator[CheckHistory]:
        """Return the entries that match, in the order of the configuration."""
        return (entry for entry in self._history.checks.values() if wanted.takes(entry))

    def summary(self) -> Html:
        counts = Counter(
            entry.state.verdict for entry in self._history.checks.values() if entry.check.enabled
        )
        items = [
            el("li", el("a", verdict(found), f" {counts[found]}", href=f"/?state={found.value}"))
            for found in ORDER
            if counts[found] or found is Verdict.DOWN
        ]
        return el("ul", items, id="summary", class_="counts")

    def troubles(self) -> Html:
        """Return the checks that are not up, the worst first: by verdict, severity and duration."""
        bad = [
            entry
            for entry in self._history.checks.values()
            if entry.check.enabled and entry.state.verdict not in {Verdict.UP, Verdict.PENDING}
        ]
        bad.sort(
            key=lambda e: (
                bool(e.suppressed_by), ORDER.index(e.state.verdict), e.check.severity.value, e.state.since or 0,
            )
        )  # fmt: skip
        shown: list[Child] = [trouble(entry) for entry in bad[:TROUBLES]]
        if len(bad) > TROUBLES:
            shown.append(el("p", f"and {len(bad) - TROUBLES} more", class_="mute"))
        return el("section", shown, id="troubles", aria_label="Checks that are not up")

    def row(self, entry: CheckHistory) -> Html:
        check, last = entry.check, entry.last
        known = self._rows.get(check.name)
        if known is not None and known[0] is last and known[1] is entry.state.verdict:
            return known[2]
        worst = None if last is None else last.worst
        told = "" if worst is None else f"<code>{escape(str(worst.reason))}</code>"
        took = "" if last is None else seconds(last.duration_s)
        head, names = known[3] if known is not None and known[4] is check else _settled(check)
        # Not by `el`: with a page open this is made for every run.
        made = Html(
            f"{head}<td>{verdict(entry.state.verdict)}</td>{names}<td>{sparkline(check.name, entry.past)}</td>"
            f'<td class="num">{took}</td><td>{moment(entry.state.last_run)}</td><td>{told}</td></tr>'
        )
        self._rows[check.name] = (last, entry.state.verdict, made, (head, names), check)
        return made

    def _form(self, wanted: Filter) -> Html:
        entries = [entry for entry in self._history.checks.values() if entry.check.enabled]
        kinds = sorted({entry.check.probe.kind for entry in entries})
        tags = sorted({tag for entry in entries for tag in entry.check.tags})
        return el(
            "form",
            el("input", type="search", name="q", value=wanted.q, placeholder="name or target",
               aria_label="Name or target"),
            _select("state", "any verdict", [found.value for found in ORDER], wanted.state),
            _select("kind", "any kind", kinds, wanted.kind) if len(kinds) > 1 else None,
            _select("tag", "any tag", tags[:500], wanted.tag) if tags else None,
            el("button", "Filter"),
            el("a", "all", href="/") if wanted.query else None,
            class_="filter", method="get", action="/",
        )  # fmt: skip


def _settled(check: Check) -> tuple[Html, Html]:
    """Return the fixed part of a row: its start tag, and the cells for name and target."""
    name = el("a", check.name, href=check_url(check.name))
    return Html(f'<tr id="{escape(row_id(check.name))}">'), Html(
        el("th", name, scope="row", class_="name")
        + el("td", check.probe.kind, class_="kind")
        + el("td", check.target, class_="target")
    )


_HEADS = (
    ("Verdict", None), ("Check", None), ("Kind", "kind"), ("Target", "target"), ("Last runs", None),
    ("Time", None), ("Last run (UTC)", None), ("Found", None),
)  # fmt: skip


def row_id(name: str) -> str:
    return f"check-{name}"


def _select(name: str, none: str, options: Iterable[str], chosen: str) -> Html:
    made = [el("option", none, value="")]
    made += [el("option", each, value=each, selected=each == chosen) for each in options]
    return el("select", made, name=name, aria_label=name.capitalize())
