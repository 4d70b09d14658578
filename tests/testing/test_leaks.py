"""no_leaks finds leaked objects, and no closed ones."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import anyio.to_thread
import pytest

from probed.testing.leaks import LeakError, no_leaks
from probed.testing.servers import serve

pytestmark = pytest.mark.anyio


async def test_a_task_left_running_is_found() -> None:
    with pytest.raises(LeakError, match=r"task .*sleep"):
        async with no_leaks(patience=0.05):
            task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()


async def test_a_task_that_is_on_its_way_out_is_not_a_leak() -> None:
    async with no_leaks():
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()


async def test_a_socket_left_open_is_found_with_its_peer() -> None:
    async with serve("silent") as server:
        with pytest.raises(LeakError, match=f"socket .*{server.port}"):
            async with no_leaks(patience=0.05):
                sock = socket.create_connection((server.host, server.port))
        sock.close()


async def test_a_socket_is_found_though_its_number_was_in_use_before() -> None:
    """A descriptor is identified by its inode, not by its number."""
    before = socket.socket()
    number = before.fileno()
    opened: list[socket.socket] = []

    async def swap() -> None:
        async with no_leaks(patience=0.05):
            before.close()
            opened.append(socket.socket())

    with pytest.raises(LeakError, match=rf"socket {number} "):
        await swap()
    assert opened[0].fileno() == number
    opened[0].close()


async def test_a_pipe_left_open_is_found() -> None:
    with pytest.raises(LeakError, match=r"socket .*a pipe"):
        async with no_leaks(patience=0.05):
            ends = os.pipe()
    for end in ends:
        os.close(end)


async def test_a_thread_left_running_is_found() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    with pytest.raises(LeakError, match=r"thread .*forgotten"):
        async with no_leaks(patience=0.05):
            thread.start()
    stop.set()
    await anyio.to_thread.run_sync(thread.join)


async def test_threads_of_the_shared_pools_are_nobodys_leak() -> None:
    async with no_leaks(patience=0.05):
        await anyio.to_thread.run_sync(int)
        await asyncio.to_thread(int)
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_the_error_of_the_block_stands() -> None:
    async def fail() -> None:
        async with no_leaks():
            tasks.append(asyncio.create_task(asyncio.sleep(60)))
            raise KeyError

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(KeyError):
        await fail()
    tasks[0].cancel()
