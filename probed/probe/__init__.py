"""The interface of probe authors: they implement `Probe` and are given a `Run`."""

from probed.probe.kind import Probe
from probed.probe.run import (
    CERTIFICATE_NOT_AFTER,
    FINDING_LIMIT,
    MEMORY_LIMIT,
    Rule,
    Run,
    record_fault,
)

__all__ = [
    "CERTIFICATE_NOT_AFTER", "FINDING_LIMIT", "MEMORY_LIMIT", "Probe", "Rule", "Run",
    "record_fault",
]  # fmt: skip
