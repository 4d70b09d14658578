"""File -> immutable `Config`, or a `ConfigError` that says all that is wrong, and where."""

from probed.config.loader import find_config, load, loads
from probed.config.model import Access, Check, Config, Otlp, Position, Service, Spool, Telemetry
from probed.config.problems import ConfigError, Problem
from probed.config.selection import Selection, SelectionError, select

__all__ = [
    "Access", "Check", "Config", "ConfigError", "Otlp", "Position", "Problem", "Selection", "SelectionError",
    "Service", "Spool", "Telemetry", "find_config", "load", "loads", "select",
]  # fmt: skip
