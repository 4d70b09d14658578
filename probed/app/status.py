"""How the daemon is: for the API, the page, the service manager and orchestrators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from probed.clock import Clock
from probed.documents import timestamp
from probed.engine.monitor import Monitor
from probed.engine.shard import Shard
from probed.model import Verdict
from probed.version import __version__

STUCK_AFTER = 15.0
"""Seconds that the scheduler may be overdue before the daemon counts as not alive."""
NAMED = 5
"""Checks that the service manager's status names."""


@dataclass(slots=True)
class Status:
    """The state of one daemon. `config` describes the last reload; `destinations` are those of OTLP."""

    monitor: Monitor
    clock: Clock
    config: Callable[[], Mapping[str, Any]]
    destinations: Callable[[], tuple[str, ...]]
    shard: Shard | None = None
    metrics_url: str = ""
    api_url: str = ""
    probing: bool = False
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_at = self.clock.time()

    def alive(self) -> str | None:
        """Return None while the scheduler makes progress, else what is wrong."""
        overdue = self.monitor.scheduler.overdue()
        return f"the scheduler is {overdue:.0f} s late" if overdue > STUCK_AFTER else None

    def ready(self) -> str | None:
        """Return None while checks are being run, whatever they find."""
        return None if self.probing else "not probing"

    def headline(self) -> str:
        """Return how things are, in one line."""
        enabled = [check.name for check in self.monitor.config.checks if check.enabled]
        checks = self.monitor.history.checks
        down = [name for name in enabled if checks[name].state.verdict is Verdict.DOWN]
        named = ", ".join(down[:NAMED]) + (", ..." if len(down) > NAMED else "")
        parts = [f"{len(down)} of {len(enabled)} checks down{': ' if down else ''}{named}"]
        if self.monitor.drained:
            parts.append("drained")
        if not self.config()["last_reload_ok"]:
            parts.append("the last reload was refused")
        return "; ".join(parts)

    def document(self) -> dict[str, Any]:
        """Return the daemon's own state as a JSON document."""
        verdicts = [entry.state.verdict for entry in self.monitor.history.checks.values()]
        return {
            "version": __version__,
            "started_at": timestamp(self.started_at),
            "uptime_s": round(self.clock.time() - self.started_at, 3),
            "checks": len(verdicts),
            "verdicts": {verdict.value: verdicts.count(verdict) for verdict in Verdict},
            "drained": self.monitor.drained,
            "shard": None if self.shard is None else str(self.shard),
            "config": self.config(),
            "metrics": f"{self.metrics_url}/metrics",
            "page": f"{self.api_url}/",
            "api": f"{self.api_url}/api/v1/checks",
            "otlp": self.destinations(),
        }
