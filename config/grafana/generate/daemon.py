"""Daemon metrics: scheduler, event loop, export, process."""

from __future__ import annotations

from .layout import dashboard
from .panels import AMBER, GREEN, LATE, NONE_EXPECTED, RED, YES_OR_NO, lines, query, stacked, stat
from .queries import daemon, daemon_rate, located, quantile

PANELS = [
    stat(
        "Probers",
        "Running daemons, by version.",
        query(f"count by (version) ({daemon('probed_build_info')})", "{{version}}"),
    ),
    stat(
        "Configuration valid",
        "Whether the last reload succeeded.",
        query(f"min({daemon('probed_config_last_reload_success')})"),
        mappings=YES_OR_NO,
    ),
    stat(
        "Drained",
        "Probers that start no runs because of `probed drain`.",
        query(f"sum({daemon('probed_scheduler_drained')})"),
        steps=NONE_EXPECTED,
    ),
    stat(
        "Since last reload",
        "Time since the oldest active configuration was loaded.",
        query(f"time() - min({daemon('probed_config_last_reload_timestamp_seconds')})"),
        unit="s",
    ),
    stat(
        "Spool age",
        "Age of the oldest telemetry in the spool.",
        query(f"max({daemon('probed_export_spool_oldest_age_seconds')})"),
        unit="s",
        steps=[(None, GREEN), (120, AMBER), (600, RED)],
    ),
    stat(
        "Dropped values",
        "Measured values that were dropped: too many attribute sets, or not finite.",
        query(f"sum({daemon('probed_measure_dropped_total')}) or vector(0)"),
        steps=NONE_EXPECTED,
    ),
    lines(
        "Scheduler lateness",
        "How late runs start, p50 and p99.",
        *(
            query(
                quantile(q, daemon_rate("probed_scheduler_lateness_seconds_bucket")),
                f"p{q * 100:g}",
            )
            for q in (0.5, 0.99)
        ),
        unit="s",
        steps=LATE,
    ),
    lines(
        "Event loop lag",
        "p50 and p99. A slow event loop makes every target look slow.",
        *(
            query(quantile(q, daemon_rate("probed_loop_lag_seconds_bucket")), f"p{q * 100:g}")
            for q in (0.5, 0.99)
        ),
        unit="s",
        steps=LATE,
    ),
    stacked(
        "Missed runs",
        "Runs per minute that came due and did not start, by reason.",
        query(
            f"sum by (reason) ({daemon_rate('probed_scheduler_missed_total')}) * 60", "{{reason}}"
        ),
        unit="rpm",
    ),
    lines(
        "Running and waiting runs",
        "Limited by `service.concurrency`.",
        query(f"sum({daemon('probed_scheduler_running')})", "running"),
        query(f"sum({daemon('probed_scheduler_waiting')})", "waiting"),
    ),
    stacked(
        "Export",
        "Spans and metric points per minute, by outcome.",
        query(
            f"sum by (otel_signal, outcome) ({daemon_rate('probed_export_items_total')}) * 60",
            "{{otel_signal}} {{outcome}}",
        ),
        unit="cpm",
    ),
    lines(
        "Spool",
        "How full each lane of the spool is.",
        query(
            f"max by (lane) ({located('probed_export_spool_size_bytes / (probed_export_spool_limit_bytes > 0)')})",
            "{{lane}}",
        ),
        unit="percentunit",
        steps=[(None, GREEN), (0.8, AMBER), (0.95, RED)],
    ),
    lines(
        "CPU",
        "CPU usage; 100 % is one core.",
        query(
            f"sum by (instance) ({daemon_rate('process_cpu_time_seconds_total')})", "{{instance}}"
        ),
        unit="percentunit",
    ),
    lines(
        "Memory",
        "Resident memory.",
        query(f"max by (instance) ({daemon('process_memory_usage_bytes')})", "{{instance}}"),
        unit="bytes",
    ),
    lines(
        "Open files and tasks",
        "Open file descriptors, and tasks of the event loop.",
        query(f"max by (instance) ({daemon('probed_process_open_files')})", "{{instance}} files"),
        query(f"max by (instance) ({daemon('probed_loop_tasks')})", "{{instance}} tasks"),
    ),
    stacked(
        "State saves",
        "Writes of the state database per minute, by outcome.",
        query(f"sum by (outcome) ({daemon_rate('probed_state_saves_total')}) * 60", "{{outcome}}"),
        unit="cpm",
    ),
]

DASHBOARD = dashboard(
    "daemon",
    "probed: daemon metrics",
    "Is probed itself healthy?",
    PANELS,
    checks=False,
)
