"""mongo: the driver connects only to sockets of this process, and what a server replies is bounded."""

from __future__ import annotations

import resource
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from bson import encode

from probed.engine.runner import Runner
from probed.model import Result
from probed.net import DenyList, Network
from probed.net.pool import ConnectionPool
from probed.testing import FakeClock, Peer, no_leaks
from probed.testing.soundness import assert_sound
from probed.testing.watchdog import Watchdog
from probes.mongo import MongoProbe
from probes.mongo.wire import REPLY_LIMIT
from tests.dials import DIALER, dials
from tests.mongod import HELLO, message, mongod

pytestmark = pytest.mark.anyio
BIG = 100_000_000


async def ask(
    port: int, timeout: float = 3.0, network: Network | None = None, **settings: Any
) -> Result:
    probe = MongoProbe(host="127.0.0.1", port=port, **settings)
    async with no_leaks():
        result = await Runner(network or Network()).run_attempt(probe, timeout=timeout)
    assert_sound(probe, result)
    return result


def found(result: Result) -> tuple[str, str]:
    assert result.worst is not None, result
    return result.outcome.value, str(result.worst.reason)


# --- who dials ---------------------------------------------------------------------------------------


@pytest.fixture
def dialed() -> Iterator[list[tuple[Any, str]]]:
    """Every address that a socket of this process was connected to, and the module that did it."""
    with dials() as found:
        yield found


async def test_only_the_dialer_connects_to_an_address(dialed: list[tuple[Any, str]]) -> None:
    async with mongod() as server:
        await ask(server.port, databases=["shop"])
        assert "serverStatus" in server.asked
    inside = [address for address, _ in dialed if not isinstance(address, tuple)]
    assert {module for address, module in dialed if isinstance(address, tuple)} == {DIALER}
    assert len(inside) == 2, "the pool and the monitor"
    assert all(str(name).startswith("\0probed-") for name in inside)


async def test_no_connection_passes_the_deny_list(dialed: list[tuple[Any, str]]) -> None:
    async with mongod() as server:
        result = await ask(server.port, network=Network(deny=DenyList(["127.0.0.0/8"])))
    assert found(result) == ("unknown", "connect.denied")
    assert dialed == []


STRANGER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as stranger:
    stranger.settimeout(5)
    stranger.connect(bytes.fromhex(sys.argv[1]).decode())
    print(stranger.recv(1))
