"""Email checks: relays, DNS records, queue, delivery."""

from __future__ import annotations

from .layout import dashboard
from .panels import (
    AMBER,
    EXPIRY,
    GREEN,
    NONE_EXPECTED,
    OUTCOME_COLOURS,
    RED,
    YES_OR_NO,
    lines,
    query,
    reasons,
    stat,
    timeline,
    verdicts,
)
from .queries import check_rate, checks, increase, outcomes, quantile

PANELS = [
    verdicts(6),
    timeline(
        "Usable relays",
        "Shows whether to switch from the primary relay to the backup.",
        f"min by (probed_check, smtp_relay) ({checks('probed_smtp_relay_usable')})",
        "{{probed_check}} {{smtp_relay}}",
        mappings=YES_OR_NO,
        height=5,
    ),
    lines(
        "Banner",
        "Time to the first byte of the banner.",
        query(
            f"max by (smtp_relay) ({checks('probed_smtp_banner_first_byte_seconds')})",
            "{{smtp_relay}}",
        ),
        unit="s",
    ),
    lines(
        "SMTP phases",
        "90th percentile of the duration of each SMTP phase.",
        query(
            quantile(0.9, check_rate("probed_smtp_phase_duration_seconds_bucket"), "smtp_phase"),
            "{{smtp_phase}}",
        ),
        unit="s",
    ),
    lines(
        "Replies",
        "Replies per minute, by class. 4xx are deferrals, 5xx are rejections.",
        query(
            f"sum by (smtp_relay, smtp_reply_class) ({check_rate('probed_smtp_replies_total')}) * 60",
            "{{smtp_relay}} {{smtp_reply_class}}",
        ),
        unit="cpm",
    ),
    stat(
        "Relay certificates",
        "Time until the certificate of each relay expires.",
        query(
            f"min by (smtp_relay) ({checks('probed_smtp_certificate_not_after_seconds')}) - time()",
            "{{smtp_relay}}",
        ),
        unit="s",
        steps=EXPIRY,
        width=12,
        height=8,
    ),
    timeline(
        "SPF, DKIM, DMARC",
        "Outcome of each part of the email authentication check.",
        outcomes("probed_email_auth_status", "check, subject"),
        "{{check}} {{subject}}",
        mappings=OUTCOME_COLOURS,
        height=9,
    ),
    lines(
        "SPF lookups",
        "DNS lookups of the SPF record; the limit is 10. The evidence `spf.tree` of a run has the cost of each include.",
        query(f"max by (probed_check) ({checks('probed_spf_terms')})", "{{probed_check}}"),
        query(f"max by (include) ({checks('probed_spf_include_terms')})", "{{include}}"),
        steps=[(None, GREEN), (9, AMBER), (11, RED)],
    ),
    lines(
        "DNS queries",
        "90th percentile of the query duration, by resolver.",
        query(
            quantile(0.9, check_rate("probed_dns_query_duration_seconds_bucket"), "vantage"),
            "{{vantage}}",
        ),
        unit="s",
    ),
    timeline(
        "SPF for our senders",
        "SPF result of each sender.",
        f"max by (sender, result) ({checks('probed_spf_sender_result')}) == 1",
        "{{sender}} {{result}}",
        mappings=[{"type": "value", "options": {"1": {"text": "yes", "color": "blue"}}}],
        height=6,
    ),
    stat(
        "Changed records",
        "DNS records that changed in the selected time range.",
        query(f"sum({increase('probed_email_auth_record_changes_total')})"),
        steps=NONE_EXPECTED,
        width=6,
        height=8,
    ),
    lines(
        "Queue depth",
        "Messages in the queue.",
        query(f"max by (queue) ({checks('probed_email_queue_depth')})", "{{queue}}"),
        width=6,
    ),
    lines(
        "Oldest message",
        "Age of the oldest message in the queue.",
        query(f"max by (queue) ({checks('probed_email_queue_oldest_age_seconds')})", "{{queue}}"),
        unit="s",
    ),
    lines(
        "Round trip",
        "Delivery time from the relay to the mailbox.",
        query(
            f"max by (probed_check) ({checks('probed_email_roundtrip_delivery_duration_seconds')})",
            "{{probed_check}}",
        ),
        unit="s",
    ),
    reasons(),
]

DASHBOARD = dashboard(
    "email",
    "probed: email",
    "Can mail be sent, is it delivered, and do receivers accept it?",
    PANELS,
    kinds="smtp|email_auth|email_queue|email_roundtrip",
)
