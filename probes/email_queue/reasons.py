"""Reasons of the email_queue kind."""

from __future__ import annotations

from probed import Reasons


class QueueReason(Reasons):
    """Reasons from the contents of the queue, or why it could not be read."""

    OLD = "queue.old", "Mail has been waiting in the queue for too long."
    GROWING = "queue.growing", "The queue grows too fast."
    DEEP = "queue.deep", "Too much mail is waiting in the queue."
    DOWN = "queue.mail_system_down", "The mail system is down, so its queue cannot be read."
    UNREADABLE = "queue.unreadable", "The queue could not be read."
    NOT_UNDERSTOOD = (
        "queue.not_understood",
        "The source of the queue returned data that probed does not understand.",
    )
    AUTH_REJECTED = "queue.auth_rejected", "The queue's server rejected the login."
    TRUNCATED = (
        "queue.truncated",
        "The queue is larger than the limit; the result covers the part that was read.",
    )