"""


async def test_another_process_is_refused_by_the_relay() -> None:
    from probed.net.relay import Relay
    from probes.mongo.wire import MongoFraming

    async def dial() -> Any:
        raise AssertionError

    relay = Relay(dial, MongoFraming())
    try:
        command = [sys.executable, "-c", STRANGER, relay.address.encode().hex()]
        assert (await anyio.run_process(command)).stdout == b"b''\n"
        assert relay.fault is None
    finally:
        await relay.aclose()


# --- what passes ---------------------------------------------------------------------------------------


def _claims(length: int) -> Any:
    async def reply(peer: Peer, number: int) -> None:
        await peer.send(message(b"", number, length=length))
        for _ in range(64):
            await peer.send(b"\0" * (1 << 20))

    return reply


async def _half(peer: Peer, number: int) -> None:
    await peer.send(message(encode({"ok": 1, "text": "x" * 100_000}), number)[:70_000])
    await peer.until_gone()


async def _compressed(peer: Peer, number: int) -> None:
    await peer.send(message(b"\0" * 40, number, kind=2012))


async def _more_to_come(peer: Peer, number: int) -> None:
    whole = message(encode({"ok": 1.0}), number, flags=2)
    for _ in range(1000):
        await peer.send(whole)


async def _twice(peer: Peer, number: int) -> None:
    await peer.send(2 * message(encode({"ok": 1.0}), number))


async def _dripping(peer: Peer, number: int) -> None:
    whole = message(encode({"ok": 1, "text": "x" * 100_000}), number)
    for at in range(len(whole)):
        await peer.send(whole[at : at + 1])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (_claims(2_000_000_000), ("failed", "mongo.protocol")),
        (_claims(40_000_000), ("failed", "mongo.protocol")),
        (_claims(-1), ("failed", "mongo.protocol")),
        (_claims(16), ("failed", "mongo.protocol")),
        (_half, ("failed", "mongo.timeout")),
        (_compressed, ("failed", "mongo.protocol")),
        (_more_to_come, ("failed", "mongo.protocol")),
        (_dripping, ("failed", "mongo.timeout")),
    ],
    ids=["2 GB", "40 MB", "negative", "no document", "half", "compressed", "endless", "dripping"],
)
async def test_a_reply_is_bounded_whatever_hello_says(
    reply: Any, expected: tuple[str, str]
) -> None:
    hello = {**HELLO, "maxMessageSizeBytes": 2_147_483_647, "maxBsonObjectSize": 2_147_483_647}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    async with mongod(hello=hello, serverStatus=reply) as server, Watchdog() as watchdog:
        result = await ask(server.port)
    assert watchdog.longest < 0.1
    assert found(result) == expected
    assert time.monotonic() - began < 3.3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


async def test_the_dearest_reply_that_passes_does_not_block_the_loop() -> None:
    """A regular expression takes the decoder longest for its bytes."""
    elements = b"".join(b"\x0b%d\0a\0i\0" % number for number in range(12_200))
    whole = b"\x01ok\0" + struct.pack("<d", 1.0) + elements
    document = struct.pack("<i", len(whole) + 5) + whole + b"\0"
    assert 120_000 < len(document) < REPLY_LIMIT - 100
    async with mongod(serverStatus=document) as server, Watchdog() as watchdog:
        result = await ask(server.port)
    assert "mongo.connections_unknown" in {str(each.reason) for each in result.findings}
    assert watchdog.longest < 0.1


async def test_the_deadline_of_the_run_works_in_the_middle_of_a_reply() -> None:
    async with mongod(serverStatus=_half) as server:
        result = await ask(server.port, timeout=0.4)
    assert found(result) == ("failed", "timeout.run")
    assert result.duration_s < 0.7


async def test_a_second_reply_to_one_request_is_not_that_to_the_next() -> None:
    async with mongod(serverStatus=_twice) as server:
        result = await ask(server.port)
    reasons = {str(each.reason) for each in result.findings}
    assert "mongo.connections_unknown" in reasons  # the reply was read
    assert reasons.isdisjoint({"mongo.protocol", "mongo.timeout", "internal.error"})
    assert "replSetGetStatus" in server.asked


@pytest.mark.timing
@pytest.mark.parametrize(
    "count", [b"1000000000", b"1_000_000_000", b"+999999999", b" 99999999", b"x"]
)
async def test_a_login_does_not_block_the_loop_by_its_iterations(count: bytes) -> None:
    payload = b"r=%sabc,s=QSXCR+Q6sek8bf92,i=" + count
    login = {"conversationId": 1, "done": False, "payload": payload, "ok": 1.0}
    began = time.process_time()
    async with mongod(saslStart=login) as server:
        user = {"username": "probed", "password": "correct horse"}
        async with Watchdog() as watchdog:
            result = await ask(server.port, **user)
    assert watchdog.longest < 0.1
    assert found(result) == ("failed", "mongo.protocol")
    assert "iterations" in result.why
    assert time.process_time() - began < 0.5


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    made = ConnectionPool(FakeClock())
    yield made
    await made.close()


async def test_a_server_that_hangs_up_between_runs_is_asked_on_a_new_connection(
    pool: ConnectionPool,
) -> None:
    runner = Runner(Network())
    runner.pool = pool
    async with mongod() as server:
        probe = MongoProbe(host="127.0.0.1", port=server.port)
        first = await runner.run_attempt(probe, timeout=3.0)
        assert "connect" in [phase.name for phase in first.phases]
    result = await runner.run_attempt(probe, timeout=3.0)
    assert found(result) == ("failed", "connect.refused")
