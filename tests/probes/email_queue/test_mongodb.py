"""email_queue: a collection of a server that speaks MongoDB's protocol (SecantusDB, a process)."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from pymongo import AsyncMongoClient

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import no_leaks, serve
from probes.email_queue import EmailQueueProbe

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    process = await anyio.open_process(
        [sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(number),
         "--storage-path", str(tmp_path / "data"), "--cache-size", "64M"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with anyio.fail_after(30):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", number)).aclose()
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    break
        yield number
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()
            await process.aclose()


async def fill(port: int, documents: list[dict[str, Any]]) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        "127.0.0.1", port, directConnection=True, tz_aware=True
    )
    try:
        await client.shop.mails.insert_many(documents)
    finally:
        await client.close()


async def look(port: int, timeout: float = 10.0, age: Any = None, **source: Any) -> Result:
    given = {"address": f"127.0.0.1:{port}", "database": "shop", "collection": "mails"} | source
    settings = {} if age is None else {"age": age}
    probe = EmailQueueProbe(mongodb=given, **settings)
    async with no_leaks(patience=2.0):
        return await execute(probe, network=Network(), timeout=timeout)


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def values(result: Result) -> dict[str, float]:
    return {m.measure.name.rpartition(".")[2]: m.value for m in result.measures}


async def test_documents_that_wait_are_counted_and_the_oldest_is_found(port: int) -> None:
    now = datetime.now(UTC)
    await fill(
        port,
        [
            {"state": "waiting", "at": {"made": now - timedelta(seconds=age)}}
            for age in (30, 2000, 90)
        ]
        + [{"state": "sent", "at": {"made": now - timedelta(days=9)}}],
    )
    waits = {"filter": {"state": "waiting"}, "time": "at.made"}
    result = await look(port, **waits)
    assert found(result) == [("degraded", "queue.old")]
    assert values(result)["depth"] == 3
    assert values(result)["age"] == pytest.approx(2000, abs=10)
    assert [phase.name for phase in result.phases] == ["resolve", "connect", "hello", "query"]
    result = await look(port, filter={"state": "waiting"})
    assert (found(result), values(result)["depth"], "age" in values(result)) == ([], 3, False)


async def test_a_collection_that_is_not_there_is_an_empty_queue(port: int) -> None:
    result = await look(port, collection="none", time="at")
    assert (found(result), values(result)["depth"]) == ([], 0)


async def test_a_filter_that_the_server_does_not_understand(port: int) -> None:
    await fill(port, [{"a": 1}])
    result = await look(port, filter={"$nonsense": 1})
    assert found(result) == [("failed", "queue.unreadable")]


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        ("silent", "timeout.run"),
        ("garbage", "queue.not_understood"),
        ("half_close", "connect.closed"),
    ],
)
async def test_what_is_no_mongodb(peer: str, reason: str) -> None:
    async with serve(peer) as server:
        result = await look(server.port, timeout=1.0)
    assert found(result) == [("failed", reason)]
