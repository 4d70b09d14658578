"""Reasons of the email_roundtrip kind, beside those of the relay."""

from __future__ import annotations

from typing import Any, cast

from probed import Reasons
from probes.smtp.reasons import SmtpReason


class RoundtripReason(Reasons):
    """Reasons of the mail's delivery, and of reading the mailbox."""

    NOT_ARRIVED = "roundtrip.not_arrived", "The mail did not arrive in time."
    SLOW = "roundtrip.slow", "The mail was delivered slowly."
    JUNK = "roundtrip.junk", "The mail arrived in a junk folder."
    MAIL_REJECTED = "roundtrip.mail_rejected", "The relay rejected the message."
    MAIL_DEFERRED = "roundtrip.mail_deferred", "The relay temporarily rejects the message."
    RESULT = (
        "roundtrip.auth_result",
        "The receiver's SPF, DKIM or DMARC result is not the expected one.",
    )
    NO_RESULTS = (
        "roundtrip.no_auth_results",
        "The received mail has no usable Authentication-Results header.",
    )
    IMAP_REFUSED = "imap.refused", "The IMAP server rejects the connection."
    IMAP_AUTH = "imap.auth_rejected", "The IMAP server rejected the login."
    IMAP_PROTOCOL = "imap.protocol", "The mailbox server's reply is not valid IMAP."
    IMAP_COMMAND = "imap.command_failed", "The IMAP server rejected a command."
    IMAP_STARTTLS = "imap.starttls_refused", "The IMAP server rejected STARTTLS."


AllReasons: type[Reasons] = cast("Any", Reasons)(
    "AllReasons",
    {
        reason.value.replace(".", "_").upper(): (reason.value, reason.sentence)
        for kind in (SmtpReason, RoundtripReason)
        for reason in kind
    },
)
"""The reasons of this kind and of the relay."""
