"""Text of peers: the worst search that a pattern can cost, and masking secrets in a text never seen before."""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.figures import Figure
from probed.text.patterns import TEXT_LIMIT, Pattern
from probed.text.redact import Redactor

SECRETS = 100
_WORST = (
    *(f"[01]*1[01]{{{count}}}x" for count in (20, 50, 100, 200, 400)),
    *(f"[ab]*b[ab]{{{count}}}c" for count in (10, 20, 40)),
    "(?s)a.{20}b.{20}c", "(?s)[ab].{0,30}[bc].{0,30}q", "[a-e ]*a[a-e ]{60}z", r"(?:\S+\s+){1,20}Q",
    r"(?:\w+\W+){1,20}zz", "(.*)(.*)(.*)(.*)z", "(a+)+$", "(?i)(?:abc|abd|acd){1,30}e", r"\w{1,50}\d",
)  # fmt: skip
"""Patterns whose search takes longest for their size, found by trying."""


def patterns(folder: Path, *, quick: bool) -> list[Figure]:  # noqa: ARG001  # all have the same shape
    """Measure in one process, without network."""
    worst, by, refused = 0.0, "", 0
    for text in _WORST:
        try:
            pattern = Pattern(text)
        except ValueError:
            refused += 1
            continue
        for peer in _texts():
            pattern.search(peer[:64])
            took = min(_took(pattern, peer) for _ in range(1 if quick else 3))
            if took > worst:
                worst, by = took, text
    return [
        Figure("the worst search of a pattern that is accepted, CPU", worst * 1000, "ms", 20, 15, 5,
               detail=f"{by}; {refused} refused"),
        Figure(f"masking {SECRETS} secrets in 512 characters, CPU", _masking() * 1e6, "us", 1000, 500, 100),
    ]  # fmt: skip


def _texts() -> list[bytes]:
    chance = random.Random(1)
    signs = (b"01", b"ab", b"abcde ", bytes(range(256)), b"a", "aéж你".encode())
    return [bytes(chance.choices(some, k=TEXT_LIMIT)) for some in signs]


def _took(pattern: Pattern, text: bytes) -> float:
    begun = time.thread_time()
    pattern.search(text)
    return time.thread_time() - begun


def _masking() -> float:
    redactor = Redactor(f"secret-{number}/+&'{'x' * 20}" for number in range(SECRETS))
    texts = [f"{number} " + "nothing of interest " * 25 for number in range(200)]
    begun = time.thread_time()
    for text in texts:
        redactor.clean(text)
    return (time.thread_time() - begun) / len(texts)
