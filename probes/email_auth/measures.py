"""Measures of the email_auth kind."""

from __future__ import annotations

from collections.abc import Sequence

from probed import Measure, MetricType, Run, Vantage

OBSERVED = 100
"""Queries of a run whose time is measured."""

MEASURES = (
    Measure("probed.email_auth.status", attributes=("check", "subject", "probed.outcome"), series=200,
            help="1 for the outcome that a check came to, else 0; the subject is a sender, selector or name."),
    Measure("probed.email_auth.record.changes", unit="{change}", kind=MetricType.COUNTER,
            help="Records that were not those of the run before."),
    Measure("probed.spf.terms", unit="{term}", help="Lookups that SPF takes at worst, of 10."),
    Measure("probed.spf.void_lookups", unit="{lookup}", attributes=("count",),
            help="SPF terms, and queries, that lead to nothing."),
    Measure("probed.spf.include.terms", unit="{term}", attributes=("include",),
            help="Lookups that an include costs with all below it."),
    Measure("probed.spf.sender.result", attributes=("sender", "result"), series=70,
            help="1 for what SPF comes to for a sender, else 0."),
    Measure("probed.dkim.key.bits", unit="{bit}", attributes=("selector",), help="Size of the key."),
    Measure("probed.dmarc.policy", attributes=("domain", "policy"),
            help="1 for the policy that applies, else 0."),
    Measure("probed.dns.query.duration", unit="s", kind=MetricType.HISTOGRAM,
            attributes=("vantage", "rtype", "outcome"), series=300,
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
            help="Time of one query to one server."),
    Measure("probed.dns.queries", unit="{query}", kind=MetricType.COUNTER, attributes=("vantage",),
            help="Queries that were sent."),
    Measure("probed.dns.record.ttl", unit="s", attributes=("record",),
            help="Time that the record may still be remembered, the shortest of any resolver."),
)  # fmt: skip


def measure_queries(run: Run, vantages: Sequence[Vantage]) -> None:
    """Measure the number and duration of each vantage point's queries."""
    left = OBSERVED
    for vantage in vantages:
        run.measure("probed.dns.queries", len(vantage.answers), {"vantage": vantage.name})
        for answer in vantage.answers[:left]:
            run.measure(
                "probed.dns.query.duration",
                answer.seconds,
                {"vantage": vantage.name, "rtype": answer.type, "outcome": answer.said.value},
            )
        left = max(0, left - len(vantage.answers))
