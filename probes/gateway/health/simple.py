"""A status that says something, or nothing but a word: other text and other JSON are no health."""

from __future__ import annotations

from typing import Any

from probes.gateway.health.loading import Parts, status_of, word_of
from probes.gateway.health.model import WORDS, HealthDocument


def looks(value: Any) -> bool:
    if isinstance(value, dict):
        return word_of(value.get("status")) in WORDS
    return isinstance(value, bool) or (
        isinstance(value, str) and value.isalpha() and value.lower() in WORDS
    )


def read(value: Any) -> HealthDocument | None:
    if isinstance(value, dict) and isinstance(value.get("status"), str | bool):
        return Parts().document("simple", value)
    if isinstance(value, dict) or not looks(value):
        return None
    return HealthDocument("simple", status_of(value)[0])
