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
    )  # fmt: skip
    from probed.http import Request, Response, check_header
    from probed.model import Measure, MetricType, Outcome, Severity
    from probed.net import Stream
    from probed.net.answer import Answer, Said
    from probed.net.vantage import Vantage
    from probed.probe import Fault, Probe, Run
    from probed.reasons import ProbeError, Reason, Reasons
    from probed.record import Certificate, Recorder
    from probed.text.redact import SecretStr

# The command line imports this package first: nothing heavy may be loaded with it.
_HOME = {
    "Answer": "probed.net.answer",
    "Certificate": "probed.record",
    "CertificateAge": "probed.fields",
    "Direction": "probed.fields",
    "Duration": "probed.fields",
    "AddressChoice": "probed.fields",
    "Fault": "probed.probe",
    "HostPort": "probed.fields",
    "MetricType": "probed.model",
    "Latency": "probed.fields",
    "Measure": "probed.model",
    "Outcome": "probed.model",
    "Pattern": "probed.fields",
    "Private": "probed.fields",
    "Probe": "probed.probe",
    "ProbeError": "probed.reasons",
    "Recorder": "probed.record",
    "Reason": "probed.reasons",
    "Reasons": "probed.reasons",
    "Request": "probed.http",
    "Response": "probed.http",
    "Run": "probed.probe",
    "Said": "probed.net.answer",
    "SecretStr": "probed.text.redact",
    "Settings": "probed.fields",
    "Severity": "probed.model",
    "Size": "probed.fields",
    "Stream": "probed.net",
    "Thresholds": "probed.fields",
    "Tls": "probed.fields",
    "UnixSocket": "probed.fields",
    "Url": "probed.fields",
    "Vantage": "probed.net.vantage",
    "check_header": "probed.http",
}

__all__ = [
    "AddressChoice",
    "Answer",
    "Certificate",
    "CertificateAge",
    "Direction",
    "Duration",
    "Fault",
    "HostPort",
    "Latency",
    "Measure",
    "MetricType",
    "Outcome",
    "Pattern",
    "Private",
    "Probe",
    "ProbeError",
    "Reason",
    "Reasons",
    "Recorder",
    "Request",
    "Response",
    "Run",
    "Said",
    "SecretStr",
    "Settings",
    "Severity",
    "Size",
    "Stream",
    "Thresholds",
    "Tls",
    "UnixSocket",
    "Url",
    "Vantage",
    "__version__",
    "check_header",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'probed' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
