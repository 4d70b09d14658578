"""Export settings from the configuration and the standard `OTEL_*` variables.

The configuration takes precedence over the variable of a signal (`OTEL_EXPORTER_OTLP_TRACES_…`),
and that over the general one. An empty variable counts as unset. Nothing is exported without an
endpoint.

`OTEL_EXPORTER_OTLP_TIMEOUT` is in **seconds**, as in the Python SDK (the specification says
milliseconds; opentelemetry-python issue 4044). `OTEL_METRIC_EXPORT_INTERVAL` and
`OTEL_BSP_SCHEDULE_DELAY` are in milliseconds, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from probed.fields import Url
from probed.http import check_header
from probed.net import TlsOptions
from probed.text.redact import redact_url

if TYPE_CHECKING:
    from probed.config.telemetry import Otlp, Spool, Telemetry

SignalName: TypeAlias = Literal["traces", "metrics"]

METRICS_INTERVAL = 60.0
FLUSH_INTERVAL = 1.0
TIMEOUT = 10.0
TRACE_RATIO = 0.05
"""Share of the healthy runs that are sampled. All other runs are sampled."""

_PREFIX = "OTEL_EXPORTER_OTLP_"
_ALWAYS = {"always_on": 1.0, "always_off": 0.0}


@dataclass(frozen=True, slots=True)
class Signal:
    """Destination of one signal. `timeout` is seconds for one request; paths are PEM files."""

    name: SignalName
    url: str
    headers: Mapping[str, SecretStr]
    timeout: float = TIMEOUT
    gzip: bool = True
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def shown(self) -> str:
        """URL without secrets."""
        return redact_url(self.url)

    @property
    def tls(self) -> TlsOptions:
        """TLS options, with the client certificate that the standard variables can name."""
        ca, certificate, key = (
            None if path is None else str(path) for path in (self.ca, self.certificate, self.key)
        )
        return TlsOptions(ca=ca, certificate=certificate, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """Settings of the export. Intervals are seconds. A signal that is None is not exported."""

    spool: Spool
    traces: Signal | None = None
    metrics: Signal | None = None
    metrics_interval: float = METRICS_INTERVAL
    flush_interval: float = FLUSH_INTERVAL
    trace_ratio: float = TRACE_RATIO

    @property
    def signals(self) -> tuple[Signal, ...]:
        return tuple(signal for signal in (self.traces, self.metrics) if signal is not None)


def export_settings(telemetry: Telemetry, environ: Mapping[str, str]) -> ExportSettings:
    """Return the settings. Raises ValueError, which names the variable and the remedy, but no secrets."""
    environment = _Environment(environ)
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    interval = telemetry.metrics_interval
    ratio = telemetry.trace_ratio
    return ExportSettings(
        spool=telemetry.spool,
        traces=None if disabled else _signal("traces", telemetry.otlp, environment),
        metrics=None if disabled else _signal("metrics", telemetry.otlp, environment),
        metrics_interval=interval
        or environment.number("OTEL_METRIC_EXPORT_INTERVAL", 1000 * METRICS_INTERVAL) / 1000,
        flush_interval=environment.number("OTEL_BSP_SCHEDULE_DELAY", 1000 * FLUSH_INTERVAL) / 1000,
        trace_ratio=_sampler(environment) if ratio is None else ratio,
    )


def sampled(trace_id: str, ratio: float) -> bool:
    """Return whether a trace is sampled at this ratio, by the last 64 bits of its id, as in the SDK's
    `TraceIdRatioBased`, so that all samplers with the same ratio sample the same traces.
    """
    return int(trace_id[16:], 16) < round(ratio * (1 << 64))


class _Environment:
    """Environment variables; an empty one counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, *names: str) -> tuple[str, str] | None:
        """Return name and value of the first variable that is set."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return name, value
        return None

    def of(self, signal: SignalName, key: str) -> tuple[str, str] | None:
        return self.get(f"{_PREFIX}{signal.upper()}_{key}", _PREFIX + key)

    def number(self, name: str, default: float) -> float:
        found = self.get(name)
        return default if found is None else _positive(*found)


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name}: write a positive number")
    return value


def _signal(name: SignalName, otlp: Otlp, environment: _Environment) -> Signal | None:
    url = _url(name, otlp, environment)
    if url is None or not _wanted(f"OTEL_{name.upper()}_EXPORTER", environment):
        return None
    protocol = environment.of(name, "PROTOCOL")
    if protocol is not None and protocol[1] != "http/protobuf":
        raise ValueError(
            f"{protocol[0]}: only http/protobuf is supported; write http/protobuf, and the port of the "
            "collector's HTTP receiver (4318) in the endpoint"
        )
    timeout = environment.of(name, "TIMEOUT")
    return Signal(
        name=name,
        url=url,
        headers=_headers(name, otlp, environment),
        timeout=otlp.timeout or (_positive(*timeout) if timeout else TIMEOUT),
        gzip=_gzip(name, otlp, environment),
        ca=otlp.ca or _path(environment.of(name, "CERTIFICATE")),
        certificate=_path(environment.of(name, "CLIENT_CERTIFICATE")),
        key=_path(environment.of(name, "CLIENT_KEY")),
    )


def _url(name: SignalName, otlp: Otlp, environment: _Environment) -> str | None:
    if otlp.endpoint is not None:
        return _endpoint("telemetry.otlp.endpoint", otlp.endpoint).rstrip("/") + f"/v1/{name}"
    endpoint = environment.get(f"{_PREFIX}{name.upper()}_ENDPOINT")
    if endpoint is not None:
        return _endpoint(*endpoint)
    base = environment.get(_PREFIX + "ENDPOINT")
    return None if base is None else _endpoint(*base).rstrip("/") + f"/v1/{name}"


def _endpoint(where: str, text: str) -> str:
    try:
        url = Url.parse(text)
    except ValueError:
        raise ValueError(
            f"{where}: write a URL without user and password, such as http://127.0.0.1:4318; "
            "credentials go into headers"
        ) from None
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        raise ValueError(f"{where}: write the URL without a query; credentials go into headers")
    return str(url)


def _wanted(name: str, environment: _Environment) -> bool:
    found = environment.get(name)
    if found is None or found[1] == "otlp":
        return True
    if found[1] == "none":
        return False
    raise ValueError(f"{name}: write otlp or none")


def _headers(name: SignalName, otlp: Otlp, environment: _Environment) -> Mapping[str, SecretStr]:
    """Return the headers: the configuration overrides the variable (`key=value,…`, percent-encoded)."""
    headers: dict[str, SecretStr] = {}
    found = environment.of(name, "HEADERS")
    where = found[0] if found is not None else ""
    for item in filter(None, map(str.strip, found[1].split(",") if found is not None else ())):
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{where}: write name=value, separated by commas")
        headers[_header(where, key.strip().lower(), unquote(value.strip()))] = SecretStr(
            unquote(value.strip())
        )
    for key, secret in otlp.headers.items():
        lower = _header("telemetry.otlp.headers", key.lower(), secret.get_secret_value())
        headers[lower] = secret
    return headers


def _header(where: str, name: str, value: str) -> str:
    try:
        check_header(name, value)
    except ValueError:
        raise ValueError(f"{where}: a header has a name or value with invalid characters") from None
    return name


def _gzip(name: SignalName, otlp: Otlp, environment: _Environment) -> bool:
    """Return whether to compress. Unlike in the SDK the default is on: every OTLP receiver accepts gzip."""
    found = environment.of(name, "COMPRESSION")
    where, value = found if found is not None else ("", "gzip")
    if otlp.compression is not None:
        where, value = "telemetry.otlp.compression", otlp.compression
    if value not in {"gzip", "none"}:
        raise ValueError(f"{where}: write gzip or none")
    return value == "gzip"


def _path(found: tuple[str, str] | None) -> Path | None:
    return None if found is None else Path(found[1])


def _sampler(environment: _Environment) -> float:
    """Return the ratio of a standard sampler. Runs have no parent, so `parentbased_` changes nothing."""
    found = environment.get("OTEL_TRACES_SAMPLER")
    if found is None:
        return TRACE_RATIO
    name = found[1].lower().removeprefix("parentbased_")
    if name in _ALWAYS:
        return _ALWAYS[name]
    if name != "traceidratio":
        raise ValueError(
            f"{found[0]}: write always_on, always_off, traceidratio, or one of these after "
            "parentbased_"
        )
    argument = environment.get("OTEL_TRACES_SAMPLER_ARG")
    if argument is None:
        return 1.0
    try:
        ratio = float(argument[1])
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"{argument[0]}: write a number from 0 to 1")
    return ratio
