"""From Results to telemetry: the board of series, its two views, spans and their export.

Importing this needs no opentelemetry; only what is exported does.
"""

from probed.telemetry.pipeline import Pipeline
from probed.telemetry.subscriber import TelemetrySubscriber

__all__ = ["Pipeline", "TelemetrySubscriber"]
