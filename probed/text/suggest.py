"""What somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that is most like it; None where none is, by `difflib`'s measure of 0 to 1."""
    from difflib import get_close_matches  # noqa: PLC0415  # only what is wrong needs it

    return next(iter(get_close_matches(word, list(known), 1, cutoff)), None)
