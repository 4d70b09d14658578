"""The keys that are the same for all kinds, as they are written in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from probed.config.model import Check, Otlp, Service, Spool, Telemetry
from probed.fields import Duration, Size, Url, check_host, is_loopback
from probed.model import Severity

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
NAME_LIMIT = 100
LABEL = r"^[A-Za-z_][A-Za-z0-9_.]*$"
LABEL_LIMIT = 20
RESERVED = frozenset({"target", "severity", "runbook", "job", "instance", "le", "quantile"})
"""Labels that `probed.check.info` has already, or that Prometheus sets."""
TAG = r"^[A-Za-z0-9][A-Za-z0-9._/:=-]*$"
TAG_LIMIT = 20
_NAME = re.compile(NAME.removesuffix("$") + r"\Z")
_TAG = TAG.removesuffix("$") + r"\Z"
_LABEL = LABEL.removesuffix("$") + r"\Z"
_HOUR, _DAY = 3600.0, 86400.0
_SERVICE, _TELEMETRY, _OTLP, _SPOOL = Service(), Telemetry(), Otlp(), Spool()


def is_name(text: str) -> bool:
    """Whether a check or a template may have that name."""
    return len(text) <= NAME_LIMIT and _NAME.match(text) is not None


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise PydanticCustomError(
            "name", "must begin with a letter or digit and hold only letters, digits and . _ / -"
        )
    return value


def _tag(value: str) -> str:
    if not re.match(_TAG, value):
        raise PydanticCustomError(
            "tag",
            "a tag must begin with a letter or digit and hold only letters, digits and . _ / : = -",
        )
    return value


def _label(value: str) -> str:
    if not re.match(_LABEL, value):
        raise PydanticCustomError(
            "label",
            "a label's name must begin with a letter or _ and hold only letters, digits, _ and .",
        )
    plain = value.replace(".", "_")
    if plain in RESERVED or plain.startswith("probed_"):
        raise PydanticCustomError("label", "this name is taken: it means something else in metrics")
    return value


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


def _loopback(value: str) -> str:
    """An address that only this machine reaches: what listens there asks nobody who they are."""
    if not is_loopback(value):
        raise PydanticCustomError(
            "loopback", "write a loopback address, such as 127.0.0.1:9611: the API is not protected"
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


Name = Annotated[
    str,
    Field(min_length=1, max_length=NAME_LIMIT),
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NAME_LIMIT, "pattern": NAME}),
]
Tag = Annotated[
    str,
    Field(min_length=1, max_length=100),
    AfterValidator(_tag),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100, "pattern": TAG}),
]
Label = Annotated[str, Field(max_length=100), AfterValidator(_label)]
Labels = Annotated[
    Mapping[Label, Annotated[str, Field(max_length=200)]],
    Field(max_length=LABEL_LIMIT),
    WithJsonSchema({
        "type": "object",
        "propertyNames": {"pattern": LABEL, "maxLength": 100},
        "additionalProperties": {"type": "string", "maxLength": 200},
        "maxProperties": LABEL_LIMIT,
    }),
]  # fmt: skip
Listen = Annotated[str, AfterValidator(_listen)]
Resolver = Annotated[str, AfterValidator(_resolver)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Settings(BaseModel):
    """Unknown keys are refused, and no message repeats a value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )

    @property
    def written(self) -> dict[str, Any]:
        """The settings that the file holds, without those left to their defaults."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class CommonSettings(Settings):
    """What every check has, and `defaults` may set for all of them."""

    interval: Annotated[Duration, Field(ge=0.1, le=7 * _DAY)] = 30.0
    """Time from the start of one run to the start of the next."""
    timeout: Annotated[Duration, Field(ge=0.01, le=_HOUR)] = 10.0
    """One deadline for the whole run, its confirmation included; at most the interval."""
    confirm: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a failed run is repeated at once before it counts, while there is time."""
    fail_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Failed runs in a row that make the check down."""
    recover_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Good runs in a row that make the check up again."""
    severity: Severity = Severity.P2
    """How urgent it is when the check is down: P0 (page now) to P3 (backlog)."""
    labels: Labels = Field(default_factory=dict)
    """Names and values that stand on `probed.check.info`, for routing and grouping."""
    tags: Annotated[tuple[Tag, ...], Field(max_length=TAG_LIMIT)] = ()
    """Words by which checks are selected, as in `probed check --tag edge`."""
    runbook: Url | None = None
    """What to read when the check is down."""
    enabled: bool = True
    """A check that is not enabled is known, but does not run."""
    flap_damping: bool = True
    """Hold the verdict of a check that keeps changing."""


class CheckSettings(CommonSettings):
    """One named, scheduled probe of one target."""

    name: Name
    """The name: unique, and the same for as long as it means the same thing."""
    depends_on: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Names of checks without which this one cannot be up."""
    reference: bool = False
    """A check of something that fails only when our own network does: while all references fail,
    other checks' failures are `unknown`.
    """


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
    listen: Annotated[Listen, AfterValidator(_loopback)] = _SERVICE.listen
    """Address of the local JSON API; loopback only."""
    allowed_hosts: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """Host names by which the API may be asked for, beside localhost."""
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


COMMON = frozenset((*CheckSettings.model_fields, "probe"))
"""Keys of a check that are not its kind's."""
assert set(Check.__dataclass_fields__) >= COMMON
WRITTEN = COMMON | {"use"}
"""Keys that a check may be written with, beside its kind's."""
