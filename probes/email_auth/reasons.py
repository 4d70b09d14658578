"""Reasons of the email_auth kind."""

from __future__ import annotations

from probed import Reasons


class EmailAuthReason(Reasons):
    DNS_UNAVAILABLE = (
        "dns.unavailable",
        "No resolver answered, so the records could not be judged.",
    )
    DNS_RESOLVER_ERROR = "dns.resolver_error", "One resolver did not answer; others did."
    DNS_DISAGREEMENT = "dns.resolver_disagreement", "DNS servers return different records."
    DNS_PROPAGATING = "dns.propagating", "A resolver still returns the previous record."
    DNS_DRIFT = "dns.drift", "The record differs from expect_record."
    DNS_NOT_AUTHENTIC = "dns.not_authentic", "The answer was not validated by DNSSEC."

    SPF_NONE = "spf.none", "The domain has no SPF record."
    SPF_MULTIPLE = "spf.multiple", "The domain has several SPF records, so none of them counts."
    SPF_SYNTAX = "spf.syntax", "An SPF record has a syntax error."
    SPF_INCLUDE_NONE = (
        "spf.include_none",
        "The SPF record includes a domain that has no SPF record.",
    )
    SPF_LOOKUP_LIMIT = (
        "spf.lookup_limit",
        "SPF needs more than the 10 DNS lookups that receivers allow.",
    )
    SPF_MX_LIMIT = "spf.mx_limit", "An SPF term resolves to more than 10 mail servers."
    SPF_VOID_LIMIT = "spf.void_limit", "More than 2 SPF terms resolve to nothing."
    SPF_QUERY_LIMIT = "spf.query_limit", "SPF needs more DNS queries than any receiver would send."
    SPF_NEAR_LIMIT = (
        "spf.near_limit",
        "SPF needs nearly all of the 10 DNS lookups that receivers allow.",
    )
    SPF_VOID = "spf.void", "SPF terms resolve to nothing."
    SPF_TEMPERROR = "spf.temperror", "An include of the SPF record cannot be looked up."
    SPF_TOO_PERMISSIVE = "spf.too_permissive", "SPF allows anybody to send."
    SPF_SENDER_NONE = "spf.sender_none", "SPF evaluates to 'none' for a sender."
    SPF_SENDER_NEUTRAL = "spf.sender_neutral", "SPF evaluates to 'neutral' for a sender."
    SPF_SENDER_PASS = (
        "spf.sender_pass",
        "SPF evaluates to 'pass' for a sender that must not be authorised.",
    )
    SPF_SENDER_FAIL = "spf.sender_fail", "SPF does not authorise one of your senders."
    SPF_SENDER_SOFTFAIL = (
        "spf.sender_softfail",
        "SPF does not authorise one of your senders (softfail).",
    )
    SPF_SENDER_ADDRESS = "spf.sender_address", "The host name of a sender has no address."
    SPF_LINT_OPEN = "spf.lint_open", "The SPF record does not end in 'all' or 'redirect'."
    SPF_LINT_PTR = (
        "spf.lint_ptr",
        "The SPF record uses 'ptr', which many receivers do not evaluate.",
    )
    SPF_LINT_AFTER_ALL = "spf.lint_after_all", "SPF terms after 'all' are never evaluated."
    SPF_LINT_REDIRECT = "spf.lint_redirect", "An SPF 'redirect' next to 'all' is never followed."
    SPF_LINT_LENGTH = "spf.lint_length", "The SPF record is longer than 450 bytes."
    SPF_LINT_TYPE = "spf.lint_type", "There is a record of the obsolete DNS type SPF."
    SPF_LINT_CNAME = "spf.lint_cname", "There is a CNAME beside the SPF record."

    DKIM_NO_SELECTORS = (
        "dkim.no_selectors",
        "No DKIM selector is configured.",
    )
    DKIM_MISSING = "dkim.missing", "There is no DKIM key."
    DKIM_CNAME_DANGLING = "dkim.cname_dangling", "The CNAME of the DKIM key resolves to nothing."
    DKIM_MULTIPLE = "dkim.multiple", "One selector has several DKIM records."
    DKIM_SYNTAX = "dkim.syntax", "The DKIM record has a syntax error."
    DKIM_REVOKED = "dkim.revoked", "The DKIM key is revoked."
    DKIM_KEY_INVALID = "dkim.key_invalid", "The DKIM record does not contain a valid key."
    DKIM_UNUSABLE = "dkim.unusable", "Receivers cannot use the DKIM key."
    DKIM_KEY_WEAK = "dkim.key_weak", "The DKIM key is too short."
    DKIM_TESTING = "dkim.testing", "The DKIM key is in test mode."
    DKIM_KEY_MISMATCH = "dkim.key_mismatch", "The DKIM key is not the one expected."
    DKIM_PRESENT = "dkim.present", "There is a DKIM key where none is expected."

    DMARC_NONE = "dmarc.none", "No DMARC policy applies to the domain."
    DMARC_MULTIPLE = (
        "dmarc.multiple",
        "There are several DMARC records, so none of them counts.",
    )
    DMARC_NOT_APPLIED = (
        "dmarc.not_applied",
        "The DMARC record has no valid policy, so receivers ignore it.",
    )
    DMARC_POLICY_WEAK = "dmarc.policy_weak", "The DMARC policy is weaker than it should be."
    DMARC_IMPLICIT_NONE = (
        "dmarc.implicit_none",
        "The DMARC record has no valid policy, which counts as p=none.",
    )
    DMARC_TEST_MODE = "dmarc.test_mode", "DMARC is in test mode."
    DMARC_NO_RUA = "dmarc.no_rua", "The DMARC record requests no reports."
    DMARC_RUA_UNAUTHORISED = (
        "dmarc.rua_unauthorised",
        "The receiver of the DMARC reports has not authorised them.",
    )
    DMARC_RUA_UNDELIVERABLE = (
        "dmarc.rua_undeliverable",
        "The destination of the DMARC reports does not accept mail.",
    )
    DMARC_PCT = (
        "dmarc.pct",
        "Older receivers apply the DMARC policy to only part of the mail (pct).",
    )
    DMARC_NO_ALIGNED_PATH = "dmarc.no_aligned_path", "No sender can pass DMARC."

    MX_NONE = "mx.none", "The domain has no MX record."
    MX_UNRESOLVED = "mx.unresolved", "A mail server has no address."
    MTA_STS_MISSING = "mta_sts.missing", "There is no MTA-STS record."
    MTA_STS_INVALID = "mta_sts.invalid", "The MTA-STS record is invalid."
    MTA_STS_HOST = "mta_sts.host", "The host of the MTA-STS policy has no address."
    TLS_RPT_MISSING = "tls_rpt.missing", "There is no TLS-RPT record."
    TLS_RPT_INVALID = "tls_rpt.invalid", "The TLS-RPT record is invalid."
    TLSA_MISSING = "tlsa.missing", "A mail server has no TLSA record."
    TLSA_UNUSABLE = "tlsa.unusable", "No TLSA record of a mail server is usable."
    BIMI_MISSING = "bimi.missing", "There is no BIMI record."
    BIMI_INVALID = "bimi.invalid", "The BIMI record is invalid."
