"""A secret that was refused is not tried again and again: that locks accounts."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, MutableMapping
from typing import Any

import anyio

FIRST, LAST = 15 * 60.0, 6 * 3600.0
"""Seconds until a refused secret is tried again: at first, and at most."""
_RECORD_LIMIT = 4
"""Secrets of one host that are remembered."""


class Holds:
    """Logins that are paused, by host. Stored in the check's memory, so they survive a restart.

    Of user name and secret, one salted byte is stored: enough to notice a change, which ends the
    pause, and useless for guessing them.
    """

    def __init__(self, memory: MutableMapping[str, Any], now: Callable[[], float]) -> None:
        self._memory = memory
        self._now = now
        self._turns: dict[str, anyio.Lock] = {}

    def turn(self, host: str) -> anyio.Lock:
        """Logins at one host take turns, so that each sees what became of the one before."""
        return self._turns.setdefault(host, anyio.Lock())

    def until(self, host: str, login: str) -> float | None:
        """When the login may be tried again, seconds since the epoch; None: now."""
        record = self._find(host, login)
        if record is None:
            return None
        now = self._now()
        # A clock that was set back must not hold for longer than was meant.
        until = float(record["until"])
        return until if now < until <= now + float(record["wait"]) else None

    def refused(self, host: str, login: str) -> float:
        """Hold it off, twice as long as the last time; until when."""
        record = self._find(host, login)
        wait = FIRST if record is None else min(2 * float(record["wait"]), LAST)
        salt = secrets.token_hex(8)
        made = {"salt": salt, "mark": _mark(salt, login), "wait": wait, "until": self._now() + wait}
        self._save(host, login, made)
        return self._now() + wait

    def accepted(self, host: str, login: str) -> None:
        self._save(host, login, None)

    def _save(self, host: str, login: str, record: dict[str, Any] | None) -> None:
        old = self._find(host, login)
        records = [other for other in self._records(host) if other is not old]
        records += [record] if record is not None else []
        held = self._held()
        held.pop(host, None)
        if records:
            held[host] = records[-_RECORD_LIMIT:]
        if held:
            self._memory["auth"] = held
        else:
            self._memory.pop("auth", None)

    def _records(self, host: str) -> list[dict[str, Any]]:
        return list(self._held().get(host, ()))

    def _held(self) -> dict[str, Any]:
        held = self._memory.get("auth")
        return dict(held) if isinstance(held, dict) else {}

    def _find(self, host: str, login: str) -> dict[str, Any] | None:
        found = (r for r in self._records(host) if r["mark"] == _mark(r["salt"], login))
        return next(found, None)


def _mark(salt: str, login: str) -> str:
    return hmac.new(salt.encode(), login.encode(), hashlib.sha256).hexdigest()[:2]
