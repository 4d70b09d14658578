"""Measures: semantic conventions, then names of OpenTelemetry's mongodbreceiver, then probed's.

Every value says of which node it is. Nothing that varies without bound (opid, namespace, client,
application, hash) is an attribute.
"""

from __future__ import annotations

from probed import Measure, MetricType

NODE = ("server.address", "server.port")
_DB = (*NODE, "db.namespace")
_MANY = 250

DURATION = Measure(
    "db.client.operation.duration",
    unit="s",
    kind=MetricType.HISTOGRAM,
    help="How long each command of ours took.",
    attributes=("db.system.name", "db.namespace", "db.operation.name", *NODE),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0),
    series=_MANY,
)
UPTIME = Measure("mongodb.uptime", unit="ms", help="How long the server has run.", attributes=NODE)
CONNECTIONS = Measure(
    "mongodb.connection.count",
    unit="{connections}",
    help="The server's connections: current, available, active.",
    attributes=(*NODE, "type"),
)
UTILIZATION = Measure(
    "probed.mongodb.connection.utilization",
    unit="1",
    help="Connections in use, as a part of those that the server can take.",
    attributes=NODE,
)
REJECTED = Measure(
    "probed.mongodb.connection.rejected",
    unit="{connections}",
    kind=MetricType.COUNTER,
    help="Connections that the server rejected.",
    attributes=NODE,
)
QUEUE = Measure(
    "probed.mongodb.queue.length",
    unit="{operation}",
    help="Operations that wait for a lock or a ticket.",
    attributes=NODE,
)
TICKETS = Measure(
    "probed.mongodb.ticket.available",
    unit="{ticket}",
    help="Tickets of the storage engine that are free: read, write.",
    attributes=(*NODE, "type"),
)
ACTIVE = Measure(
    "probed.mongodb.operation.active",
    unit="{operation}",
    help="Operations that run, without our own: of users, of the system.",
    attributes=(*NODE, "class"),
)
LONG_RUNNING = Measure(
    "probed.mongodb.operation.long_running",
    unit="{operation}",
    help="Operations that have run for `long_running_after` and longer.",
    attributes=(*NODE, "class"),
)
LONGEST = Measure(
    "probed.mongodb.operation.duration.max",
    unit="s",
    help="How long the longest operation of a user has run.",
    attributes=NODE,
)
LOCK_WAITING = Measure(
    "probed.mongodb.operation.lock_waiting",
    unit="{operation}",
    help="Operations of users that wait for a lock.",
    attributes=NODE,
)
MEMBERS = Measure(
    "mongodb.replica_set.member.count",
    unit="{member}",
    help="Members of the replica set by state, as the node sees them.",
    attributes=(*NODE, "mongodb.replica_set.member.state"),
    series=_MANY,
)
STATUS = Measure(
    "mongodb.replica_set.member.status",
    help="1 for the node's own state.",
    attributes=(*NODE, "mongodb.replica_set.member.state"),
    series=_MANY,
)
LAG = Measure(
    "mongodb.replica_set.lag",
    unit="s",
    help="How far a secondary is behind the primary; only where a primary is seen.",
    attributes=(*NODE, "mongodb.replica_set.member.name", "mongodb.replica_set.lag.type"),
    series=_MANY,
)
LEVEL = Measure(
    "probed.mongodb.profiler.level", help="The profiler's level: 0, 1 or 2.", attributes=_DB,
    series=_MANY,
)  # fmt: skip
SLOW = Measure(
    "probed.mongodb.slow_operation",
    unit="{operation}",
    kind=MetricType.COUNTER,
    help="Slow operations, each counted once; nothing where they cannot be counted.",
    attributes=_DB,
    series=_MANY,
)
SLOWEST = Measure(
    "probed.mongodb.slow_operation.duration.max",
    unit="s",
    help="How long the slowest of them took.",
    attributes=_DB,
    series=_MANY,
)
COVERAGE = Measure(
    "probed.mongodb.slow_operation.coverage",
    help="1 for what the count of slow operations is: complete, partial or unknown.",
    attributes=(*_DB, "coverage"),
    series=3 * _MANY,
)

ALL = (
    DURATION, UPTIME, CONNECTIONS, UTILIZATION, REJECTED, QUEUE, TICKETS, ACTIVE, LONG_RUNNING,
    LONGEST, LOCK_WAITING, MEMBERS, STATUS, LAG, LEVEL, SLOW, SLOWEST, COVERAGE,
)  # fmt: skip
