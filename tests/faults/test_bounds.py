"""A peer that sends a gigabyte, or what expands to one, costs neither memory nor time."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio.to_thread
import pytest

from probed.testing import serve

pytestmark = pytest.mark.anyio

FLOODS = (
    "huge_body", "gzip_bomb", "double_gzip_bomb", "deflate_bomb", "endless_headers",
    "endless_header_line", "informational_flood",
)  # fmt: skip
ROOM = 48 << 20
"""Bytes that seven answers may take, each of 1 MiB on the wire and 1 MiB decoded at most."""


def spent(probed: str, config: Path) -> tuple[int, float]:
    """Bytes of memory, at the most, and seconds that a run of all checks takes."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [probed, "check", "--all", "-o", "json", "-c", str(config)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in {1, 2}
    return usage.ru_maxrss * 1024, time.monotonic() - begun


async def test_floods_and_bombs(probed: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        configs = []
        for name, behaviours in (("quiet", ("close_early",) * len(FLOODS)), ("floods", FLOODS)):
            servers = [await stack.enter_async_context(serve(b)) for b in behaviours]
            checks = "".join(
                f"  - {{name: c{n}, probe: gateway, url: 'http://{server.address}/'}}\n"
                for n, server in enumerate(servers)
            )
            path = tmp_path / f"{name}.yaml"
            path.write_text(f"defaults: {{timeout: 5s, confirm: 0}}\nchecks:\n{checks}")
            configs.append(path)
        quiet, _ = await anyio.to_thread.run_sync(spent, probed, configs[0])
        flooded, took = await anyio.to_thread.run_sync(spent, probed, configs[1])
    assert flooded - quiet < ROOM
    assert took < 5.0
