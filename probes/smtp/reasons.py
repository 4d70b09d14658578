"""Reasons of the smtp kind."""

from __future__ import annotations

from probed import Reasons


class SmtpReason(Reasons):
    """Reasons of a relay, phase by phase, and of the group of relays."""

    BANNER_SLOW = "smtp.banner_slow", "The relay's greeting is slow."
    BANNER_INCOMPLETE = "smtp.banner_incomplete", "The relay's greeting is incomplete."
    BANNER_REJECTED = (
        "smtp.banner_rejected",
        "The relay rejects the connection with a 5xx greeting.",
    )
    SERVICE_UNAVAILABLE = "smtp.service_unavailable", "The relay is temporarily unavailable (4xx)."
    NOT_SMTP = "smtp.not_smtp", "The peer does not speak SMTP."
    PROTOCOL = "smtp.protocol", "The relay's reply is not valid SMTP."
    PROTOCOL_FLOOD = "smtp.protocol_flood", "The relay's reply is larger than the limit."
    MIXED_CODES = "smtp.protocol_mixed_codes", "One multi-line reply contains different codes."
    UNSOLICITED = "smtp.protocol_unsolicited", "The relay sent text that no command asked for."
    EHLO_REJECTED = "smtp.ehlo_rejected", "The relay rejects both EHLO and HELO."
    NO_ESMTP = "smtp.no_esmtp", "The relay does not support ESMTP, only HELO."
    EXT_MISSING = "smtp.ext_missing", "The relay does not offer a required extension."
    STARTTLS_NOT_OFFERED = "smtp.starttls_not_offered", "The relay does not offer STARTTLS."
    STARTTLS_STRIPPED = (
        "smtp.starttls_stripped",
        "A middlebox masks STARTTLS in the relay's reply.",
    )
    STARTTLS_REFUSED = "smtp.starttls_refused", "The relay offers STARTTLS but rejects the command."
    STARTTLS_INJECTION = (
        "smtp.starttls_injection",
        "Plain text followed the reply to STARTTLS: possible command injection.",
    )
    CLOSED_AFTER_TLS = (
        "smtp.closed_after_tls",
        "The relay closed the connection right after the TLS handshake: it may require a client certificate.",
    )
    TLS_OLD_VERSION = "tls.old_version", "The negotiated TLS version is older than tls.min_version."
    AUTH_NOT_OFFERED = (
        "smtp.auth_not_offered",
        "The relay does not offer the configured login mechanism.",
    )
    AUTH_REJECTED = "smtp.auth_rejected", "The relay rejected the user name or password."
    AUTH_TEMPORARY = "smtp.auth_temporary", "The relay cannot verify the login at the moment."
    MAIL_DEFERRED = "smtp.mail_deferred", "The relay temporarily rejects the sender."
    SENDER_REJECTED = "smtp.sender_rejected", "The relay rejects the sender."
    SERVER_STORAGE = "smtp.server_storage", "The relay has no storage left for mail."
    RCPT_DEFERRED = "smtp.rcpt_deferred", "The relay temporarily rejects the recipient."
    RCPT_UNKNOWN = "smtp.rcpt_unknown", "The relay does not know the recipient."
    RCPT_REJECTED = "smtp.rcpt_rejected", "The relay rejects the recipient."
    RCPT_ACCEPTED = "smtp.rcpt_accepted", "The relay accepts a recipient that it should reject."
    RELAY_DENIED = "smtp.relay_denied", "The relay denies relaying."
    SLOW = "smtp.slow", "A phase took longer than its limit in slow."
    CONNECT_PARTIAL = "connect.partial", "Some of the relay's addresses are unusable."
    BACKUP_UNREADY = "smtp.backup_unready", "A backup relay is not ready to take over."
    SWITCH = "smtp.switch_to_backup", "The primary relay is unusable; a backup relay works."
    SWITCH_SPF = (
        "smtp.switch_but_spf_fails",
        "A backup relay works, but SPF does not authorise it: receivers would reject its mail.",
    )
