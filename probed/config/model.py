"""The immutable configuration that the rest of the daemon works from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from probed.model import Severity

if TYPE_CHECKING:
    from pathlib import Path

    from probed.probe import Probe
    from probed.text.redact import Redactor, SecretStr


class Position(NamedTuple):
    """Where in which file something stands. Lines and columns count from 1; line 0 is the file."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Check:
    """One named, scheduled probe of one target. Times are seconds.

    `written` are the probe's settings as the file holds them, variables filled in.
    """

    name: str
    probe: Probe = field(repr=False)  # text that was filled in may hold a secret
    interval: float = 30.0
    timeout: float = 10.0
    confirm: int = 1
    fail_after: int = 2
    recover_after: int = 2
    severity: Severity = Severity.P2
    objective: float = 0.99
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    runbook: str | None = None
    enabled: bool = True
    reference: bool = False
    flap_damping: bool = True
    position: Position | None = field(default=None, compare=False)
    written: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class Access(NamedTuple):
    """Who may read the page and the API, and who may have checks run there."""

    read: SecretStr | None = None
    admin: SecretStr | None = None
    anybody: bool = False


class Service(NamedTuple):
    """The daemon itself. Addresses are `host:port`; limits count runs at the same time."""

    name: str = "probed"
    environment: str | None = None
    location: str | None = None
    state_dir: Path | None = None
    listen: str = "127.0.0.1:9611"
    allowed_hosts: tuple[str, ...] = ()
    access: Access = Access()
    concurrency: int = 100
    concurrency_per_host: int = 10
    resolvers: tuple[str, ...] = ()
    watch: bool = False
    control: Path | None = None


class Otlp(NamedTuple):
    """Where OTLP goes. An endpoint is the base URL; the signal's path is added to it."""

    endpoint: str | None = None
    headers: Mapping[str, SecretStr] = MappingProxyType({})
    compression: str | None = None
    timeout: float | None = None
    ca: Path | None = None


class Spool(NamedTuple):
    """How much telemetry waits on disk for a collector: bytes by lane, and seconds for traces."""

    fail: int = 128 << 20
    ok: int = 64 << 20
    metrics: int = 32 << 20
    age: float = 86400.0


class Telemetry(NamedTuple):
    """What is exported and how often. `trace_ratio` is that of the healthy runs."""

    listen: str = "127.0.0.1:9610"
    metrics_interval: float | None = None
    trace_ratio: float | None = None
    phase_histogram: bool = False
    otlp: Otlp = Otlp()
    spool: Spool = Spool()


class Glob(NamedTuple):
    """A pattern of file names, such as `conf.d/*.yaml`, below a folder."""

    folder: Path
    pattern: str


class Origin(NamedTuple):
    """Where a value was written, in words; `mapping` where it is the part below that was."""

    where: str
    mapping: bool = False


class Config(NamedTuple):
    """One whole, valid configuration. `warnings` are for the person who wrote it.

    `path` is the main file; `files` are all that were read, those of secrets included, and `globs`
    what was looked for. `origins` has, where they were asked for, the places of values by the name
    of the check (empty: the other sections) and by path.
    """

    checks: tuple[Check, ...]
    redactor: Redactor
    service: Service = Service()
    telemetry: Telemetry = Telemetry()
    warnings: tuple[str, ...] = ()
    path: Path | None = None
    files: tuple[Path, ...] = ()
    globs: tuple[Glob, ...] = ()
    origins: Mapping[str, Mapping[str, Origin]] = MappingProxyType({})
