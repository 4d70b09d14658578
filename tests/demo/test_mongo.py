"""The demo's database works, breaks, recovers, and leaves no process behind."""

from __future__ import annotations

import os
from typing import Any

import anyio
import pytest
import yaml

# Imported before any loop runs, as the daemon does: libraries read files while they are imported.
import probes.mongo.rounds  # noqa: F401
from probed.demo import Demo, DemoUnavailable
from probed.demo.mongo import Mongo
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probes.mongo import MongoProbe

pytestmark = pytest.mark.anyio


async def ask(demo: Demo, memory: dict[str, Any]) -> Result:
    (check,) = yaml.safe_load(demo.config_text())["checks"]
    settings = {key: value for key, value in check.items() if key not in {"name", "probe"}}
    return await execute(MongoProbe(**settings), network=Network(), timeout=2.0, memory=memory)


async def until(demo: Demo, memory: dict[str, Any], why: str) -> None:
    with anyio.fail_after(10):
        while True:
            found = (await ask(demo, memory)).why
            if found.startswith(why) and bool(found) == bool(why):
                return


async def test_each_break_shows_and_mends() -> None:
    memory: dict[str, Any] = {}
    async with Demo([Mongo]) as demo:
        process = demo._peers[0]._process  # type: ignore[attr-defined]
        await until(demo, memory, "")
        for name, why in (
            ("mongo", "connect.refused"),
            ("connections", "connect.closed: The server closed the connection before it answered"),
            ("slow-ops", "mongo.slow_ops: shop has had"),
        ):
            await demo.break_(name)
            await until(demo, memory, why)
            await demo.mend(name)
            if name != "slow-ops":  # they count for a minute
                await until(demo, memory, "")
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_without_it_there_is_no_such_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probed.demo.mongo.find_spec", lambda _: None)
    async with Demo([Mongo]) as demo:
        assert yaml.safe_load(demo.config_text())["checks"] == []
        with pytest.raises(DemoUnavailable, match=r"probed-daemon\[demo\]"):
            await demo.break_("mongo")
