"""The demo: all peers in one task group, their configuration and their breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
import yaml
from anyio.abc import TaskGroup

from probed.demo.peer import DemoPeer, Setting
from probed.demo.peers import PEERS

_HEAD = """\
# The peers of `probed demo`. They listen on loopback only, on free ports.
"""


class _Plain(yaml.SafeDumper):
    """Dumper that repeats a shared value instead of referring to the first one."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the signature is PyYAML's
        return True


class Demo:
    """All peers, running while the context is open. `slowness` is the delay of `slow` in seconds."""

    def __init__(self, peers: Sequence[type[DemoPeer]] = PEERS, *, slowness: float = 1.5) -> None:
        self._kinds = peers
        self._slowness = slowness
        self._peers: list[DemoPeer] = []
        self._lock = anyio.Lock()
        self._open = AsyncExitStack()
        self.urls: Mapping[str, str] = {}
        self.folder = Path()
        """The demo's own folder, while it runs."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            setting = Setting(await opened.enter_async_context(_folder()), self._slowness)
            tasks = await opened.enter_async_context(_task_group())
            for kind in self._kinds:
                peer = kind(setting)
                opened.push_async_callback(_shielded, peer.stop)
                await peer.start(tasks)
                self._peers.append(peer)
            self.urls = setting.urls
            self.folder = setting.directory
            self._open = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._peers.clear()
        return bool(await self._open.__aexit__(kind, error, trace))

    @property
    def breaks(self) -> dict[str, str]:
        """Breaks by name, with a sentence for each."""
        return {name: text for kind in self._kinds for name, text in kind.breaks.items()}

    @property
    def broken(self) -> frozenset[str]:
        """Names of the active breaks."""
        return frozenset(name for peer in self._peers for name in peer.broken)

    async def break_(self, name: str) -> None:
        """Activate a break. Raises ValueError if the name is unknown."""
        async with self._lock:
            await self._peer(name).break_(name)

    async def mend(self, name: str) -> None:
        """Undo a break. Raises ValueError if the name is unknown."""
        async with self._lock:
            await self._peer(name).mend(name)

    def status(self) -> list[str]:
        """Return the status lines of the peers."""
        return [line for peer in self._peers if (line := peer.status())]

    def config_text(self) -> str:
        """Return a configuration with the checks for these peers."""
        config: dict[str, Any] = {
            "service": {"environment": "demo"},
            "defaults": {
                "interval": "2s",
                "timeout": "2s",
                "fail_after": 1,
                "recover_after": 1,
            },
        }
        for peer in self._peers:
            config |= peer.config()
        config["checks"] = [check for peer in self._peers for check in peer.checks()]
        return _HEAD + yaml.dump(config, Dumper=_Plain, sort_keys=False)

    def _peer(self, name: str) -> DemoPeer:
        for peer in self._peers:
            if name in peer.breaks:
                return peer
        known = ", ".join(sorted(self.breaks))
        raise ValueError(f"unknown break {name!r}; known: {known}")


async def _shielded(close: Callable[[], Awaitable[object]]) -> None:
    """Close, even after a cancellation: closing never waits for a client of the peers."""
    with anyio.CancelScope(shield=True):
        await close()


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    folder = await anyio.to_thread.run_sync(partial(TemporaryDirectory, prefix="probed-demo-"))
    try:
        yield Path(folder.name)
    finally:
        await _shielded(partial(anyio.to_thread.run_sync, folder.cleanup))


@asynccontextmanager
async def _task_group() -> AsyncIterator[TaskGroup]:
    """A task group that raises an error of the body unwrapped, not in a group of one."""
    error: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            try:
                yield tasks
            except Exception as caught:
                error = caught
                raise
    except BaseExceptionGroup as group:
        if group.exceptions != (error,):
            raise
    if error is not None:
        raise error
