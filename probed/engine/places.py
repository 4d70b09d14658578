"""The places that runs take: how many go on at the same time, in all and of one host.

Runs that hang cannot take all of them. A check whose last run took most of its timeout is `slow`; some
places are kept for those that answer, so that an outage of many delays nobody else.
"""

from __future__ import annotations

import resource
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING, Self

import anyio

if TYPE_CHECKING:
    from probed.config import Check, Config

LEAST = 100
LEAST_PER_HOST = 10
"""Places where the configuration names no number, at least."""
MOST = 2000
FILES = 4
"""Open files that one run may need."""
RESERVE = 4
"""One place in so many is kept for checks that answer."""


def demand(checks: Iterable[Check]) -> tuple[int, Counter[str]]:
    """Return how many runs go on at the same time where all peers hang, in all and by host."""
    shares: dict[str, float] = {}
    for check in checks:
        if check.enabled:
            host = check.probe.host
            shares[host] = shares.get(host, 0.0) + check.timeout / check.interval
    return _up(sum(shares.values())), Counter({host: _up(each) for host, each in shares.items()})


def _up(number: float) -> int:
    return ceil(number - 1e-9)  # thirds do not add up exactly


def _roomy(need: int) -> int:
    """Return the places of which the runs that are needed leave the reserve free."""
    return need + need // RESERVE + 1


def most() -> int:
    """Return the greatest number of runs that the open files of this process allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(LEAST, min(MOST, soft // FILES))


@dataclass(slots=True)
class Limits:
    """How many runs may go on at the same time: in all, and of one host; `by_host` has hosts for which
    more may.
    """

    total: int = LEAST
    per_host: int = LEAST_PER_HOST
    by_host: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the limits of a configuration: where it gives none, as many as its checks can need."""
        service = config.service
        wanted, hosts = demand(config.checks)
        total = service.concurrency or max(LEAST, min(_roomy(wanted), most()))
        if service.concurrency_per_host is not None:
            return cls(total, service.concurrency_per_host)
        more = {
            host: min(total, room)
            for host, need in hosts.items()
            if (room := _roomy(need)) > LEAST_PER_HOST
        }
        return cls(total, LEAST_PER_HOST, more)

    def of_host(self, host: str) -> int:
        """Return how many runs of this host may go on."""
        return self.by_host.get(host, self.per_host)


def remarks(config: Config) -> Iterator[str]:
    """Yield a remark on each limit that makes checks run late while peers hang, with what to write."""
    limits, (wanted, hosts) = Limits.of(config), demand(config.checks)
    if wanted > limits.total:
        remedy = (
            f"raise the limit of open files (LimitNOFILE=, `ulimit -n`) to {wanted * FILES}, or shard"
            if config.service.concurrency is None
            else f"write {_roomy(wanted)}, or nothing"
        )
        yield (
            f"service.concurrency: while all peers hang, {wanted} runs go on at a time, and "
            f"{limits.total} may: checks run late then; {remedy}"
        )
    late = {host: need for host, need in hosts.items() if need > limits.of_host(host)}
    if late and config.service.concurrency_per_host is not None:
        host, need = max(late.items(), key=lambda each: each[1])
        yield (
            f"service.concurrency_per_host: while {host} hangs, {need} runs of it go on at a time, and "
            f"{limits.of_host(host)} may: its checks run late then; write {_roomy(need)}, "
            "or nothing"
        )


def _unobserved(running: int, waiting: int) -> None:
    """Nobody looks at the load."""


@dataclass(slots=True)
class Places:
    """The places that runs take, within the limits. Who comes first has the first free place of its host;
    those that answer come before those that are slow, which never have all.

    `observe` is told how many runs go on, and how many wait, whenever that changes.
    """

    limits: Limits = field(default_factory=Limits)
    observe: Callable[[int, int], None] = _unobserved
    running: int = 0
    waiting: int = 0
    _slow: int = 0
    _by_host: Counter[str] = field(default_factory=Counter)
    _slow_by_host: Counter[str] = field(default_factory=Counter)
    _queues: dict[tuple[bool, str], deque[anyio.Event]] = field(default_factory=dict)

    async def acquire(self, host: str, *, slow: bool = False) -> None:
        """Return when a place is ours. Does not wait where one is free."""
        key = slow, host
        if key not in self._queues and self._is_free(host, slow=slow):
            self._count(host, 1, slow=slow)
            self.observe(self.running, self.waiting)
            return
        turn = anyio.Event()
        self._queues.setdefault(key, deque()).append(turn)
        self.waiting += 1
        self.observe(self.running, self.waiting)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.release(host, slow=slow)
            else:
                self._leave(key, turn)
            raise

    def release(self, host: str, *, slow: bool = False) -> None:
        """Give the place back, to whoever waits for one."""
        self._count(host, -1, slow=slow)
        self._admit()
        self.observe(self.running, self.waiting)

    def change(self, limits: Limits) -> None:
        """Have other limits from now on; runs that go on keep their places."""
        self.limits = limits
        self._admit()
        self.observe(self.running, self.waiting)

    def _is_free(self, host: str, *, slow: bool) -> bool:
        total, of_host = self.limits.total, self.limits.of_host(host)
        if self.running >= total or self._by_host[host] >= of_host:
            return False
        return not slow or (
            self._slow < _share(total) and self._slow_by_host[host] < _share(of_host)
        )

    def _count(self, host: str, change: int, *, slow: bool) -> None:
        self.running += change
        counters = [self._by_host]
        if slow:
            self._slow += change
            counters.append(self._slow_by_host)
        for counter in counters:
            counter[host] += change
            if not counter[host]:
                del counter[host]

    def _leave(self, key: tuple[bool, str], turn: anyio.Event) -> None:
        queue = self._queues[key]
        queue.remove(turn)
        if not queue:
            del self._queues[key]
        self.waiting -= 1
        self.observe(self.running, self.waiting)

    def _admit(self) -> None:
        if not self._queues:
            return
        for key in sorted(self._queues, key=itemgetter(0)):
            slow, host = key
            queue = self._queues[key]
            while queue and self._is_free(host, slow=slow):
                self._count(host, 1, slow=slow)
                self.waiting -= 1
                queue.popleft().set()
            if not queue:
                del self._queues[key]
            if self.running >= self.limits.total:
                return


def _share(places: int) -> int:
    """Return how many of the places slow runs may take."""
    return places - places // RESERVE if places >= RESERVE else max(1, places - 1)
