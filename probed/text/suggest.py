"""Suggestions for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the most similar known word; None below the `cutoff` (0 to 1, as `difflib` measures)."""
    from difflib import get_close_matches  # noqa: PLC0415  # only mistakes need it

    return next(iter(get_close_matches(word, list(known), 1, cutoff)), None)
