"""One way to run a check: the daemon, `probed check`, and whoever asks the daemon for a run use it.

It waits for a free place, runs on a copy of the check's memory, and judges the result by the reference
checks. Who records the result commits the memory with it; a run that is cancelled leaves nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import anyio

from probed.engine.references import References
from probed.engine.runner import Runner
from probed.model import Result

if TYPE_CHECKING:
    from probed.clock import Clock
    from probed.config import Check, Config
    from probed.net import Network

NO_MEMORY: Mapping[str, Any] = MappingProxyType({})


class Execution(NamedTuple):
    """A result, and what the check remembers after it."""

    result: Result
    memory: Mapping[str, Any]


@dataclass(slots=True)
class Limits:
    """How many runs may go on at the same time: in all, and of one host."""

    total: int = 100
    per_host: int = 10

    @classmethod
    def of(cls, config: Config) -> Self:
        return cls(config.service.concurrency, config.service.concurrency_per_host)


def _unobserved(running: int, waiting: int) -> None:
    """Nobody looks at the load."""


@dataclass(slots=True)
class Places:
    """The places that runs take, within the limits. Who comes first has the first free place of its host.

    `observe` is told how many runs go on, and how many wait, whenever that changes.
    """

    limits: Limits = field(default_factory=Limits)
    observe: Callable[[int, int], None] = _unobserved
    running: int = 0
    waiting: int = 0
    _by_host: Counter[str] = field(default_factory=Counter)
    _queues: dict[str, deque[anyio.Event]] = field(default_factory=dict)

    async def acquire(self, host: str) -> None:
        """Return when a place is ours. Does not wait where one is free."""
        if host not in self._queues and self._is_free(host):
            self._occupy(host)
            self.observe(self.running, self.waiting)
            return
        turn = anyio.Event()
        self._queues.setdefault(host, deque()).append(turn)
        self.waiting += 1
        self.observe(self.running, self.waiting)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.release(host)
            else:
                self._leave(host, turn)
            raise

    def release(self, host: str) -> None:
        """Give the place back, to whoever waits for one."""
        self.running -= 1
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]
        self._admit()
        self.observe(self.running, self.waiting)

    def change(self, limits: Limits) -> None:
        """Have other limits from now on; runs that go on keep their places."""
        self.limits = limits
        self._admit()
        self.observe(self.running, self.waiting)

    def _is_free(self, host: str) -> bool:
        limits = self.limits
        return self.running < limits.total and self._by_host[host] < limits.per_host

    def _occupy(self, host: str) -> None:
        self.running += 1
        self._by_host[host] += 1

    def _leave(self, host: str, turn: anyio.Event) -> None:
        queue = self._queues[host]
        queue.remove(turn)
        if not queue:
            del self._queues[host]
        self.waiting -= 1
        self.observe(self.running, self.waiting)

    def _admit(self) -> None:
        for host in list(self._queues):
            queue = self._queues[host]
            while queue and self._is_free(host):
                self._occupy(host)
                self.waiting -= 1
                queue.popleft().set()
            if not queue:
                del self._queues[host]
            if self.running >= self.limits.total:
                return


def _unheard() -> None:
    """Nobody wants to know when a run begins."""


def _always(trace_id: str) -> bool:  # noqa: ARG001
    return True


class Executor:
    """Runs checks within limits, on copies of their memory, and judges by the references."""

    def __init__(
        self, runner: Runner, references: References, limits: Limits | None = None
    ) -> None:
        self.runner = runner
        self.references = references
        self.places = Places(limits or Limits())

    @classmethod
    def of(
        cls, config: Config, *, clock: Clock | None = None, network: Network | None = None
    ) -> Executor:
        """Return the executor of a configuration, as the daemon and one-shot checks use it."""
        runner = Runner.of(config, clock=clock, network=network)
        return cls(runner, References(runner, config.checks), Limits.of(config))

    def change(self, config: Config) -> None:
        """Work from another configuration from now on; runs that go on end as they began."""
        self.runner.follow(config)
        self.references.replace(config.checks)
        self.places.change(Limits.of(config))

    async def run(
        self,
        check: Check,
        memory: Mapping[str, Any] = NO_MEMORY,
        *,
        sampled: Callable[[str], bool] = _always,
        begun: Callable[[], None] = _unheard,
    ) -> Execution:
        """Run the check as soon as a place is free. `begun` is called when it is; `sampled` decides
        from the trace id whether the trace of a first attempt is exported in any case.
        """
        host = check.probe.host
        await self.places.acquire(host)
        try:
            begun()
            draft = copy_memory(memory)
            started = self.runner.clock.monotonic()
            result = await self.runner.run(check, memory=draft, sampled=sampled)
            return Execution(await self.references.judge(check, result, started), draft)
        finally:
            self.places.release(host)


def copy_memory(memory: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that shares no mapping and no list with the original."""
    return {name: _copy(value) for name, value in memory.items()} if memory else {}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value
