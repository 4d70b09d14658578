"""Why a mail did not make it: the reasons of this kind, beside those of the relay."""

from __future__ import annotations

from typing import Any, cast

from probed import Reasons
from probes.smtp.reasons import SmtpReason


class RoundtripReason(Reasons):
    """What became of the mail, and of asking the mailbox for it."""

    NOT_ARRIVED = "roundtrip.not_arrived", "The mail did not arrive in time."
    SLOW = "roundtrip.slow", "The mail took longer to arrive than it should."
    JUNK = "roundtrip.junk", "The mail arrived among the junk."
    MAIL_REJECTED = "roundtrip.mail_rejected", "The relay refused the mail itself."
    MAIL_DEFERRED = "roundtrip.mail_deferred", "The relay does not take the mail for now."
    RESULT = "roundtrip.auth_result", "The receiver does not think of our mail as it should."
    NO_RESULTS = (
        "roundtrip.no_auth_results",
        "The receiver does not say what it thinks of our mail.",
    )
    IMAP_REFUSED = "imap.refused", "The mailbox's server refuses to serve us."
    IMAP_AUTH = "imap.auth_rejected", "The mailbox's server does not accept our login."
    IMAP_PROTOCOL = "imap.protocol", "What the mailbox's server says is not IMAP."
    IMAP_COMMAND = "imap.command_failed", "The mailbox's server refuses a command."
    IMAP_STARTTLS = "imap.starttls_refused", "The mailbox's server does not begin TLS."


AllReasons: type[Reasons] = cast("Any", Reasons)(
    "AllReasons",
    {
        reason.value.replace(".", "_").upper(): (reason.value, reason.sentence)
        for kind in (SmtpReason, RoundtripReason)
        for reason in kind
    },
)
"""Those of the relay too."""
