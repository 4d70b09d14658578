"""The sections `service` and `telemetry`, as they are written in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from probed.config.model import Service, Spool, Telemetry
from probed.config.settings import Settings
from probed.fields import Duration, Size, Url, check_host, is_loopback

_HOUR, _DAY = 3600.0, 86400.0
_SERVICE, _TELEMETRY, _SPOOL = Service(), Telemetry(), Spool()


def _listen(value: str) -> str:
    """`host:port`; port 0 lets the system choose a free one."""
    host, _, port = value.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise PydanticCustomError(
            "listen", "write host:port, such as 127.0.0.1:9610; port 0 is any"
        )
    if ":" in host and not host.startswith("["):
        raise PydanticCustomError("listen", "write an IPv6 address as [::1]:9610")
    bare = check_host(host)
    return f"[{bare}]:{int(port)}" if ":" in bare else f"{bare}:{int(port)}"


def _loopback(value: str, info: ValidationInfo) -> str:
    """An address that only this machine reaches, where nobody is asked who they are."""
    access = info.data.get("access")
    if not is_loopback(value) and access is not None and not (access.read or access.anybody):
        raise PydanticCustomError(
            "loopback",
            "write a loopback address, such as 127.0.0.1:9611, or a password for who may read: "
            "access: {read: {file: PATH}}",
        )
    return value


def _resolver(value: str) -> str:
    """The address of a name server, with its port."""
    host, port = value, "53"
    if value.startswith("[") or value.count(":") == 1:
        host, _, port = value.rpartition(":") if not value.endswith("]") else (value, "", "53")
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise PydanticCustomError(
            "resolver",
            "write the IP address of a name server, such as 192.0.2.53 or 192.0.2.53:5353",
        )
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


Listen = Annotated[str, AfterValidator(_listen)]
Resolver = Annotated[str, AfterValidator(_resolver)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class AccessSettings(Settings):
    """Who may read the page and the API, and who may have checks run there: by HTTP authentication,
    with any user name.
    """

    read: SecretStr | None = None
    """The password of who may read; without it everybody who reaches the address may."""
    admin: SecretStr | None = None
    """The password of who may read and have checks run; without it nobody may have them run."""
    anybody: bool = False
    """Ask for no password at an address that others reach, too."""


class ServiceSettings(Settings):
    """The daemon itself."""

    name: Text = _SERVICE.name
    """`service.name` of the telemetry."""
    environment: Text | None = None
    """`deployment.environment.name` of the telemetry."""
    location: Text | None = None
    """From where the checks run: `probed.location` of the telemetry."""
    state_dir: Path | None = None
    """Folder for what outlives a restart."""
    access: AccessSettings = AccessSettings.model_construct()
    """Who may read, and who may do more."""
    listen: Annotated[Listen, AfterValidator(_loopback)] = _SERVICE.listen
    """Address of the page and the JSON API; loopback only, but for those who are asked for a password."""
    allowed_hosts: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """Host names by which the page may be asked for, beside localhost."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = _SERVICE.concurrency
    """Runs at the same time."""
    concurrency_per_host: Annotated[int, Field(ge=1, le=10_000)] = _SERVICE.concurrency_per_host
    """Runs at the same time against one host."""
    resolvers: Annotated[tuple[Resolver, ...], Field(max_length=10)] = ()
    """Name servers to ask instead of the system's."""
    watch: bool = False
    """Reload when a file of the configuration has changed."""
    control: Path | None = None
    """Unix socket by which `probed reload`, `status`, `drain` and `check --daemon` reach the daemon."""


class OtlpSettings(Settings):
    """Where OTLP goes; what is not set here is taken from the standard OTEL_* variables."""

    endpoint: Url | None = None
    """Base URL of the collector; the signal's path is added to it."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Headers of every request, such as an Authorization."""
    compression: Literal["gzip", "none"] | None = None
    """How requests are compressed."""
    timeout: Annotated[Duration, Field(ge=0.1, le=300)] | None = None
    """Deadline of one request."""
    ca: Path | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""


_Spooled = Annotated[Size, Field(ge=1 << 20, le=1 << 40)]


class SpoolSettings(Settings):
    """What waits in the state directory while the collector cannot be reached. The oldest goes
    first where there is no room, and what is dropped is counted.
    """

    fail: _Spooled = _SPOOL.fail
    """Room for the traces of runs that were not ok, and of checks that are not well."""
    ok: _Spooled = _SPOOL.ok
    """Room for the traces of healthy runs."""
    metrics: _Spooled = _SPOOL.metrics
    """Room for metrics, of which those older than two hours are dropped."""
    age: Annotated[Duration, Field(ge=60, le=30 * _DAY)] = _SPOOL.age
    """How long it waits at most."""


class TelemetrySettings(Settings):
    """What is exported, and how often."""

    listen: Listen = _TELEMETRY.listen
    """Address of /metrics, /livez and /readyz."""
    metrics_interval: Annotated[Duration, Field(ge=1, le=_HOUR)] | None = None
    """Time between two exports of metrics."""
    trace_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The part of the healthy runs whose traces are kept; all others are always kept."""
    phase_histogram: bool = _TELEMETRY.phase_histogram
    """Export the durations of phases as histograms."""
    otlp: OtlpSettings = OtlpSettings.model_construct()
    """Where OTLP goes."""
    spool: SpoolSettings = SpoolSettings.model_construct()
    """What waits on disk while OTLP cannot be sent."""


MODELS: Mapping[str, type[Settings]] = {
    "service": ServiceSettings,
    "telemetry": TelemetrySettings,
}
