"""Our mails in the mailbox, known by their token: found, and removed when old. No other is touched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import anyio

from probed import Run
from probes.email_roundtrip.canary import HEADER, sent_at, token_of
from probes.email_roundtrip.imap import Imap, Refused

EXAMINED = 50
"""Mails whose headers one run fetches."""
NEWEST = 10
"""Of those, how many it fetches at a time to find its own."""
RETENTION = timedelta(days=1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""In English, whatever the locale (RFC 3501, date-month)."""


class Folders:
    """The folders of a mailbox: the inbox, which must exist, and others that may.

    What SEARCH returns is a proposal. A mail counts, and is changed, only when its own header has
    our token, read after its folder was opened.
    """

    def __init__(self, run: Run, imap: Imap, inbox: str, others: Sequence[str]) -> None:
        self._run = run
        self._imap = imap
        self._inbox = inbox
        self._names = (inbox, *others)
        self._foreign: dict[tuple[str, int | None], int] = {}
        """The highest UID that is not ours, by folder and UIDVALIDITY."""
        self.removed = 0
        """Mails that were removed."""
        self._left = EXAMINED

    async def find(self, token: str, poll: float) -> tuple[str, int]:
        """Wait for the mail with the token. Return its folder, which is open then, and its UID.

        Raises Refused where the inbox cannot be searched.
        """
        criteria = f'HEADER {HEADER} "{token}"'.encode()
        while True:
            for name in self._names:
                if await self._open(name):
                    uid = await self._look(name, token, await self._imap.search(criteria))
                    if uid is not None:
                        return name, uid
            await anyio.sleep(poll)

    async def remove_old(self, family: str, *, only_these: bool) -> None:
        """Remove the mails of this check that are older than a day. Raises Refused."""
        oldest = datetime.fromtimestamp(self._run.clock.time(), UTC) - RETENTION
        month = _MONTHS[oldest.month - 1]
        criteria = f'HEADER {HEADER} "{family}" BEFORE {oldest:%d}-{month}-{oldest:%Y} UNDELETED'
        for name in self._names:
            if not self._left or not await self._open(name) or self._imap.validity is None:
                continue
            proposed = await self._imap.search(criteria.encode())
            headers = await self._headers(proposed[: self._left])
            ours = [uid for uid, header in headers.items() if self._is_ours(header, family)]
            ours = [uid for uid in ours if _is_older(headers[uid], oldest)]
            if ours:
                await self._imap.remove(ours, only_these=only_these)
                self.removed += len(ours)

    async def _open(self, name: str) -> bool:
        try:
            await self._imap.select(name)
        except Refused:
            if name == self._inbox:
                raise
            return False
        return True

    async def _look(self, name: str, token: str, proposed: list[int]) -> int | None:
        """Return the UID of the proposed mail with the token; None where none of them has it."""
        place = (name, self._imap.validity)
        floor = self._foreign.get(place, 0)
        number = min(NEWEST, self._left)
        chosen = [uid for uid in proposed if uid > floor][-number:] if number else []
        for uid, header in (await self._headers(chosen)).items():
            if self._is_ours(header, token):
                return uid
            self._foreign[place] = max(uid, self._foreign.get(place, 0))
        return None

    async def _headers(self, uids: Sequence[int]) -> dict[int, bytes]:
        self._left -= len(uids)
        return await self._imap.headers(uids, (HEADER, "Date")) if uids else {}

    def _is_ours(self, header: bytes, wanted: str) -> bool:
        """Whether its token is, or belongs to the family, that was searched for."""
        token = token_of(header)
        ours = token is not None and (token == wanted or token.startswith(f"{wanted}-"))
        if not ours:
            self._run.fact("probed.email_roundtrip.search_is_exact", False)
        return ours


def _is_older(header: bytes, oldest: datetime) -> bool:
    sent = sent_at(header)
    return sent is not None and sent < oldest.timestamp()
