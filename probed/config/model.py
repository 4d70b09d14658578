"""The immutable configuration that the rest of the daemon works from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from probed.config.section import Section, Sections, default_of
from probed.model import Severity

if TYPE_CHECKING:
    from pathlib import Path

    from probed.config.service import Service
    from probed.config.telemetry import Telemetry
    from probed.probe import Probe
    from probed.text.redact import Redactor

S = TypeVar("S", bound=Section)


class Position(NamedTuple):
    """A place in a file. Lines and columns count from 1; line 0 is the whole file."""

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
    shown: str = field(default="", compare=False, repr=False)

    @property
    def target(self) -> str:
        """The target as it is shown everywhere: `shown` where the probe's own words hold a secret."""
        return self.shown or self.probe.target

    def without(self, redactor: Redactor) -> Check:
        """Return the check with a target that holds none of the secrets."""
        target = self.probe.target
        cleaned = redactor.clean(target)
        return self if cleaned == target else replace(self, shown=cleaned)


class Glob(NamedTuple):
    """A pattern of file names, such as `conf.d/*.yaml`, below a folder."""

    folder: Path
    pattern: str


class Origin(NamedTuple):
    """The place of a value, in words. `mapping` is true where the value is a mapping."""

    where: str
    mapping: bool = False


class Config(NamedTuple):
    """One whole, valid configuration.

    `sections` are those that the file holds, and `known` those that it may hold. `warnings` are for
    the author of the file. `path` is the main file, `files` are all files that were read, those of
    secrets included, and `globs` the patterns of file names. `origins`, if requested, has the
    places of values by the name of the check (empty: the sections) and by path.
    """

    checks: tuple[Check, ...]
    redactor: Redactor
    sections: tuple[Section, ...] = ()
    known: Sections = Sections()
    warnings: tuple[str, ...] = ()
    path: Path | None = None
    files: tuple[Path, ...] = ()
    globs: tuple[Glob, ...] = ()
    origins: Mapping[str, Mapping[str, Origin]] = MappingProxyType({})

    def section(self, section: type[S]) -> S:
        """Return the section as the file holds it, or with its defaults."""
        for each in self.sections:
            if isinstance(each, section):
                return each
        return default_of(section)

    @property
    def service(self) -> Service:
        """The daemon itself."""
        from probed.config.service import Service  # noqa: PLC0415  # slow to make

        return self.section(Service)

    @property
    def telemetry(self) -> Telemetry:
        """Return the section `telemetry`: the exports, their targets and intervals."""
        from probed.config.telemetry import Telemetry  # noqa: PLC0415  # slow to make

        return self.section(Telemetry)

    def with_section(self, section: Section) -> Config:
        """Return the configuration with a section in place of the one of the same key."""
        others = (each for each in self.sections if each.key != section.key)
        return self._replace(sections=(*others, section))
