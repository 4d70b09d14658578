"""Why a mail queue is not well: the reasons of this kind."""

from __future__ import annotations

from probed import Reasons


class QueueReason(Reasons):
    """What the queue holds, and why it could not be looked at."""

    OLD = "queue.old", "Mail waits for longer than it should."
    GROWING = "queue.growing", "The queue grows faster than it should."
    DEEP = "queue.deep", "More mail waits than should."
    DOWN = "queue.mail_system_down", "The mail system is down: its queue cannot be looked at."
    UNREADABLE = "queue.unreadable", "The queue could not be looked at."
    NOT_UNDERSTOOD = "queue.not_understood", "What was said of the queue was not understood."
    AUTH_REJECTED = "queue.auth_rejected", "The server of the queue did not accept our login."
    TRUNCATED = "queue.truncated", "The queue is larger than is looked at; what was seen is judged."
