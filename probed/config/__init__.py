"""Reading of the configuration: a file becomes an immutable `Config`, or a `ConfigError` with all problems."""

from probed.config.loader import find_config, load, loads
from probed.config.model import Check, Config, Position
from probed.config.problems import ConfigError, Problem
from probed.config.section import Section, Sections
from probed.config.selection import Selection, SelectionError, select

__all__ = [
    "Check", "Config", "ConfigError", "Position", "Problem", "Section", "Sections", "Selection",
    "SelectionError", "find_config", "load", "loads", "select",
]  # fmt: skip
