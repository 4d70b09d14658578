"""Catalogue of the daemon's metrics, and the translation of OpenTelemetry names to Prometheus names.

Probe kinds declare their measures in their classes, by the same rules: seconds and bytes, no unit
and no `_total` in a name, an empty unit for values of 0 and 1.
"""

from __future__ import annotations

import re
from functools import lru_cache

from probed.model import Measure, MetricType

CHECK = "probed.check"
PROBE = "probed.probe"
OUTCOME = "probed.outcome"
PHASE = "probed.phase"
MEASURE = "probed.measure"
ERROR_TYPE = "error.type"
SIGNAL = "otel.signal"
RESULT = "outcome"
REASON = "reason"
LANE = "lane"
LISTENER = "listener"

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMON = (CHECK, PROBE)


def _check(
    name: str, unit: str, text: str, *more: str, kind: MetricType = MetricType.GAUGE,
    buckets: tuple[float, ...] = (),
) -> Measure:  # fmt: skip
    return Measure(
        f"probed.check.{name}",
        unit=unit, kind=kind, help=text, attributes=(*_COMMON, *more), buckets=buckets,
    )  # fmt: skip


def _daemon(
    name: str, unit: str, text: str, *attributes: str, kind: MetricType = MetricType.GAUGE,
    buckets: tuple[float, ...] = (),
) -> Measure:  # fmt: skip
    return Measure(name, unit=unit, kind=kind, help=text, attributes=attributes, buckets=buckets)


INFO = _check("info", "", "Description of the check; always 1.",
              "target", "severity", "runbook")  # fmt: skip
UP = _check(
    "up",
    "",
    "1 while the verdict is up or degraded, 0 while it is down; absent while unknown or pending.",
)
SUCCESS = _check(
    "success",
    "",
    "1 if the last run was ok or degraded, 0 if it failed; absent if it was unknown.",
)
OUTCOMES = _check("outcome", "", "1 for the outcome of the last run, 0 for the others.", OUTCOME)
RUNS = _check("runs", "{run}", "Runs by outcome and, when not ok, by reason.", OUTCOME, ERROR_TYPE,
              kind=MetricType.COUNTER)  # fmt: skip
UNCONFIRMED = _check("unconfirmed", "{run}",
                     "Failed first attempts that the confirmation did not confirm.",
                     ERROR_TYPE, kind=MetricType.COUNTER)  # fmt: skip
DURATION = _check(
    "duration", "s", "Duration of runs.", kind=MetricType.HISTOGRAM, buckets=DURATIONS
)
PHASE_DURATION = _check("phase.duration", "s", "Duration of each phase of the last run.", PHASE)
PHASE_TIME = _check("phase.time", "s", "Duration of the phases of runs.", PHASE,
                    kind=MetricType.HISTOGRAM, buckets=DURATIONS)  # fmt: skip
FAILURES = _check("consecutive.failures", "{failure}", "Failed runs in a row.")
LAST_RUN = _check("last_run.timestamp", "s", "Start of the last run, seconds since the epoch.")
LAST_SUCCESS = _check("last_success.timestamp", "s",
                      "Start of the last run that was ok or degraded, seconds since the epoch.")  # fmt: skip
FLAPPING = _check(
    "flapping", "", "1 while the outcome changes so often that the verdict is damped."
)
SUPPRESSED = _check(
    "suppressed",
    "",
    "1 while a check that this one depends on is failing, so its alert is suppressed.",
)
HELD = _check("held", "", "Deprecated: the value of probed.check.suppressed.")
INTERVAL = _check("interval", "s", "Interval between two runs.")

LATENESS = _daemon("probed.scheduler.lateness", "s", "Delay between the time when runs were due and their start.",
                kind=MetricType.HISTOGRAM, buckets=DELAYS)  # fmt: skip
MISSED = _daemon("probed.scheduler.missed", "{run}", "Runs that came due and were not started.", REASON,
              kind=MetricType.COUNTER)  # fmt: skip
RUNNING = _daemon("probed.scheduler.running", "{run}", "Runs in progress.")
WAITING = _daemon(
    "probed.scheduler.waiting", "{run}", "Runs that are due and wait for the concurrency limit."
)
DRAINED = _daemon(
    "probed.scheduler.drained", "", "1 while no runs are started because of `probed drain`."
)
STATE_SAVES = _daemon("probed.state.saves", "{save}", "Attempts to save the state of checks on disk.",
                   RESULT, kind=MetricType.COUNTER)  # fmt: skip
STATE_ERRORS = _daemon(
    "probed.state.errors", "{error}",
    "Problems of the state file: row (one that cannot be read), corrupt, replaced (or deleted, truncated), newer.",
    REASON, kind=MetricType.COUNTER,
)  # fmt: skip
LOOP_LAG = _daemon("probed.loop.lag", "s", "Delay with which the event loop woke a timer.",
                kind=MetricType.HISTOGRAM, buckets=DELAYS)  # fmt: skip
STALLS = _daemon(
    "probed.loop.stalls",
    "{stall}",
    "Times that the event loop was blocked for more than 0.1 s, by check, if it was one.",
    CHECK,
    kind=MetricType.COUNTER,
)
EXPORT_ITEMS = _daemon("probed.export.items", "{item}", "Exported spans and metric points, by outcome.",
                    SIGNAL, RESULT, ERROR_TYPE, kind=MetricType.COUNTER)  # fmt: skip
SPOOL_SIZE = _daemon("probed.export.spool.size", "By", "Encoded telemetry in the spool.",
                  LANE)  # fmt: skip
