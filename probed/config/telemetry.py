"""The section `telemetry`: what is exported, where to, and what waits on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from probed.config.listening import Listen
from probed.config.section import RELOADABLE, Section
from probed.fields import Duration, Settings, Size, Url

_HOUR, _DAY = 3600.0, 86400.0
Interval = Annotated[Duration, Field(ge=1, le=_HOUR)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Otlp(Settings):
    """The OTLP collector. The standard OTEL_* variables set what is not set here."""

    endpoint: Url | None = None
    """Base URL of the collector; the path of each signal is appended."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Headers of every request, such as Authorization."""
    compression: Literal["gzip", "none"] | None = None
    """Compression of requests."""
    timeout: Annotated[Duration, Field(ge=0.1, le=300)] | None = None
    """Deadline of one request."""
    ca: Path | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""


Spooled = Annotated[Size, Field(ge=1 << 20, le=1 << 40)]


class Spool(Settings):
    """Telemetry that waits in the state directory while the collector is unreachable. Where there is
    no room the oldest is dropped, and counted.
    """

    fail: Spooled = 128 << 20
    """Space for traces of runs that were not ok, and of checks that are not known to be healthy."""
    ok: Spooled = 64 << 20
    """Space for traces of healthy runs."""
    metrics: Spooled = 32 << 20
    """Space for metrics. Those older than two hours are dropped."""
    age: Annotated[Duration, Field(ge=60, le=30 * _DAY)] = 86400.0
    """Maximum time that traces wait."""


class Telemetry(Section):
    """The exports of telemetry, and their intervals."""

    key = "telemetry"
    example = """\
telemetry:
  listen: 127.0.0.1:9610
  trace_ratio: 0.1
  otlp:
    endpoint: https://collector.example.com:4318
    headers: {Authorization: {env: OTLP_TOKEN}}
  spool: {fail: 256MiB, age: 12h}
"""

    listen: Listen = "127.0.0.1:9610"
    """Address of /metrics, /livez and /readyz."""
    metrics_interval: Annotated[Interval | None, RELOADABLE] = None
    """Time between two exports of metrics. By default `$OTEL_METRIC_EXPORT_INTERVAL`, else 60s."""
    trace_ratio: Annotated[Ratio | None, RELOADABLE] = None
    """Part of the healthy runs whose traces are exported. Traces of all other runs always are."""
    phase_histogram: bool = False
    """Export the durations of phases as histograms."""
    otlp: Annotated[Otlp, RELOADABLE] = Otlp.model_construct()
    """The OTLP collector."""
    spool: Spool = Spool.model_construct()
    """Telemetry that waits on disk while the collector is unreachable."""
