"""Why a MongoDB server is not well, or could not be judged: the reasons of this kind."""

from __future__ import annotations

from probed import Reasons


class MongoReason(Reasons):
    """What the server's answers, and the lack of them, say."""

    AUTH_REJECTED = (
        "auth.rejected",
        "The server did not accept our user or password.",
        "Check username, password and authSource; it is tried again once a minute at most.",
    )
    PERMISSION = (
        "auth.permission",
        "Our user may not do that.",
        "Grant the privilege named; `probed explain mongo` prints the whole role.",
    )

    PROTOCOL = (
        "mongo.protocol",
        "The answer is not MongoDB's protocol.",
        "Something else listens on this port.",
    )
    INCOMPATIBLE = (
        "mongo.incompatible",
        "The server is too old: MongoDB 4.4 or later can be asked.",
    )
    SHUTTING_DOWN = "mongo.shutting_down", "The server is shutting down."
    NOT_PRIMARY = "mongo.not_primary", "The server is in no state to answer that."
    OVERLOADED = "mongo.overloaded", "The server refuses work: it is overloaded."
    TIMEOUT = "mongo.timeout", "The server did not answer a command in the time that it has."
    UNSUPPORTED = (
        "mongo.unsupported",
        "The server does not know that command, or does not offer it.",
        "Shared Atlas tiers and imitations leave commands out.",
    )
    COMMAND = "mongo.command", "The server answered a command with an error."

    CONNECTIONS = (
        "mongo.connections",
        "The server's connections are used up, or nearly so.",
        "Look for applications with too many or too large pools, and for leaked clients.",
    )
    REJECTED = (
        "mongo.connections_rejected",
        "The server rejected connections.",
        "It has reached its limit, or limits the rate of new ones.",
    )
    CONNECTIONS_UNKNOWN = (
        "mongo.connections_unknown",
        "The server does not say how many connections it can take.",
    )
    TICKETS = (
        "mongo.tickets",
        "No tickets are left and operations queue: the storage engine is saturated.",
        "Look at the longest operations, and at the disk.",
    )
    ACTIVE = "mongo.active_operations", "More operations run at once than should."
    LONG_RUNNING = (
        "mongo.long_running",
        "Operations run for longer than they should.",
        "Look at their plans; db.killOp(opid) ends one.",
    )
    LOCK_WAITERS = "mongo.lock_waiters", "Operations wait for locks."
    SLOW_OPS = (
        "mongo.slow_ops",
        "There are more slow operations than there should be.",
        "Look at the shapes in the evidence: COLLSCAN wants an index.",
    )
    SLOW_OPS_PARTIAL = (
        "mongo.slow_ops_partial",
        "Not every slow operation is counted: the number is a lower bound.",
    )
    SLOW_OPS_UNKNOWN = (
        "mongo.slow_ops_unknown",
        "Slow operations cannot be counted.",
        "Switch the profiler on: db.setProfilingLevel(1, {slowms: 1000}).",
    )

    NO_PRIMARY = (
        "mongo.no_primary",
        "The replica set has no primary: nobody can write.",
        "Look at the members' health, and whether a majority can see each other.",
    )
    STATE = "mongo.member_state", "The member is in a state in which it serves nobody."
    MEMBER_DOWN = (
        "mongo.member_down",
        "A member of the replica set cannot be reached by the others.",
    )
    NO_REDUNDANCY = (
        "mongo.no_redundancy",
        "The replica set bears no further failure: just a majority is left.",
    )
    NO_MAJORITY = "mongo.no_majority", "The replica set has no majority."
    LAG = "mongo.lag", "A secondary is behind the primary."
