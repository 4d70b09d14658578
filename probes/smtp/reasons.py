"""Why a mail relay cannot be used: the reasons of this kind."""

from __future__ import annotations

from probed import Reasons


class SmtpReason(Reasons):
    """What the relay said, or did not say, phase by phase; and what the group of relays comes to."""

    BANNER_SLOW = "smtp.banner_slow", "The relay takes long to greet."
    BANNER_INCOMPLETE = "smtp.banner_incomplete", "The relay began to greet, and did not end."
    BANNER_REJECTED = "smtp.banner_rejected", "The relay refuses to serve us (5xx as its greeting)."
    SERVICE_UNAVAILABLE = "smtp.service_unavailable", "The relay says that it cannot serve for now."
    NOT_SMTP = "smtp.not_smtp", "What listens there does not speak SMTP."
    PROTOCOL = "smtp.protocol", "The relay's answer is not SMTP."
    PROTOCOL_FLOOD = "smtp.protocol_flood", "The relay's answer is larger than any may be."
    MIXED_CODES = "smtp.protocol_mixed_codes", "One answer of the relay has different codes."
    UNSOLICITED = "smtp.protocol_unsolicited", "The relay said more than it was asked."
    EHLO_REJECTED = "smtp.ehlo_rejected", "The relay accepts neither EHLO nor HELO."
    NO_ESMTP = "smtp.no_esmtp", "The relay speaks no ESMTP, only HELO."
    EXT_MISSING = "smtp.ext_missing", "The relay does not offer an extension that is required."
    STARTTLS_NOT_OFFERED = "smtp.starttls_not_offered", "The relay does not offer STARTTLS."
    STARTTLS_STRIPPED = (
        "smtp.starttls_stripped",
        "Something on the way has blotted out STARTTLS in the relay's offer.",
    )
    STARTTLS_REFUSED = "smtp.starttls_refused", "The relay offers STARTTLS and refuses it."
    STARTTLS_INJECTION = (
        "smtp.starttls_injection",
        "Plain text came after the relay's word to begin TLS: somebody may have put it there.",
    )
    CLOSED_AFTER_TLS = (
        "smtp.closed_after_tls",
        "The relay closed right after the TLS handshake: it may want a certificate of ours.",
    )
    TLS_OLD_VERSION = "tls.old_version", "The TLS version agreed on is older than wanted."
    AUTH_NOT_OFFERED = "smtp.auth_not_offered", "The relay does not offer our way to log in."
    AUTH_REJECTED = "smtp.auth_rejected", "The relay does not accept our user name and secret."
    AUTH_TEMPORARY = "smtp.auth_temporary", "The relay cannot check our secret for now."
    MAIL_DEFERRED = "smtp.mail_deferred", "The relay does not take our sender for now."
    SENDER_REJECTED = "smtp.sender_rejected", "The relay refuses our sender."
    SERVER_STORAGE = "smtp.server_storage", "The relay has no room for mail."
    RCPT_DEFERRED = "smtp.rcpt_deferred", "The relay does not take the recipient for now."
    RCPT_UNKNOWN = "smtp.rcpt_unknown", "The relay does not know the recipient."
    RCPT_REJECTED = "smtp.rcpt_rejected", "The relay refuses the recipient."
    RCPT_ACCEPTED = "smtp.rcpt_accepted", "The relay accepts a recipient that it should refuse."
    RELAY_DENIED = "smtp.relay_denied", "The relay does not relay for us."
    SLOW = "smtp.slow", "A phase took longer than it should."
    CONNECT_PARTIAL = "connect.partial", "Some of the relay's addresses cannot be used."
    BACKUP_UNREADY = "smtp.backup_unready", "A backup relay could not take over now."
    SWITCH = "smtp.switch_to_backup", "The primary relay cannot be used; a backup can."
    SWITCH_SPF = (
        "smtp.switch_but_spf_fails",
        "A backup relay can be used, but SPF does not authorise it: its mail would be refused.",
    )
