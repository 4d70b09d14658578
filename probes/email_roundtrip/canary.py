"""The mail that is sent: small, marked, and answered by no machine."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import format_datetime, parsedate_to_datetime

HEADER = "X-Probed-Token"


def family_of(*parts: str) -> str:
    """The marker of one check's mails, so that no other mail is ever removed."""
    return "probed-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def canary(sender: str, rcpt: str, token: str, now: float) -> bytes:
    """RFC 5322, with `Auto-Submitted` (RFC 3834)."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = rcpt
    mail["Subject"] = "probed: a mail that checks that mail arrives"
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    mail["Message-ID"] = f"<{token}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["Precedence"] = "bulk"
    mail[HEADER] = token
    mail.set_content(
        "This mail was sent by a machine to see that it arrives. It is removed later.\n"
    )
    return mail.as_bytes()


def token_of(header: bytes) -> str | None:
    """The token in a header; None where there is none, or more than one."""
    tokens = BytesHeaderParser(policy=compat32).parsebytes(header).get_all(HEADER, [])
    return str(tokens[0]).strip() if len(tokens) == 1 else None


def sent_at(header: bytes) -> float | None:
    """The time of its `Date`, in seconds since the epoch; None where it has none that can be read."""
    dates = BytesHeaderParser(policy=compat32).parsebytes(header).get_all("Date", [])
    try:
        return parsedate_to_datetime(str(dates[0])).timestamp() if len(dates) == 1 else None
    except (ValueError, OverflowError, TypeError, IndexError, OSError):
        return None
