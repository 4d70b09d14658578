"""Telemetry of Results: the board of series, its two views, spans and their export.

Importing this package does not import opentelemetry; only the export does.
"""

from probed.telemetry.pipeline import Pipeline
from probed.telemetry.subscriber import TelemetrySubscriber

__all__ = ["Pipeline", "TelemetrySubscriber"]
