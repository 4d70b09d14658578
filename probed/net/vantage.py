"""A vantage point for DNS: name servers that see the same names, and their answers in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import anyio
import dns.name

from probed.net.answer import Answer, Said, Server, name_of, text_of
from probed.net.exchange import exchange

TRY = 2.0
TRIES = 2
OUTSTANDING = 8
"""Queries of one vantage point that are in flight at once."""
BUDGET = 400
"""Queries of one vantage point in a run, at most."""


class Vantage:
    """Name servers that see the same names, and their answers in this run.

    `servers` are queried in turn until one answers, at most `tries` times with `patience` seconds
    each. Servers of a zone are queried without recursion and must answer with authority. At most
    `budget` queries are sent; answers are cached for the run.
    """

    def __init__(
        self,
        name: str,
        servers: Sequence[Server],
        *,
        zone: bool = False,
        patience: float = TRY,
        tries: int = TRIES,
        budget: int = BUDGET,
    ) -> None:
        self.name = name
        self.servers = tuple(servers)
        self.zone = zone
        self.answers: list[Answer] = []
        self._patience = patience
        self._tries = tries
        self._budget = budget
        self._known: dict[tuple[dns.name.Name, str], Answer] = {}
        self._locks: dict[tuple[dns.name.Name, str], anyio.Lock] = {}
        self._turns = anyio.Semaphore(OUTSTANDING)

    async def query(self, name: str | dns.name.Name, kind: str) -> Answer:
        """Return the first server's answer, or else the last failure. Raises nothing but cancellation."""
        full = name_of(name) if isinstance(name, str) else name
        if full is None:
            return Answer(cast("str", name), kind, Said.NXDOMAIN)
        key = full, kind
        if key not in self._known:
            async with self._locks.setdefault(key, anyio.Lock()):
                if key not in self._known:
                    self._known[key] = await self._query(full, kind)
        return self._known[key]

    async def _query(self, name: dns.name.Name, kind: str) -> Answer:
        worst = Answer(text_of(name), kind, Said.UNREACHABLE)
        silent = list(self.servers)
        tries = 0
        for _ in range(self._tries):
            servers, silent = silent, []
            for server in servers:
                if self._budget <= 0:
                    return worst if tries else replace(worst, said=Said.BUDGET)
                self._budget -= 1
                tries += 1
                async with self._turns:
                    answer = await exchange(
                        name, kind, server, recurse=not self.zone, patience=self._patience
                    )
                answer = replace(self._of_zone(answer), tries=tries)
                self.answers.append(answer)
                if not answer.temporary or answer.said is Said.TOO_LARGE:
                    return answer
                if answer.said is Said.TIMEOUT:
                    silent.append(server)
                if answer.said is not Said.TIMEOUT or worst.said is Said.UNREACHABLE:
                    worst = answer
        return replace(worst, tries=tries)

    def _of_zone(self, answer: Answer) -> Answer:
        if not self.zone or answer.temporary:
            return answer
        if not answer.authoritative:
            return replace(answer, said=Said.SERVER_FAILURE, data=(), rcode="no authority")
        if answer.aliases and answer.said in {Said.NODATA, Said.NXDOMAIN}:
            return replace(answer, said=Said.CNAME_ONLY)
        return answer
