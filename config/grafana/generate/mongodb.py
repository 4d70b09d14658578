"""MongoDB checks: connections, operations, replica set."""

from __future__ import annotations

from .layout import dashboard
from .panels import AMBER, GREEN, NONE_ALLOWED, lines, query, reasons, stat, timeline, verdicts
from .queries import check_rate, checks, quantile

NODE = "{{server_address}}:{{server_port}}"
PANELS = [
    verdicts(6),
    lines(
        "Connections",
        "Connections by type: current and available. Step 1 of the playbook.",
        query(
            f"max by (server_address, server_port, type) ({checks('mongodb_connection_count')})",
            f"{NODE} {{{{type}}}}",
        ),
    ),
    lines(
        "Active operations",
        "Operations that run now: of clients and of the server itself.",
        query(
            f"max by (server_address, server_port, class) ({checks('probed_mongodb_operation_active')})",
            f"{NODE} {{{{class}}}}",
        ),
    ),
    lines(
        "Long-running operations",
        "Operations above the threshold of the check. The finding has the opid.",
        query(
            f"max by (server_address, server_port, class) ({checks('probed_mongodb_operation_long_running')})",
            f"{NODE} {{{{class}}}}",
        ),
        steps=NONE_ALLOWED,
    ),
    lines(
        "Longest operation",
        "Duration of the longest operation that runs now.",
        query(
            f"max by (server_address, server_port) ({checks('probed_mongodb_operation_duration_max_seconds')})",
            NODE,
        ),
        unit="s",
    ),
    lines(
        "Slow operations",
        "Slow operations per minute, from the profiler. Each is counted once.",
        query(
            f"sum by (db_namespace) ({check_rate('probed_mongodb_slow_operation_total')}) * 60",
            "{{db_namespace}}",
        ),
        unit="cpm",
    ),
    lines(
        "Slowest operation",
        "Duration of the slowest operation since the previous run.",
        query(
            f"max by (db_namespace) ({checks('probed_mongodb_slow_operation_duration_max_seconds')})",
            "{{db_namespace}}",
        ),
        unit="s",
    ),
    lines(
        "Waiting for locks",
        "Operations that wait for a lock.",
        query(
            f"max by (server_address, server_port) ({checks('probed_mongodb_operation_lock_waiting')})",
            NODE,
        ),
    ),
    reasons(),
    timeline(
        "Replica set members",
        "Number of members in each state.",
        f"max by (mongodb_replica_set_member_state) ({checks('mongodb_replica_set_member_count')}) > 0",
        "{{mongodb_replica_set_member_state}}",
        mappings=[],
        height=6,
    ),
    stat(
        "Profiler",
        "Profiling level. At 0, slow operations are not recorded.",
        query(
            f"min by (db_namespace) ({checks('probed_mongodb_profiler_level')})", "{{db_namespace}}"
        ),
        steps=[(None, AMBER), (1, GREEN)],
        width=6,
        height=8,
    ),
    lines(
        "Duration of probed's commands",
        "90th percentile, by command: the cost of monitoring.",
        query(
            quantile(
                0.9, check_rate("db_client_operation_duration_seconds_bucket"), "db_operation_name"
            ),
            "{{db_operation_name}}",
        ),
        unit="s",
        width=18,
    ),
]

DASHBOARD = dashboard(
    "mongodb",
    "probed: MongoDB",
    "Connections, operations, replica set.",
    PANELS,
    kinds="mongo",
)
