"""A server with MongoDB's protocol, and an application that uses it.

The server is SecantusDB, run as a separate program (it is GPL: nothing here imports it). If it is not
installed, the demo has no such peer. Its clients go through a relay, which can be broken.
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
from anyio.abc import Process, SocketStream, TaskGroup

from probed.demo.peer import HOST, Check, DemoUnavailable, Setting, TcpPeer
from probed.testing.peer import Gone, Peer

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient

STARTING = 20.0
"""Seconds within which the server must listen."""
PACE = 0.25
"""Seconds between two operations of the application."""
SLOW = 4
"""Slow operations that each of them records during `slow-ops`."""


class Mongo(TcpPeer):
    """The server, the relay in front of it, and the application."""

    breaks: ClassVar[Mapping[str, str]] = {
        "mongo": "the database refuses connections",
        "connections": "the database has no connections left and closes new ones",
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
        await self.serve(self.server)
        self.setting.urls["mongo"] = f"mongodb://{self.server.address}"

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
            "SecantusDB does not start. Uninstall it to run the demo without MongoDB"
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
                process.kill()  # terminating takes 2 s; its files are removed with the folder
            await process.wait()
            await process.aclose()

    async def handle(self, peer: Peer) -> None:
        if "connections" in self.broken:
            return
        async with (
            await anyio.connect_tcp(HOST, self._backend) as backend,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_upload, peer, backend, tasks.cancel_scope)
            tasks.start_soon(_download, peer, backend, tasks.cancel_scope)

    async def _work(self) -> None:
        while self._client is not None:
            try:
                await self._database.orders.find_one({"n": 7})
                if "slow-ops" in self.broken:
                    await self._record()
            except Exception:  # noqa: BLE001, S110  # the server may be gone on purpose
                pass
            await anyio.sleep(PACE)

    async def _record(self) -> None:
        """Record slow operations as a profiler would: real ones would block this small server."""
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
            await self.server.refuse()  # also resets existing connections
        self._resume()

    async def mend(self, name: str) -> None:
        await super().mend(name)
        if self._process is not None:
            self._resume()

    def _resume(self) -> None:
        if "mongo" not in self.broken:
            self.server.resume()

    def checks(self) -> list[Check]:
        if self._process is None:
            return []
        return [
            {
                "name": "mongo-primary",
                "probe": "mongo",
                "host": HOST,
                "port": self.server.port,
                "databases": ["shop"],
            }
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError, Gone)


async def _upload(peer: Peer, backend: SocketStream, scope: anyio.CancelScope) -> None:
    """Copy what a client sends to the server, until one of them closes."""
    try:
        while data := await peer.receive():
            await backend.send(data)
    except _GONE:
        pass
    scope.cancel()


async def _download(peer: Peer, backend: SocketStream, scope: anyio.CancelScope) -> None:
    """Copy what the server sends to a client, until one of them closes."""
    try:
        while True:
            await peer.send(await backend.receive())
    except _GONE:
        pass
    scope.cancel()
