"""Reasons of the mongo kind."""

from __future__ import annotations

from probed import Reasons


class MongoReason(Reasons):
    """Reasons from the server's replies, or from their absence."""

    AUTH_REJECTED = (
        "auth.rejected",
        "The server rejected probed's user name or password.",
        "Check username, password and authSource; probed retries at most once a minute.",
    )
    PERMISSION = (
        "auth.permission",
        "probed's user lacks a privilege.",
        "Grant the privilege named; `probed explain mongo` prints the complete role.",
    )

    PROTOCOL = (
        "mongo.protocol",
        "The peer does not speak the MongoDB protocol.",
        "Check host and port: something other than MongoDB is listening there.",
    )
    INCOMPATIBLE = (
        "mongo.incompatible",
        "The server is too old: probed needs MongoDB 4.4 or later.",
    )
    SHUTTING_DOWN = "mongo.shutting_down", "The server is shutting down."
    NOT_PRIMARY = "mongo.not_primary", "The server is neither primary nor a readable secondary."
    OVERLOADED = "mongo.overloaded", "The server rejects commands because it is overloaded."
    TIMEOUT = "mongo.timeout", "The server did not answer a command within its time limit."
    UNSUPPORTED = (
        "mongo.unsupported",
        "The server does not support this command.",
        "Shared Atlas tiers and MongoDB-compatible servers leave commands out.",
    )
    COMMAND = "mongo.command", "The server returned an error for a command."

    CONNECTIONS = (
        "mongo.connections",
        "The server's connections are exhausted or nearly so.",
        "Look for applications with too many or too large connection pools, and for leaked clients.",
    )
    REJECTED = (
        "mongo.connections_rejected",
        "The server rejected connections.",
        "It has reached its limit, or limits the rate of new ones.",
    )
    CONNECTIONS_UNKNOWN = (
        "mongo.connections_unknown",
        "The server does not report how many connections it allows.",
    )
    TICKETS = (
        "mongo.tickets",
        "The storage engine is saturated: no tickets are free and operations queue.",
        "Look at the longest operations, and at the disk.",
    )
    ACTIVE = "mongo.active_operations", "Too many operations run at the same time."
    LONG_RUNNING = (
        "mongo.long_running",
        "Operations run longer than long_running_after.",
        "Look at their plans; db.killOp(opid) ends an operation.",
    )
    LOCK_WAITERS = "mongo.lock_waiters", "Too many operations wait for locks."
    SLOW_OPS = (
        "mongo.slow_ops",
        "There are too many slow operations.",
        "Look at the query shapes in the evidence: a COLLSCAN needs an index.",
    )
    SLOW_OPS_PARTIAL = (
        "mongo.slow_ops_partial",
        "The count of slow operations is a lower bound.",
    )
    SLOW_OPS_UNKNOWN = (
        "mongo.slow_ops_unknown",
        "Slow operations cannot be counted.",
        "Enable the profiler: db.setProfilingLevel(1, {slowms: 1000}).",
    )

    NO_PRIMARY = (
        "mongo.no_primary",
        "The replica set has no primary: writes fail.",
        "Check the members' health and whether a majority can reach each other.",
    )
    STATE = "mongo.member_state", "The member is in a state in which it serves no clients."
    MEMBER_DOWN = (
        "mongo.member_down",
        "The other members cannot reach a member of the replica set.",
    )
    NO_REDUNDANCY = (
        "mongo.no_redundancy",
        "The replica set tolerates no further failure: only a bare majority is healthy.",
    )
    NO_MAJORITY = "mongo.no_majority", "The replica set has no majority."
    LAG = "mongo.lag", "A secondary lags behind the primary."
