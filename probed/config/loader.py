"""Reads the file, and builds the whole configuration or says all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from probed.config.checks import read_checks
from probed.config.model import Config, Otlp, Position, Service, Telemetry
from probed.config.problems import ConfigError, Problem
from probed.config.settings import CommonSettings, ServiceSettings, Settings, TelemetrySettings
from probed.config.source import FILE, Node, Source, read_text
from probed.config.values import Values
from probed.redact import Redactor
from probed.registry import Registry

SECTIONS = ("service", "telemetry", "defaults", "checks")
PLACES = ("./probed.yaml", "/etc/probed/probed.yaml")
_CHECKS = "write `checks:` and below it a list of checks, each with `name` and `probe`"
_Section = TypeVar("_Section", bound=Settings)


def find_config(
    explicit: Path | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Path:
    """The file to load: the one named, $PROBED_CONFIG, ./probed.yaml, /etc/probed/probed.yaml."""
    if explicit is not None:
        return explicit
    named = (os.environ if environ is None else environ).get("PROBED_CONFIG")
    if named:
        return Path(named)
    here = (cwd or Path()) / PLACES[0]
    for path in (here, Path(PLACES[1])):
        if path.exists():
            return path
    raise ConfigError([
        Problem(
            Position(str(here), 0, 0), "", f"no such file, and no {PLACES[1]}",
            "name one by -c FILE or PROBED_CONFIG",
        )
    ])  # fmt: skip


def load(path: Path, registry: Registry, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a file. Raises ConfigError with all that is wrong."""
    return loads(
        read_text(path), registry, name=str(path), environ=environ, base=path.absolute().parent
    )


def loads(
    text: str,
    registry: Registry,
    *,
    name: str = "probed.yaml",
    environ: Mapping[str, str] | None = None,
    base: Path | None = None,
) -> Config:
    """The configuration of a text; relative paths in it count from `base`."""
    source = Source(text, name)
    values = Values(source, os.environ if environ is None else environ, base)
    config = None if not source.valid else _read(source, values, registry)
    if config is None or source.drafts:
        raise source.error(Redactor(values.secrets.known | values.hidden))
    return replace(
        config,
        redactor=Redactor(values.secrets.known),
        warnings=tuple(values.secrets.warnings),
    )


def _read(source: Source, values: Values, registry: Registry) -> Config | None:
    root = source.root
    if root is None or (root.value is None and root.plain):
        source.problem(FILE, "", "is empty", _CHECKS)
        return None
    if not isinstance(root.value, dict):
        source.problem(root.start, "", "must be a mapping", _CHECKS)
        return None
    _refuse_unknown(source, root, root.value)
    service = _section(values, root.value, "service", ServiceSettings)
    telemetry = _section(values, root.value, "telemetry", TelemetrySettings)
    defaults = _section(values, root.value, "defaults", CommonSettings)
    if "checks" not in root.value:
        source.problem(FILE, "checks", "is missing", _CHECKS)
        return None
    checks = read_checks(values, root.value["checks"], registry, defaults)
    return Config(
        checks=checks,
        redactor=Redactor(),
        service=Service(**service.written),
        telemetry=_telemetry(telemetry),
    )


def _section(values: Values, root: Mapping[str, Node], key: str, model: type[_Section]) -> _Section:
    node = root.get(key)
    if node is None or (node.value is None and node.plain):
        return model()
    return values.model(node, model, key) or model()


def _telemetry(settings: TelemetrySettings) -> Telemetry:
    return Telemetry(**{**settings.written, "otlp": Otlp(**settings.otlp.written)})


def _refuse_unknown(source: Source, root: Node, written: Mapping[str, Node]) -> None:
    for key, node in written.items():
        if key not in SECTIONS:
            close = get_close_matches(key, [name for name in SECTIONS if name not in written], 1)
            source.excerpts.hide(node.start, node.end)
            source.problem(
                root.keys[key], key, "unknown key",
                f"did you mean `{close[0]}`?" if close else f"known are {', '.join(SECTIONS)}",
            )  # fmt: skip
