"""`${NAME}` in text, filled in from the environment after the file was parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

FORMS = "write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $$ for a dollar sign"

_VARIABLE = r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:[-?])([^{}]*))?\}|\{)"


class InterpolationError(Exception):
    """A variable that cannot be filled in; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Filled(NamedTuple):
    """Text with its variables filled in, and their values by name."""

    text: str
    values: tuple[tuple[str, str], ...] = ()


def interpolate(text: str, environ: Mapping[str, str]) -> Filled:
    """Fill in the variables. Raises InterpolationError."""
    if "$" not in text:
        return Filled(text)
    values: list[tuple[str, str]] = []

    def fill(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        name, operator, word = match.groups()
        if name is None:
            raise InterpolationError("`${` does not begin a variable", FORMS)
        value = _value(name, operator, word, environ)
        values.append((name, value))
        return value

    return Filled(re.sub(_VARIABLE, fill, text), tuple(values))


def escape(text: str) -> str:
    """Text that `interpolate` gives back unchanged."""
    return text.replace("$", "$$") if "${" in text or "$$" in text else text


def _value(name: str, operator: str | None, word: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if operator is None:
        if value is None:
            raise InterpolationError(
                f"the environment variable {name} is not set",
                f"set it, or write ${{{name}:-default}}",
            )
        return value
    if value:
        return value
    if operator == ":-":
        return word
    raise InterpolationError(
        f"the environment variable {name} is not set" if value is None else f"{name} is empty",
        word or "set it",
    )
