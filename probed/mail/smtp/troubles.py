"""Troubles of an SMTP dialogue. The caller maps each one to a reason."""

from __future__ import annotations

from enum import Enum, auto


class Trouble(Enum):
    """Misbehaviour of a server, in the order of a dialogue."""

    BANNER_SLOW = auto()
    BANNER_INCOMPLETE = auto()
    BANNER_REJECTED = auto()
    SERVICE_UNAVAILABLE = auto()
    NOT_SMTP = auto()
    PROTOCOL = auto()
    PROTOCOL_FLOOD = auto()
    MIXED_CODES = auto()
    UNSOLICITED = auto()
    EHLO_REJECTED = auto()
    NO_ESMTP = auto()
    EXT_MISSING = auto()
    STARTTLS_NOT_OFFERED = auto()
    STARTTLS_STRIPPED = auto()
    STARTTLS_REFUSED = auto()
    STARTTLS_INJECTION = auto()
    CLOSED_AFTER_TLS = auto()
    TLS_OLD_VERSION = auto()
    AUTH_NOT_OFFERED = auto()
    AUTH_REJECTED = auto()
    AUTH_TEMPORARY = auto()
    SLOW = auto()
