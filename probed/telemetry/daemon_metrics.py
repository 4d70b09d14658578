"""Daemon metrics: scheduler, event loop, export, configuration, process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from probed.clock import Clock
from probed.model import Measure
from probed.telemetry import catalogue as c
from probed.telemetry import process
from probed.telemetry.series import Cell, DaemonRow, Histogram, Labels, MetricFamily, Pairs, Value

_ZEROS: dict[Measure, tuple[Pairs, ...]] = {
    c.MISSED: tuple(((c.REASON, reason),) for reason in ("overlap", "limit", "late", "drained")),
    c.RUNNING: ((),),
    c.WAITING: ((),),
    c.DRAINED: ((),),
    c.STALLS: ((),),
    c.STATE_SAVES: (((c.RESULT, "ok"),), ((c.RESULT, "failed"),)),
    c.STATE_ERRORS: tuple(
        ((c.REASON, reason),) for reason in ("row", "corrupt", "replaced", "newer")
    ),
    c.RELOADS: (((c.RESULT, "ok"),), ((c.RESULT, "failed"),)),
    c.EXPORT_ITEMS: tuple(
        ((c.SIGNAL, signal), (c.RESULT, result))
        for signal in ("traces", "metrics")
        for result in ("sent", "retried", "dropped", "rejected")
    ),
    c.SPOOL_ERRORS: tuple(((c.LANE, lane),) for lane in ("fail", "ok", "metrics")),
    c.DROPPED: (),
    c.LISTENER_CLOSED: tuple(
        ((c.LISTENER, listener), (c.REASON, reason))
        for listener in ("telemetry", "page")
        for reason in ("evicted", "malformed", "stalled", "timeout", "too_large")
    ),
}
"""Series that start at 0."""


class DaemonMetrics:
    """Series of the daemon itself. Every method costs about a microsecond."""

    def __init__(self, clock: Clock, version: str) -> None:
        self.families: list[MetricFamily] = []
        self._clock = clock
        self._started = clock.time()
        self._values = {measure.name: self._open(measure) for measure in _ZEROS}
        for measure, keys in _ZEROS.items():
            self._values[measure.name].update(dict.fromkeys(keys, 0))
        self._lateness, self._lag = Histogram(len(c.DELAYS)), Histogram(len(c.DELAYS))
        self._open(c.LATENESS)[()] = self._lateness
        self._open(c.LOOP_LAG)[()] = self._lag
        self._loaded = self._open(c.RELOAD_SUCCESS)
        self._loaded_at = self._open(c.RELOAD_TIMESTAMP)
        self._loaded[()], self._loaded_at[()] = 1, self._started
        python = ".".join(map(str, sys.version_info[:3]))
        self._open(c.BUILD)[(("version", version), ("python", python))] = 1
        self.spool: Callable[[], Mapping[str, tuple[float, float, float]]] = dict
        """By lane: bytes in the spool, its limit, and the age of the oldest request in seconds."""
        for index, measure in enumerate((c.SPOOL_SIZE, c.SPOOL_LIMIT, c.SPOOL_AGE)):
            self._read(measure, partial(self._spooled, index))
        self.connections: Callable[[], Mapping[str, int]] = dict
        """By listener: open connections."""
        self._read(c.LISTENER_CONNECTIONS, self._connected)
        self._read(c.CPU_TIME, process.cpu_time)
        self._read(c.MEMORY, process.memory)
        self._read(c.OPEN_FILES, process.open_files)
        self._read(c.TASKS, process.tasks)

    def _open(self, measure: Measure) -> dict[Pairs, Value]:
        row = DaemonRow(self._started)
        self.families.append(MetricFamily(measure, lambda: (row,), _cells))
        return row.values

    def _read(self, measure: Measure, read: Callable[[], dict[Pairs, float]]) -> None:
        row = DaemonRow(self._started)

        def rows() -> Sequence[DaemonRow]:
            row.values.update(read())
            return (row,)

        self.families.append(MetricFamily(measure, rows, _cells))

    def _add(self, measure: Measure, pairs: Pairs, count: int) -> None:
        values = self._values[measure.name]
        values[pairs] = values.get(pairs, 0) + count  # type: ignore[operator]

    def sharded(self, index: int, total: int, replicas: int) -> None:
        """Set the shard: this daemon runs only a part of the configured checks."""
        pairs = ("shard", str(index)), ("shards", str(total)), ("replicas", str(replicas))
        self._open(c.SHARD)[pairs] = 1

    def late(self, seconds: float) -> None:
        """Count a run that started this many seconds late."""
        self._lateness.observe(c.DELAYS, max(0.0, seconds))

    def missed(self, reason: str, count: int = 1) -> None:
        """Count runs that came due and were not started; `reason` is from a closed set."""
        self._add(c.MISSED, ((c.REASON, reason),), count)

    def occupied(self, running: int, waiting: int) -> None:
        """Set the number of runs in progress, and of those that wait for the concurrency limit."""
        self._values[c.RUNNING.name][()] = running
        self._values[c.WAITING.name][()] = waiting

    def drained(self, *, active: bool) -> None:
        """Set whether the daemon is drained."""
        self._values[c.DRAINED.name][()] = int(active)

    def saved(self, *, ok: bool) -> None:
        """Count an attempt to save the state of checks."""
        self._add(c.STATE_SAVES, ((c.RESULT, "ok" if ok else "failed"),), 1)

    def state_failed(self, reason: str) -> None:
        """Count a problem of the state file; `reason` is one of those that start at 0."""
        self._add(c.STATE_ERRORS, ((c.REASON, reason),), 1)

    def lagged(self, seconds: float) -> None:
        """Count a timer that the event loop woke this many seconds late."""
        self._lag.observe(c.DELAYS, max(0.0, seconds))

    def stalled(self, check: str) -> None:
        """Count that the event loop was blocked by a check, or by something else (empty)."""
        self._add(c.STALLS, ((c.CHECK, check),) if check else (), 1)

    def exported(
        self, signal: str, outcome: str, count: int, error_type: str | None = None
    ) -> None:
        """Count spans (`traces`) or points (`metrics`) that were sent, retried, dropped or rejected."""
        pairs: Pairs = ((c.SIGNAL, signal), (c.RESULT, outcome))
        if error_type is not None:
            pairs = (*pairs, (c.ERROR_TYPE, error_type))
        self._add(c.EXPORT_ITEMS, pairs, count)

    def _spooled(self, index: int) -> dict[Pairs, float]:
        return {((c.LANE, lane),): seen[index] for lane, seen in self.spool().items()}

    def spool_failed(self, lane: str) -> None:
        """Count that writing a lane of the spool started to fail."""
        self._add(c.SPOOL_ERRORS, ((c.LANE, lane),), 1)

    def _connected(self) -> dict[Pairs, float]:
        return {((c.LISTENER, name),): count for name, count in self.connections().items()}

    def closed(self, listener: str, reason: str) -> None:
        """Count a client's connection that a listener closed; `reason` is from a closed set."""
        self._add(c.LISTENER_CLOSED, ((c.LISTENER, listener), (c.REASON, reason)), 1)

    def reloaded(self, *, ok: bool) -> None:
        """Count an attempt to load a changed configuration."""
        self._add(c.RELOADS, ((c.RESULT, "ok" if ok else "failed"),), 1)
        self._loaded[()] = int(ok)
        if ok:
            self._loaded_at[()] = self._clock.time()

    def dropped(self, measure: str, count: int = 1) -> None:
        """Count dropped values of a measure; a count of 0 creates the series."""
        self._add(c.DROPPED, ((c.MEASURE, measure),), count)


def _cells(row: DaemonRow) -> Sequence[Cell]:
    return [(Labels(pairs, reserved=()), value) for pairs, value in row.values.items()]
