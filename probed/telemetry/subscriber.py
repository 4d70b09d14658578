"""Subscriber of events that updates series and spans."""

from __future__ import annotations

from probed.events import Configured, Event, Recorded, Released, Removed, Suppressed
from probed.telemetry.pipeline import Pipeline


class TelemetrySubscriber:
    """Subscriber that updates the board of series and queues Results for the export."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._board = pipeline.board

    def apply(self, event: Event) -> None:
        """Apply one event."""
        board, name = self._board, event.check.name
        match event:
            case Recorded():
                self._pipeline.record(event.result)
                board.judge(name, event.state)
            case Suppressed():
                board.suppress(name, active=True)
            case Released():
                board.suppress(name, active=False)
            case Configured():
                board.add(event.check)
                board.judge(name, event.state)
                board.suppress(name, active=bool(event.suppressed_by))
            case Removed():
                board.remove(name)
            case _:
                pass  # `Recorded` has the state
