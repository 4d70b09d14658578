"""File -> immutable `Config`, or a `ConfigError` that says all that is wrong, and where."""

from probed.config.loader import find_config, load, loads
from probed.config.model import Check, Config, Otlp, Position, Service, Telemetry
from probed.config.problems import ConfigError, Problem
from probed.config.schema import schema
from probed.config.show import show

__all__ = [
    "Check", "Config", "ConfigError", "Otlp", "Position", "Problem", "Service", "Telemetry",
    "find_config", "load", "loads", "schema", "show",
]  # fmt: skip
