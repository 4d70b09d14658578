"""Every metric that the daemon itself makes, and how OpenTelemetry names become Prometheus names.

What probe kinds measure is declared by their classes, under the same rules: seconds and bytes, no
unit and no `_total` in a name, an empty unit for what is 0 or 1.
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


def _own(
    name: str, unit: str, text: str, *attributes: str, kind: MetricType = MetricType.GAUGE,
    buckets: tuple[float, ...] = (),
) -> Measure:  # fmt: skip
    return Measure(name, unit=unit, kind=kind, help=text, attributes=attributes, buckets=buckets)


INFO = _check("info", "", "What is known of the check; always 1.",
              "target", "severity", "runbook")  # fmt: skip
UP = _check(
    "up",
    "",
    "1 while the verdict is up or degraded, 0 while it is down; absent while unknown or pending.",
)
SUCCESS = _check(
    "success",
    "",
    "1 if the last run was ok or degraded, 0 if it failed; absent if it could not judge.",
)
OUTCOMES = _check("outcome", "", "1 for the outcome of the last run, 0 for the others.", OUTCOME)
RUNS = _check("runs", "{run}", "Runs by outcome and, when not ok, by reason.", OUTCOME, ERROR_TYPE,
              kind=MetricType.COUNTER)  # fmt: skip
UNCONFIRMED = _check("unconfirmed", "{run}",
                     "First attempts that failed and that a confirmation did not confirm.",
                     ERROR_TYPE, kind=MetricType.COUNTER)  # fmt: skip
DURATION = _check(
    "duration", "s", "How long runs took.", kind=MetricType.HISTOGRAM, buckets=DURATIONS
)
PHASE_DURATION = _check("phase.duration", "s", "How long each phase of the last run took.", PHASE)
PHASE_TIME = _check("phase.time", "s", "How long phases of runs took.", PHASE,
                    kind=MetricType.HISTOGRAM, buckets=DURATIONS)  # fmt: skip
FAILURES = _check(
    "consecutive.failures", "{failure}", "Failed runs since the last one that did not fail."
)
LAST_RUN = _check("last_run.timestamp", "s", "When the last run began, seconds since the epoch.")
LAST_SUCCESS = _check("last_success.timestamp", "s",
                      "When the last run began that was ok or degraded, seconds since the epoch.")  # fmt: skip
FLAPPING = _check("flapping", "", "1 while the outcome changes so often that the verdict is held.")
HELD = _check("held", "", "1 while a check that this one depends on fails: its alert waits.")
INTERVAL = _check("interval", "s", "How often the check is run.")

LATENESS = _own("probed.scheduler.lateness", "s", "How much later than due runs were started.",
                kind=MetricType.HISTOGRAM, buckets=DELAYS)  # fmt: skip
MISSED = _own("probed.scheduler.missed", "{run}", "Runs that came due and were not started.", REASON,
              kind=MetricType.COUNTER)  # fmt: skip
RUNNING = _own("probed.scheduler.running", "{run}", "Runs that go on now.")
WAITING = _own("probed.scheduler.waiting", "{run}", "Runs that are due and wait for a free place.")
DRAINED = _own(
    "probed.scheduler.drained", "", "1 while no runs are started, as `probed drain` asked."
)
STATE_SAVES = _own("probed.state.saves", "{save}", "Attempts to keep the state of checks on disk.",
                   RESULT, kind=MetricType.COUNTER)  # fmt: skip
LOOP_LAG = _own("probed.loop.lag", "s", "How late the event loop woke a timer.",
                kind=MetricType.HISTOGRAM, buckets=DELAYS)  # fmt: skip
EXPORT_ITEMS = _own("probed.export.items", "{item}", "Spans and metric points by what became of them.",
                    SIGNAL, RESULT, ERROR_TYPE, kind=MetricType.COUNTER)  # fmt: skip
SPOOL_SIZE = _own("probed.export.spool.size", "By", "Encoded telemetry that waits to be sent.",
                  LANE)  # fmt: skip
SPOOL_LIMIT = _own("probed.export.spool.limit", "By",
                   "Room for it; some MiB where it is kept in memory, for want of a disk.", LANE)  # fmt: skip
SPOOL_AGE = _own("probed.export.spool.oldest.age", "s", "How long the oldest of it has waited.",
                 LANE)  # fmt: skip
SPOOL_ERRORS = _own("probed.export.spool.errors", "{error}",
                    "Times that the spool's disk began to fail.", LANE, kind=MetricType.COUNTER)  # fmt: skip
RELOADS = _own("probed.config.reloads", "{reload}", "Attempts to load a changed configuration.", RESULT,
               kind=MetricType.COUNTER)  # fmt: skip
RELOAD_SUCCESS = _own(
    "probed.config.last_reload.success",
    "",
    "1 if the last attempt to load the configuration succeeded.",
)
RELOAD_TIMESTAMP = _own("probed.config.last_reload.timestamp", "s",
                        "When the configuration was last loaded, seconds since the epoch.")  # fmt: skip
DROPPED = _own("probed.measure.dropped", "{value}",
               "Values of measures that were dropped: too many attribute sets, not finite, or declared in two ways.",
               MEASURE, kind=MetricType.COUNTER)  # fmt: skip
SHARD = _own(
    "probed.shard.info",
    "",
    "The shard that this daemon runs; always 1.",
    "shard",
    "shards",
    "replicas",
)
BUILD = _own("probed.build.info", "", "The version that runs; always 1.", "version", "python")
CPU_TIME = _own(
    "process.cpu.time", "s", "Processor time used.", "cpu.mode", kind=MetricType.COUNTER
)
MEMORY = _own("process.memory.usage", "By", "Resident memory.")
OPEN_FILES = _own("probed.process.open_files", "{file}", "Open file descriptors.")
TASKS = _own("probed.loop.tasks", "{task}", "Tasks of the event loop.")

CHECK_MEASURES = (INFO, UP, SUCCESS, OUTCOMES, RUNS, UNCONFIRMED, DURATION, PHASE_DURATION, PHASE_TIME,
                  FAILURES, LAST_RUN, LAST_SUCCESS, FLAPPING, HELD, INTERVAL)  # fmt: skip
OWN_MEASURES = (LATENESS, MISSED, RUNNING, WAITING, DRAINED, STATE_SAVES, LOOP_LAG, EXPORT_ITEMS,
                SPOOL_SIZE, SPOOL_LIMIT, SPOOL_AGE, SPOOL_ERRORS, RELOADS, RELOAD_SUCCESS,
                RELOAD_TIMESTAMP, DROPPED, BUILD, CPU_TIME, MEMORY, OPEN_FILES, TASKS)  # fmt: skip
CATALOGUE = (*CHECK_MEASURES, *OWN_MEASURES)

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
    """The words that a UCUM unit adds to a Prometheus name: `By/s` is `bytes_per_second`.

    Source: OpenTelemetry specification, Prometheus and OpenMetrics compatibility. Unit `1` adds
    nothing here, where translators that add `_ratio` to gauges differ among themselves.
    """
    above, slash, below = _ANNOTATION.sub("", unit).partition("/")
    words = _UNITS.get(above, _NOT_LABEL.sub("_", above).strip("_"))
    return f"{words}_per_{_PER.get(below, below)}".strip("_") if slash and below else words


@lru_cache(maxsize=1024)
def family_name(name: str, unit: str = "") -> str:
    """The Prometheus name without the suffixes of its samples (`_total`, `_bucket`, …).

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
    """The Prometheus name of a measure's samples; of a histogram, what its samples' begin with."""
    name = family_name(measure.name, measure.unit)
    if measure.kind is not MetricType.COUNTER:
        return name
    return name if name.endswith("_total") else name + "_total"


@lru_cache(maxsize=4096)
def label_name(attribute: str) -> str:
    """The Prometheus label of an attribute: `error.type` is `error_type`."""
    translated = _NOT_LABEL.sub("_", attribute).strip("_") or "_"
    return "key_" + translated if translated[0].isdigit() else translated