SPOOL_LIMIT = _daemon("probed.export.spool.limit", "By",
                   "Size limit of the spool; some MiB where it is in memory because no disk is available.", LANE)  # fmt: skip
SPOOL_AGE = _daemon("probed.export.spool.oldest.age", "s", "Age of the oldest telemetry in the spool.",
                 LANE)  # fmt: skip
SPOOL_ERRORS = _daemon("probed.export.spool.errors", "{error}",
                    "Number of times that writing the spool started to fail.", LANE, kind=MetricType.COUNTER)  # fmt: skip
LISTENER_CONNECTIONS = _daemon(
    "probed.listener.connections", "{connection}", "Open connections of clients.", LISTENER
)
LISTENER_CLOSED = _daemon(
    "probed.listener.closed", "{connection}",
    "Connections of clients that were closed: evicted for newer ones, malformed, stalled, timeout or too_large.",
    LISTENER, REASON, kind=MetricType.COUNTER,
)  # fmt: skip
RELOADS = _daemon("probed.config.reloads", "{reload}", "Attempts to load a changed configuration.", RESULT,
               kind=MetricType.COUNTER)  # fmt: skip
RELOAD_SUCCESS = _daemon(
    "probed.config.last_reload.success",
    "",
    "1 if the last attempt to load the configuration succeeded.",
)
RELOAD_TIMESTAMP = _daemon("probed.config.last_reload.timestamp", "s",
                        "Time of the last successful load of the configuration, seconds since the epoch.")  # fmt: skip
DROPPED = _daemon("probed.measure.dropped", "{value}",
               "Dropped values of measures: too many attribute sets, not finite, or conflicting declarations.",
               MEASURE, kind=MetricType.COUNTER)  # fmt: skip
SHARD = _daemon(
    "probed.shard.info",
    "",
    "Shard of this daemon; always 1.",
    "shard",
    "shards",
    "replicas",
)
BUILD = _daemon("probed.build.info", "", "Running version; always 1.", "version", "python")
CPU_TIME = _daemon("process.cpu.time", "s", "CPU time used.", "cpu.mode", kind=MetricType.COUNTER)
MEMORY = _daemon("process.memory.usage", "By", "Resident memory.")
OPEN_FILES = _daemon("probed.process.open_files", "{file}", "Open file descriptors.")
TASKS = _daemon("probed.loop.tasks", "{task}", "Tasks in the event loop.")

CHECK_MEASURES = (INFO, UP, SUCCESS, OUTCOMES, RUNS, UNCONFIRMED, DURATION, PHASE_DURATION, PHASE_TIME,
                  FAILURES, LAST_RUN, LAST_SUCCESS, FLAPPING, SUPPRESSED, HELD, INTERVAL)  # fmt: skip
DAEMON_MEASURES = (LATENESS, MISSED, RUNNING, WAITING, DRAINED, STATE_SAVES, STATE_ERRORS, LOOP_LAG, STALLS, EXPORT_ITEMS,
                SPOOL_SIZE, SPOOL_LIMIT, SPOOL_AGE, SPOOL_ERRORS, LISTENER_CONNECTIONS, LISTENER_CLOSED, RELOADS, RELOAD_SUCCESS,
                RELOAD_TIMESTAMP, DROPPED, BUILD, CPU_TIME, MEMORY, OPEN_FILES, TASKS)  # fmt: skip
CATALOGUE = (*CHECK_MEASURES, *DAEMON_MEASURES)

_UNITS = {
    "": "", "1": "", "%": "percent", "d": "days", "h": "hours", "min": "minutes", "s": "seconds",
    "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "By": "bytes",
    "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "Hz": "hertz", "Cel": "celsius",
}  # fmt: skip
_PER = {"s": "second", "min": "minute", "h": "hour", "d": "day"}
_ANNOTATION = re.compile(r"\{[^}]*\}")
_NOT_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9]+")


@lru_cache(maxsize=1024)
def unit_words(unit: str) -> str:
    """Return the words that a UCUM unit adds to a Prometheus name: `By/s` is `bytes_per_second`.

    Source: OpenTelemetry specification, Prometheus and OpenMetrics compatibility. Unit `1` adds
    nothing here, where translators that add `_ratio` to gauges differ among themselves.
    """
    above, slash, below = _ANNOTATION.sub("", unit).partition("/")
    words = _UNITS.get(above, _NOT_LABEL.sub("_", above).strip("_"))
    return f"{words}_per_{_PER.get(below, below)}".strip("_") if slash and below else words


@lru_cache(maxsize=1024)
def family_name(name: str, unit: str = "") -> str:
    """Return the Prometheus name without the suffixes of its samples (`_total`, `_bucket`, …).

    >>> family_name("probed.check.last_run.timestamp", "s")
    'probed_check_last_run_timestamp_seconds'
    """
    translated = _NOT_NAME.sub("_", name).strip("_")
    if translated[:1].isdigit():
        translated = "_" + translated
    words = unit_words(unit)
    return (
        f"{translated}_{words}"
        if words and not f"_{translated}".endswith("_" + words)
        else translated
    )


def prometheus_name(measure: Measure) -> str:
    """Return the Prometheus name of a measure's samples; for a histogram, their common prefix."""
    name = family_name(measure.name, measure.unit)
    if measure.kind is not MetricType.COUNTER:
        return name
    return name if name.endswith("_total") else name + "_total"


@lru_cache(maxsize=4096)
def label_name(attribute: str) -> str:
    """Return the Prometheus label of an attribute: `error.type` is `error_type`."""
    translated = _NOT_LABEL.sub("_", attribute).strip("_") or "_"
    return "key_" + translated if translated[0].isdigit() else translated
