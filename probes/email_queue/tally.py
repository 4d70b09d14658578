"""The tally of a queue, bounded however long the queue is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

from probed import Outcome, ProbeError
from probes.email_queue.reasons import QueueReason

QUEUES = 20
"""Queues that are told apart; what is in others counts as `other`."""
REASONS = 20
"""Classes of reasons for a delay that are told."""
_CLASSES = 1000
_TEXT = 120
OTHER = "other"

BOUNDS = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""Minutes of age up to which a message counts as of a bucket (those of postfix's qshape)."""
BUCKETS = (*(f"{bound}m" for bound in BOUNDS), "older")

_ADDRESS = re.compile(r"(?<![^\s<>\"(),:;\[\]@])[^\s<>\"(),:;\[\]@]*+@[^\s<>\"(),:;\[\]]{1,256}")
"""A mail address, tried at the beginning of a word only: the time is linear."""
_NUMBER = re.compile(r"(?<![\w.])[0-9A-Fa-f](?:[0-9A-Fa-f:.]*[0-9A-Fa-f])?(?!\w)|\d+")
"""An address of a host, a version, a hexadecimal number; or digits inside of a word."""
_SPACE = re.compile(r"\s+")


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def count_of(value: object) -> int:
    """Return what a source gives as a count. Raises ProbeError `queue.not_understood`."""
    if isinstance(value, int) and is_count(value):
        return value
    message = "The source of the queue did not return a count of messages."
    raise ProbeError(QueueReason.NOT_UNDERSTOOD, message, level=Outcome.FAILED)


def class_of(reason: str) -> str:
    """A reason without what differs from message to message: addresses and numbers."""
    text = _SPACE.sub(" ", reason[:512]).strip()
    return _NUMBER.sub(_numberless, _ADDRESS.sub("<address>", text))[:_TEXT]


def _numberless(match: re.Match[str]) -> str:
    return "N" if any(sign.isdigit() for sign in match[0]) else match[0]


@dataclass(slots=True)
class Waiting:
    """The messages in one queue. `oldest` is an age in seconds; None if it is not known."""

    depth: int = 0
    oldest: float | None = None
    buckets: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """Counts messages. `now` is seconds since the epoch; `over` counts those that are older than
    each of its ages; `clean` makes names that are not ours safe.
    """

    now: float
    clean: Callable[[str], str]
    ignored: frozenset[str] = frozenset()
    over: dict[float, int] = field(default_factory=dict)
    queues: dict[str, Waiting] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    truncated: str | None = None
    """Why not all was seen."""

    def queue(self, name: str) -> Waiting | None:
        """Return the messages in the queue; None if it is not to be examined."""
        if name in self.ignored:
            return None
        found = self.queues.get(name)
        if found is None:
            name = self.clean(name) or OTHER
            if name not in self.queues and len(self.queues) >= QUEUES - 1:
                name = OTHER
            found = self.queues.setdefault(name, Waiting())
        return found

    def message(self, queue: str, arrived: float | None) -> bool:
        """Count one message; whether it is looked at."""
        waiting = self.queue(queue)
        if waiting is None:
            return False
        waiting.depth += 1
        if arrived is not None:
            age = max(0.0, self.now - arrived)
            minutes = age / 60
            bound = next(
                (b for b, most in zip(BUCKETS, BOUNDS, strict=False) if minutes < most), "older"
            )
            waiting.buckets[bound] += 1
            self._aged(waiting, age)
        return True

    def lot(self, queue: str, depth: int, oldest: float | None) -> None:
        """Count a queue of which the depth and the oldest message's age are known, no more.

        Raises ProbeError `queue.not_understood` where the depth is no count.
        """
        depth = count_of(depth)
        waiting = self.queue(queue)
        if waiting is not None:
            waiting.depth += depth
            if oldest is not None and isfinite(oldest) and depth:
                self._aged(waiting, max(0.0, oldest))

    def _aged(self, waiting: Waiting, age: float) -> None:
        waiting.oldest = age if waiting.oldest is None else max(waiting.oldest, age)
        for bound in self.over:
            self.over[bound] += age > bound

    def reason(self, text: str, count: int = 1) -> None:
        found = class_of(text)
        if found and (found in self.reasons or len(self.reasons) < _CLASSES):
            self.reasons[found] += count
        elif found:
            self.reasons[OTHER] += count

    @property
    def depth(self) -> int:
        return sum(waiting.depth for waiting in self.queues.values())

    @property
    def oldest(self) -> float | None:
        return max((w.oldest for w in self.queues.values() if w.oldest is not None), default=None)

    def top(self) -> list[tuple[str, int]]:
        """The most frequent reasons, the rest together."""
        first = self.reasons.most_common(REASONS)
        rest = sum(self.reasons.values()) - sum(count for _, count in first)
        if rest:
            dropped = first.pop()
            first.append((OTHER, rest + dropped[1]))
        return first
