"""email_queue: queues in a real Redis."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from probed import HostPort
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import no_leaks
from probed.text.redact import Redactor
from probes.email_queue import EmailQueueProbe
from probes.email_queue.resp import Resp, Value

pytestmark = [pytest.mark.anyio, pytest.mark.debian("redis-server")]
PASSWORD = "canary-redis-77aa"


@dataclass
class Server:
    address: HostPort

    async def do(self, *words: str, password: str = "") -> Value:
        async with self._conversation(password) as resp:
            return await resp.command(*words)

    @asynccontextmanager
    async def _conversation(self, password: str) -> AsyncIterator[Resp]:
        from probed.clock import SystemClock
        from probed.record import Recorder

        recorder = Recorder(SystemClock(), Redactor())
        stream = await Network().dial(recorder, self.address.host, self.address.port)
        try:
            resp = Resp(stream)
            if password:
                await resp.command("AUTH", password)
            yield resp
        finally:
            stream.close()


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1",
               "--save", "", "--dir", str(tmp_path)]  # fmt: skip
    server = Server(HostPort("127.0.0.1", port))
    process = await anyio.open_process(command, stdout=subprocess.DEVNULL)
    try:
        with anyio.fail_after(20):
            while True:
                try:
                    await server.do("PING")
                except OSError:
                    await anyio.sleep(0.02)
                else:
                    break
        yield server
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()
            await process.aclose()


async def look(server: Server, **settings: Any) -> Result:
    more = settings.pop("redis", {})
    keys = settings.pop("keys")
    probe = EmailQueueProbe(
        redis={"address": str(server.address), "keys": keys, **more}, **settings
    )
    async with no_leaks():
        return await execute(probe, network=Network(), timeout=5.0, redactor=Redactor([PASSWORD]))


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def values(result: Result) -> dict[str, float]:
    return {
        "/".join([m.measure.name.rpartition(".")[2], *(v for _, v in m.attributes)]): m.value
        for m in result.measures
    }  # fmt: skip


async def test_a_list_a_sorted_set_and_a_stream(redis: Server) -> None:
    now = time.time()
    for age in (50, 20, 10):
        await redis.do("LPUSH", "mails", json.dumps({"to": "x", "enqueued_at": now - age}))
    await redis.do("ZADD", "later", str(now - 300), "a", str(now - 100), "b")
    await redis.do("XADD", "events", f"{int((now - 200) * 1000)}-0", "k", "v")
    keys = [
        {"key": "mails", "time": "enqueued_at"},
        {"key": "later", "type": "zset"},
        {"key": "events", "type": "stream", "name": "outbox"},
    ]
    result = await look(redis, keys=keys)
    assert found(result) == []
    seen = values(result)
    assert {k: v for k, v in seen.items() if k.startswith("depth/")} == {
        "depth/mails": 3, "depth/later": 2, "depth/outbox": 1,
    }  # fmt: skip
    for name, age in (("mails", 50), ("later", 300), ("outbox", 200)):
        assert seen[f"age/{name}"] == pytest.approx(age, abs=3)
    assert [phase.name for phase in result.phases] == ["resolve", "connect", "query"]
    result = await look(redis, keys=keys, age={"degraded": "4m", "failed": None})
    assert found(result) == [("degraded", "queue.old")]


async def test_the_other_end_of_a_list_and_what_is_no_json(redis: Server) -> None:
    await redis.do("RPUSH", "mails", json.dumps({"at": time.time() - 90}), "not json")
    key = {"key": "mails", "time": "at"}
    seen = values(await look(redis, keys=[key | {"oldest": "first"}]))
    assert seen["age/mails"] == pytest.approx(90, abs=3)
    assert "age/mails" not in values(await look(redis, keys=[key]))
    assert "age/mails" not in values(await look(redis, keys=[key | {"time": "other"}]))


async def test_a_key_that_is_not_there_is_an_empty_queue(redis: Server) -> None:
    for kind in ("list", "zset", "stream"):
        result = await look(redis, keys=[{"key": "none", "type": kind}])
        assert (found(result), values(result)["depth/none"]) == ([], 0)


async def test_a_key_of_another_type(redis: Server) -> None:
    await redis.do("SET", "mails", "x")
    result = await look(redis, keys=[{"key": "mails"}])
    assert found(result) == [("failed", "queue.unreadable")]
    assert "WRONGTYPE" in str(result.findings[0].evidence["said"])


async def test_who_asks(redis: Server) -> None:
    await redis.do("SET", "x", "y")
    await redis.do("CONFIG", "SET", "requirepass", PASSWORD)
    keys = [{"key": "mails"}]
    for password, expected in (
        (None, [("failed", "queue.auth_rejected")]),
        ("wrong", [("failed", "queue.auth_rejected")]),
        (PASSWORD, []),
    ):
        result = await look(redis, keys=keys, redis={"password": password, "database": 3})
        assert found(result) == expected
        assert PASSWORD not in repr(result)
