"""A receiver's verdict on a mail: `Authentication-Results` (RFC 8601)."""

from __future__ import annotations

import re
from email.parser import BytesHeaderParser
from email.policy import compat32

METHODS = ("spf", "dkim", "dmarc")
_COMMENT = re.compile(r"\([^()]*\)")
_NESTED = 5
_RESULT = re.compile(r";\s*(spf|dkim|dmarc)\s*=\s*([a-z]+)", re.IGNORECASE)


def read_results(header: bytes, authserv_id: str) -> dict[str, str] | None:
    """The result by method, as the server of that name says; None where it does not.

    Of several signatures the best counts. Only its topmost header does: those below it may have
    come with the mail.
    """
    message = BytesHeaderParser(policy=compat32).parsebytes(header)
    for value in message.get_all("Authentication-Results", []):
        text = str(value)[:8192]
        for _ in range(_NESTED):
            text = _COMMENT.sub(" ", text)
        words = text.partition(";")[0].split()
        if not words or words[0].lower() != authserv_id.lower():
            continue
        found: dict[str, str] = {}
        for method, result in _RESULT.findall(text):
            if found.get(method.lower()) != "pass":
                found[method.lower()] = result.lower()
        return found
    return None
