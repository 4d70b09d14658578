"""Text view of the board: OpenMetrics 1.0.0, or the Prometheus text format 0.0.4.

Only OpenMetrics has exemplars. `_created` series are omitted: they double the counters, and common
scrapers do not read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from probed.model import MetricType
from probed.telemetry.catalogue import BUILD, INFO, unit_words
from probed.telemetry.series import Cell, Histogram, Labels, MetricFamily

if TYPE_CHECKING:
    from probed.telemetry.board import Board

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
ROWS = 64
"""Rows of a family in one chunk: some 0.3 ms if each is a histogram."""


def negotiate(accept: str | None) -> str:
    """Return the content type for an Accept header, `OPENMETRICS` or `TEXT` (RFC 9110, 12.5.1).

    OpenMetrics must be named, with at least the quality of text.
    """
    open_q = text_q = -1.0
    specific = -1
    for item in (accept or "").split(","):
        media, _, rest = item.partition(";")
        media = media.strip().lower()
        parameters = {
            name.strip().lower(): value.strip().strip('"')
            for name, _, value in (part.partition("=") for part in rest.split(";"))
        }
        quality = _quality(parameters.get("q", "1"))
        version = parameters.get("version")
        if media == "application/openmetrics-text" and version in {None, "1.0.0"}:
            open_q = max(open_q, quality)
        rank = _RANKS.get(media, -1) + (version == "0.0.4")
        if rank > specific and media in _RANKS and version in {None, "0.0.4"}:
            specific, text_q = rank, quality
    return OPENMETRICS if open_q > 0 and open_q >= text_q else TEXT


_RANKS = {"*/*": 0, "text/*": 1, "text/plain": 2}


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def render(board: Board, *, openmetrics: bool) -> Iterator[bytes]:
    """Yield the exposition in chunks, so that the event loop can do other work between them."""
    target = Labels(sorted(board.resource.items()), reserved=())
    info = "target" if openmetrics else "target_info"
    yield (
        f"# TYPE {info} {'info' if openmetrics else 'gauge'}\n"
        f"# HELP {info} OpenTelemetry resource of the daemon that produces these metrics.\n"
        f"target_info{{{target.text[1:]}}} 1\n"
    ).encode()
    for family in board.families():
        yield from _family(family, openmetrics=openmetrics)
    if openmetrics:
        yield b"# EOF\n"


def _family(family: MetricFamily, *, openmetrics: bool) -> Iterator[bytes]:
    head = _head(family, openmetrics=openmetrics)
    lines = _histograms(family, exemplars=openmetrics) if family.bounds else _numbers(family)
    rows = family.rows()
    cells = family.cells
    for start in range(0, len(rows), ROWS):
        found: list[str] = []
        for row in rows[start : start + ROWS]:
            lines(found, row.labels, cells(row))
        if found:
            yield (head + "".join(found)).encode()
            head = ""


_INFOS = (BUILD, INFO)
Lines = Callable[[list[str], str, Sequence[Cell]], None]


def _numbers(family: MetricFamily) -> Lines:
    name = family.name

    def lines(found: list[str], common: str, cells: Sequence[Cell]) -> None:
        if common:
            for labels, value in cells:
                found.append(f"{name}{{{common}{labels.text}}} {value}\n")
        else:
            found += [f"{name}{_braced(labels)} {value}\n" for labels, value in cells]

    return lines


def _braced(labels: Labels) -> str:
    return f"{{{labels.text[1:]}}}" if labels.text else ""


def _histograms(family: MetricFamily, *, exemplars: bool) -> Lines:
    name = family.name
    bounds = [*map(str, family.bounds), "+Inf"]
    width = 2 * len(bounds)
    template = "".join(f'{name}_bucket{{%sle="{bound}"}} %s\n' for bound in bounds)
    template += f"{name}_sum%s %s\n{name}_count%s %s\n"

    def lines(found: list[str], common: str, cells: Sequence[Cell]) -> None:
        for labels, histogram in cells:
            assert isinstance(histogram, Histogram)
            text = common + labels.text if common else labels.text[1:]
            inside = text + "," if text else ""
            values: list[object] = [inside] * width
            values[1::2] = accumulate(histogram.counts)
            total = values[-1]
            if exemplars and histogram.exemplars is not None:
                _exemplify(values, histogram)
            braced = f"{{{text}}}" if text else ""
            values += (braced, histogram.total, braced, total)
            found.append(template % tuple(values))

    return lines


def _exemplify(values: list[object], histogram: Histogram) -> None:
    for index, exemplar in enumerate(histogram.exemplars or ()):
        if exemplar is not None:
            trace, span, value, at = exemplar
            values[2 * index + 1] = (
                f'{values[2 * index + 1]} # {{trace_id="{trace}",span_id="{span}"}} {value} {at:.3f}'
            )


def _head(family: MetricFamily, *, openmetrics: bool) -> str:
    measure = family.measure
    name, kind = family.name, measure.kind.value
    text = measure.help.replace("\\", "\\\\").replace("\n", "\\n")
    if not openmetrics:
        return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    text = text.replace('"', '\\"')
    if measure.kind is MetricType.COUNTER:
        name = name.removesuffix("_total")
    elif measure in _INFOS:
        name, kind = name.removesuffix("_info"), "info"
    unit = unit_words(measure.unit)
    about = f"# UNIT {name} {unit}\n" if unit else ""
    return f"# TYPE {name} {kind}\n{about}# HELP {name} {text}\n"
