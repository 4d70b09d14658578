"""Why what a domain publishes for its mail does not hold."""

from __future__ import annotations

from probed import Reasons


class EmailAuthReason(Reasons):
    DNS_UNAVAILABLE = (
        "dns.unavailable",
        "No vantage could look it up: that says nothing of the records.",
    )
    DNS_RESOLVER_ERROR = "dns.resolver_error", "A resolver did not answer where others did."
    DNS_DISAGREEMENT = "dns.resolver_disagreement", "Not all servers say the same."
    DNS_PROPAGATING = "dns.propagating", "A resolver still has the former record."
    DNS_DRIFT = "dns.drift", "The record is not the one that is written down."
    DNS_NOT_AUTHENTIC = "dns.not_authentic", "The answer was not validated by DNSSEC."

    SPF_NONE = "spf.none", "The domain has no SPF record."
    SPF_MULTIPLE = "spf.multiple", "A domain has several SPF records, which is as good as none."
    SPF_SYNTAX = "spf.syntax", "An SPF record is not one by its grammar."
    SPF_INCLUDE_NONE = "spf.include_none", "The SPF record leads to a domain that has none."
    SPF_LOOKUP_LIMIT = "spf.lookup_limit", "SPF takes more than the 10 lookups that receivers make."
    SPF_MX_LIMIT = "spf.mx_limit", "A term of the SPF record leads to more than 10 mail servers."
    SPF_VOID_LIMIT = "spf.void_limit", "More than 2 terms of the SPF record lead to nothing."
    SPF_QUERY_LIMIT = "spf.query_limit", "SPF takes more queries than any receiver would send."
    SPF_NEAR_LIMIT = "spf.near_limit", "SPF takes nearly the 10 lookups that receivers make."
    SPF_VOID = "spf.void", "Terms of the SPF record lead to nothing."
    SPF_TEMPERROR = "spf.temperror", "What the SPF record includes cannot be looked up."
    SPF_TOO_PERMISSIVE = "spf.too_permissive", "SPF lets anybody send."
    SPF_SENDER_NONE = "spf.sender_none", "For a sender SPF comes to none."
    SPF_SENDER_NEUTRAL = "spf.sender_neutral", "For a sender SPF comes to neutral."
    SPF_SENDER_PASS = "spf.sender_pass", "For a sender that may not send SPF comes to pass."
    SPF_SENDER_FAIL = "spf.sender_fail", "A sender of ours is not authorised by SPF."
    SPF_SENDER_SOFTFAIL = (
        "spf.sender_softfail",
        "A sender of ours is not authorised by SPF (softfail).",
    )
    SPF_SENDER_ADDRESS = "spf.sender_address", "A sender's host has no address."
    SPF_LINT_OPEN = "spf.lint_open", "The SPF record does not say what holds for all others."
    SPF_LINT_PTR = (
        "spf.lint_ptr",
        "The SPF record uses ptr, which many receivers refuse to evaluate.",
    )
    SPF_LINT_AFTER_ALL = "spf.lint_after_all", "Terms after all are never read."
    SPF_LINT_REDIRECT = "spf.lint_redirect", "A redirect beside all is never followed."
    SPF_LINT_LENGTH = "spf.lint_length", "The SPF record is longer than 450 bytes."
    SPF_LINT_TYPE = "spf.lint_type", "There is an SPF record of type SPF, which nobody reads."
    SPF_LINT_CNAME = "spf.lint_cname", "A CNAME stands beside the SPF record."

    DKIM_NO_SELECTORS = (
        "dkim.no_selectors",
        "No DKIM selector is configured, and none can be guessed.",
    )
    DKIM_MISSING = "dkim.missing", "There is no DKIM key."
    DKIM_CNAME_DANGLING = "dkim.cname_dangling", "The DKIM key's alias leads to nothing."
    DKIM_MULTIPLE = "dkim.multiple", "There are several DKIM keys at one selector."
    DKIM_SYNTAX = "dkim.syntax", "The DKIM record is not one by its grammar."
    DKIM_REVOKED = "dkim.revoked", "The DKIM key is revoked."
    DKIM_KEY_INVALID = "dkim.key_invalid", "The DKIM record holds no key."
    DKIM_UNUSABLE = "dkim.unusable", "No receiver can use the DKIM key."
    DKIM_KEY_WEAK = "dkim.key_weak", "The DKIM key is too short."
    DKIM_TESTING = "dkim.testing", "The DKIM key is in test mode."
    DKIM_KEY_MISMATCH = "dkim.key_mismatch", "The DKIM key is not the one expected."
    DKIM_PRESENT = "dkim.present", "There is a DKIM key where none may be."

    DMARC_NONE = "dmarc.none", "No DMARC policy applies to the domain."
    DMARC_MULTIPLE = (
        "dmarc.multiple",
        "Several DMARC records stand at one name: none of them counts.",
    )
    DMARC_NOT_APPLIED = (
        "dmarc.not_applied",
        "The DMARC record has no valid policy: receivers ignore it.",
    )
    DMARC_POLICY_WEAK = "dmarc.policy_weak", "The DMARC policy is weaker than it should be."
    DMARC_IMPLICIT_NONE = (
        "dmarc.implicit_none",
        "The DMARC record has no valid policy: it counts as none.",
    )
    DMARC_TEST_MODE = "dmarc.test_mode", "DMARC is in test mode."
    DMARC_NO_RUA = "dmarc.no_rua", "DMARC reports are sent to nobody."
    DMARC_RUA_UNAUTHORISED = (
        "dmarc.rua_unauthorised",
        "Who shall get DMARC reports has not agreed to.",
    )
    DMARC_RUA_UNDELIVERABLE = "dmarc.rua_undeliverable", "Where DMARC reports go takes no mail."
    DMARC_PCT = "dmarc.pct", "The DMARC policy covers a part of the mail, at older receivers."
    DMARC_NO_ALIGNED_PATH = "dmarc.no_aligned_path", "No mail of ours can pass DMARC."

    MX_NONE = "mx.none", "The domain takes no mail: it has no MX record."
    MX_UNRESOLVED = "mx.unresolved", "A mail server has no address."
    MTA_STS_MISSING = "mta_sts.missing", "There is no MTA-STS record."
    MTA_STS_INVALID = "mta_sts.invalid", "The MTA-STS record is none."
    MTA_STS_HOST = "mta_sts.host", "The host of the MTA-STS policy has no address."
    TLS_RPT_MISSING = "tls_rpt.missing", "There is no TLS-RPT record."
    TLS_RPT_INVALID = "tls_rpt.invalid", "The TLS-RPT record is none."
    TLSA_MISSING = "tlsa.missing", "A mail server has no TLSA record."
    TLSA_UNUSABLE = "tlsa.unusable", "No TLSA record of a mail server can be used."
    BIMI_MISSING = "bimi.missing", "There is no BIMI record."
    BIMI_INVALID = "bimi.invalid", "The BIMI record is none."
