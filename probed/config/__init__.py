"""File -> immutable `Config`, or a `ConfigError` that says all that is wrong, and where."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from probed.config.loader import find_config, load, loads
from probed.config.model import Check, Config, Otlp, Position, Service, Spool, Telemetry
from probed.config.problems import ConfigError, Problem
from probed.config.schema import schema
from probed.config.selection import Selection, SelectionError, select
from probed.config.show import show

if TYPE_CHECKING:
    from probed.config.diff import Changes, compare
    from probed.config.watching import fingerprint

__all__ = [
    "Changes", "Check", "Config", "ConfigError", "Otlp", "Position", "Problem", "Selection",
    "SelectionError", "Service", "Spool", "Telemetry", "compare", "find_config", "fingerprint", "load",
    "loads", "schema", "select", "show",
]  # fmt: skip

_LATER = {
    "Changes": "probed.config.diff",
    "compare": "probed.config.diff",
    "fingerprint": "probed.config.watching",
}
"""What a check from the command line does not need."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
