"""A server that speaks MongoDB's protocol, with an application at work on it.

It is SecantusDB, run as a program of its own (it is GPL: nothing here imports it); without it the demo
has no such peer. Between it and its clients stands a relay, which can be broken.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, Process, TaskGroup

from probed.demo.peer import Check, DemoUnavailable, Setting, TcpPeer
from probed.demo.wire import HOST

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient

STARTING = 20.0
"""Seconds that it may take to listen."""
PACE = 0.25
"""Seconds between two pieces of the application's work."""
SLOW = 4
"""Slow operations that each of them records while `slow-ops` is broken."""


class Mongo(TcpPeer):
    """The server, the relay before it, and the application."""

    breaks: ClassVar[Mapping[str, str]] = {
        "mongo": "the database refuses connections",
        "connections": "the database has no connections left: it closes whoever comes",
        "slow-ops": "the database's profile fills with operations of 2 seconds",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._process: Process | None = None
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._backend = 0

    async def start(self, tasks: TaskGroup) -> None:
        if await anyio.to_thread.run_sync(find_spec, "secantus") is None:
            return
        self._tasks = tasks
        self._backend = _free_port()
        self._process = await anyio.open_process(
            [sys.executable, "-m", "secantus", "--host", HOST, "--port", str(self._backend),
             "--storage-path", str(self.setting.directory / "mongo"), "--cache-size", "64M"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        pymongo = await anyio.to_thread.run_sync(import_module, "pymongo")
        await self._listening()
        self._client = pymongo.AsyncMongoClient(
            HOST, self._backend, directConnection=True, appName="shop", timeoutMS=2000
        )
        await self._database.command({"profile": 1, "slowms": 1000})
        await self._database.orders.insert_many([{"n": n} for n in range(100)])
        tasks.start_soon(self._work)
        await self.port.listen(tasks, self.handle)
        self.setting.urls["mongo"] = f"mongodb://{self.port}"

    @property
    def _database(self) -> Any:
        assert self._client is not None
        return self._client.shop

    async def _listening(self) -> None:
        with anyio.move_on_after(STARTING):
            while self._process is not None and self._process.returncode is None:
                try:
                    await (await anyio.connect_tcp(HOST, self._backend)).aclose()
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    return
        raise DemoUnavailable(
            "SecantusDB does not start: the demo runs without it if it is removed"
        )

    async def stop(self) -> None:
        await super().stop()
        client, self._client = self._client, None
        process, self._process = self._process, None
        if client is not None:
            with anyio.move_on_after(1):
                await client.close()
        if process is not None:
            if process.returncode is None:
                process.kill()  # asked to end, it takes 2 s; its files go with the folder
            await process.wait()
            await process.aclose()

    async def handle(self, stream: ByteStream) -> None:
        if "connections" in self.broken:
            return
        async with (
            await anyio.connect_tcp(HOST, self._backend) as backend,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_pipe, stream, backend, tasks.cancel_scope)
            tasks.start_soon(_pipe, backend, stream, tasks.cancel_scope)

    async def _work(self) -> None:
        while self._client is not None:
            try:
                await self._database.orders.find_one({"n": 7})
                if "slow-ops" in self.broken:
                    await self._record()
            except Exception:  # noqa: BLE001, S110  # the server may be gone: that is the demo
                pass
            await anyio.sleep(PACE)

    async def _record(self) -> None:
        """As a profiler would: a slow operation itself would keep this small server from others."""
        entry = {"op": "query", "ns": "shop.orders", "millis": 2000, "planSummary": "COLLSCAN"}
        staged = await self._database.staged.insert_many(
            [entry | {"ts": datetime.now(UTC)} for _ in range(SLOW)]
        )
        await self._database.command({
            "aggregate": "staged",
            "pipeline": [{"$match": {"_id": {"$in": staged.inserted_ids}}}, {"$merge": "system.profile"}],
            "cursor": {},
        })  # fmt: skip
        await self._database.staged.delete_many({})

    async def break_(self, name: str) -> None:
        if self._process is None:
            raise DemoUnavailable(
                "this needs SecantusDB: install probed-daemon with its extra, probed-daemon[demo]"
            )
        await super().break_(name)
        if name != "slow-ops":
            await self.port.refuse()  # also those who were here before
        await self._open()

    async def mend(self, name: str) -> None:
        await super().mend(name)
        if self._process is not None:
            await self._open()

    async def _open(self) -> None:
        if "mongo" not in self.broken:
            await self.port.listen(self._tasks, self.handle)

    def checks(self) -> list[Check]:
        if self._process is None:
            return []
        return [
            {
                "name": "mongo-primary",
                "probe": "mongo",
                "host": HOST,
                "port": self.port.number,
                "databases": ["shop"],
            }
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def _pipe(source: ByteStream, sink: ByteStream, scope: anyio.CancelScope) -> None:
    try:
        async for data in source:
            await sink.send(data)
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    finally:
        scope.cancel()
