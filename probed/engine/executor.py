"""One way to run a check: the daemon, `probed check`, and whoever asks the daemon for a run use it.

It waits for a free place, runs on a copy of the check's memory, and judges the result by the reference
checks. Who records the result commits the memory with it; a run that is cancelled leaves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from probed.engine.places import Limits, Places
from probed.engine.references import References
from probed.engine.runner import Runner
from probed.judgement import is_doubted
from probed.model import Result

if TYPE_CHECKING:
    from probed.clock import Clock
    from probed.config import Check, Config
    from probed.net import Network

SETTLING = 16
"""Doubted results that are settled by another run at the same time."""
NO_MEMORY: Mapping[str, Any] = MappingProxyType({})


class Execution(NamedTuple):
    """A result, and what the check remembers after it."""

    result: Result
    memory: Mapping[str, Any]


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
        self._settling = anyio.Semaphore(SETTLING)

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
        last: Result | None = None,
        sampled: Callable[[str], bool] = _always,
        begun: Callable[[], None] = _unheard,
    ) -> Execution:
        """Run the check as soon as a place is free. `begun` is called when it is; `sampled` decides
        from the trace id whether the trace of a first attempt is exported in any case. Where the `last`
        result was doubted, this one is not: a second doubt would hide what the peer does.
        """
        host, slow = check.probe.host, _is_slow(check, last)
        doubting = last is None or not is_doubted(last)
        await self.places.acquire(host, slow=slow)
        try:
            begun()
            draft = copy_memory(memory)
            started = self.runner.clock.monotonic()
            result = await self.runner.run(check, memory=draft, sampled=sampled, doubting=doubting)
            return Execution(await self.references.judge(check, result, started), draft)
        finally:
            self.places.release(host, slow=slow)

    @asynccontextmanager
    async def settling(self) -> AsyncIterator[None]:
        """Have a turn to settle a doubted result: the loop is on time again, and few others do so."""
        async with self._settling:
            await self.runner.lag.on_time()
            yield


def _is_slow(check: Check, last: Result | None) -> bool:
    """Whether the last run took so much of its time that the next one may hang, too."""
    return last is not None and last.duration_s >= check.timeout / 2


def copy_memory(memory: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that shares no mapping and no list with the original."""
    return {name: _copy(value) for name, value in memory.items()} if memory else {}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value
