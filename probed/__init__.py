"""The incident playbook, executed all the time.

What a probe author imports stands here: `from probed import Measure, Probe, Reasons, Run`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from probed.version import __version__

if TYPE_CHECKING:
    from probed.fields import (
        AddressChoice,
        CertificateAge,
        Direction,
        Duration,
        HostPort,
        Latency,
        Pattern,
        Private,
        Settings,
        Size,
        Thresholds,
        Tls,
        UnixSocket,
        Url,
        format_duration,
    )  # fmt: skip
    from probed.http import Request, Response, check_header
    from probed.judgement import Fault, TimedOut, outcome_of, within
    from probed.model import Finding, Measure, MetricType, Outcome, Severity
    from probed.net import Network, Stream
    from probed.net.answer import Answer, Said
    from probed.net.relay import Relay
    from probed.net.vantage import Vantage
    from probed.probe.connections import by_family, http_client, pooled, start_tls
    from probed.probe.kind import Probe
    from probed.probe.run import Rule, Run, record_fault
    from probed.probe.thresholds import judge_certificate, judge_latency
    from probed.reasons import ProbeError, Reason, Reasons
    from probed.record import Certificate, Recorder, utc
    from probed.text.redact import SecretStr, redact_url, sanitize

# The command line imports this package first: nothing heavy may be loaded with it.
_HOME = {
    "AddressChoice": "probed.fields",
    "Answer": "probed.net.answer",
    "Certificate": "probed.record",
    "CertificateAge": "probed.fields",
    "Direction": "probed.fields",
    "Duration": "probed.fields",
    "Fault": "probed.judgement",
    "Finding": "probed.model",
    "HostPort": "probed.fields",
    "Latency": "probed.fields",
    "Measure": "probed.model",
    "MetricType": "probed.model",
    "Network": "probed.net",
    "Outcome": "probed.model",
    "Pattern": "probed.fields",
    "Private": "probed.fields",
    "Probe": "probed.probe.kind",
    "ProbeError": "probed.reasons",
    "Reason": "probed.reasons",
    "Reasons": "probed.reasons",
    "Recorder": "probed.record",
    "Relay": "probed.net.relay",
    "Request": "probed.http",
    "Response": "probed.http",
    "Rule": "probed.probe.run",
    "Run": "probed.probe.run",
    "Said": "probed.net.answer",
    "SecretStr": "probed.text.redact",
    "Settings": "probed.fields",
    "Severity": "probed.model",
    "Size": "probed.fields",
    "Stream": "probed.net",
    "Thresholds": "probed.fields",
    "TimedOut": "probed.judgement",
    "Tls": "probed.fields",
    "UnixSocket": "probed.fields",
    "Url": "probed.fields",
    "Vantage": "probed.net.vantage",
    "by_family": "probed.probe.connections",
    "check_header": "probed.http",
    "format_duration": "probed.fields",
    "http_client": "probed.probe.connections",
    "judge_certificate": "probed.probe.thresholds",
    "judge_latency": "probed.probe.thresholds",
    "outcome_of": "probed.judgement",
    "pooled": "probed.probe.connections",
    "record_fault": "probed.probe.run",
    "redact_url": "probed.text.redact",
    "sanitize": "probed.text.redact",
    "start_tls": "probed.probe.connections",
    "utc": "probed.record",
    "within": "probed.judgement",
}

__all__ = [
    "AddressChoice",
    "Answer",
    "Certificate",
    "CertificateAge",
    "Direction",
    "Duration",
    "Fault",
    "Finding",
    "HostPort",
    "Latency",
    "Measure",
    "MetricType",
    "Network",
    "Outcome",
    "Pattern",
    "Private",
    "Probe",
    "ProbeError",
    "Reason",
    "Reasons",
    "Recorder",
    "Relay",
    "Request",
    "Response",
    "Rule",
    "Run",
    "Said",
    "SecretStr",
    "Settings",
    "Severity",
    "Size",
    "Stream",
    "Thresholds",
    "TimedOut",
    "Tls",
    "UnixSocket",
    "Url",
    "Vantage",
    "__version__",
    "by_family",
    "check_header",
    "format_duration",
    "http_client",
    "judge_certificate",
    "judge_latency",
    "outcome_of",
    "pooled",
    "record_fault",
    "redact_url",
    "sanitize",
    "start_tls",
    "utc",
    "within",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'probed' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
