"""SMTP as a client speaks it (RFC 5321): a dialogue within limits, and what came of it."""

from probed.mail.smtp.dialogue import Dialogue, Login, Manner, Server
from probed.mail.smtp.exchange import Caller, SmtpError
from probed.mail.smtp.replies import Reply, without_people
from probed.mail.smtp.troubles import Trouble

__all__ = [
    "Caller", "Dialogue", "Login", "Manner", "Reply", "Server", "SmtpError", "Trouble",
    "without_people",
]  # fmt: skip
