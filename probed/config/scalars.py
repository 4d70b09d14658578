"""The scalars of YAML 1.2's core schema: `no`, dates and `1:30` are text, `012` is twelve."""

from __future__ import annotations

import re

from probed.model import Scalar

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_BASES = {"0o": 8, "0x": 16}
_INT = r"[-+]?[0-9]{1,30}\Z"
_BASED = r"0o[0-7]{1,30}\Z|0x[0-9a-fA-F]{1,30}\Z"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z"
_SPECIAL = r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
_STARTS = frozenset("0123456789+-.~ntfNTF")


def resolve(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text[:1] not in _STARTS:
        return None if text == "" else text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if re.match(_INT, text):
        return int(text)
    if re.match(_BASED, text):
        return int(text[2:], _BASES[text[:2]])
    if re.match(_FLOAT, text):
        return float(text)
    if re.match(_SPECIAL, text):
        return float(text.replace(".", "", 1))
    return text
