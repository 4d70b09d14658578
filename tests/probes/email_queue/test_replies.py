"""email_queue: replies of a Redis that is none, or that says what no count is."""

from __future__ import annotations

from typing import Any

import pytest

from probed import Outcome, ProbeError
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing import Peer, no_leaks, serve
from probed.testing.soundness import assert_sound
from probed.text.redact import Redactor
from probes.email_queue import EmailQueueProbe
from probes.email_queue.tally import Tally, class_of

pytestmark = pytest.mark.anyio
PASSWORD = "canary-redis-20f7"
GOOD = {
    b"AUTH": b"+OK\r\n", b"SELECT": b"+OK\r\n", b"LLEN": b":3\r\n", b"ZCARD": b":3\r\n",
    b"XLEN": b":3\r\n", b"LINDEX": b"$-1\r\n", b"ZRANGE": b"*2\r\n$1\r\na\r\n$3\r\n1e9\r\n",
    b"XRANGE": b"*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n",
}  # fmt: skip


async def ask(answers: dict[bytes, bytes], kind: str = "list", **more: Any) -> Result:
    async def talk(peer: Peer) -> None:
        while True:
            number = int((await peer.read_line())[1:])
            words = []
            for _ in range(number):
                await peer.read_line()
                words.append(await peer.read_line())
            await peer.send((GOOD | answers)[words[0]])

    redis = {"keys": [{"key": "a", "type": kind, "time": "t"}], **more}
    async with serve(talk) as server, no_leaks():
        probe = EmailQueueProbe(
            redis={"address": str(server.address), **redis}, age={"degraded": None, "failed": None}
        )
        result = await execute(
            probe, network=Network(), timeout=2.0, memory={}, redactor=Redactor([PASSWORD])
        )
    assert_sound(probe, result)
    return result


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


NO_COUNT = [
    b"$-1\r\n", b"*-1\r\n", b"+3\r\n", b"$1\r\n3\r\n", b":-1\r\n", b":-9223372036854775808\r\n",
    b":9223372036854775807\r\n", b"*1\r\n:3\r\n", b"*0\r\n", b":\r\n", b":1_0\r\n", b": 3\r\n",
    b":3.0\r\n", b":+3\r\n", b":nan\r\n", b":" + b"9" * 5000 + b"\r\n", b"#t\r\n", b",3.0\r\n", b"_\r\n",
]  # fmt: skip


@pytest.mark.parametrize("answer", NO_COUNT)
@pytest.mark.parametrize(
    ("kind", "command"), [("list", b"LLEN"), ("zset", b"ZCARD"), ("stream", b"XLEN")]
)
async def test_a_count_that_is_none(kind: str, command: bytes, answer: bytes) -> None:
    result = await ask({command: answer}, kind)
    assert found(result) == [("failed", "queue.not_understood")]
    assert not result.measures


@pytest.mark.parametrize("kind", ["list", "zset", "stream"])
async def test_a_count_that_is_one(kind: str) -> None:
    assert found(await ask({}, kind)) == []


@pytest.mark.parametrize(
    ("kind", "command", "answer"),
    [
        ("list", b"LINDEX", b":1\r\n"), ("list", b"LINDEX", b"*0\r\n"), ("zset", b"ZRANGE", b":1\r\n"),
        ("zset", b"ZRANGE", b"$-1\r\n"), ("zset", b"ZRANGE", b"+OK\r\n"), ("stream", b"XRANGE", b":1\r\n"),
        ("stream", b"XRANGE", b"$-1\r\n"), ("list", b"LINDEX", b"$3\r\nabcde"),
    ],
)  # fmt: skip
async def test_an_item_that_is_none(kind: str, command: bytes, answer: bytes) -> None:
    assert found(await ask({command: answer}, kind)) == [("failed", "queue.not_understood")]


@pytest.mark.parametrize(
    "answer", [b":1\r\n", b"$-1\r\n", b"+QUEUED\r\n", b"*0\r\n", b"$2\r\nno\r\n"]
)
@pytest.mark.parametrize("command", [b"AUTH", b"SELECT"])
async def test_a_login_that_is_not_answered_by_ok(command: bytes, answer: bytes) -> None:
    result = await ask({command: answer}, password=PASSWORD, database=3)
    assert found(result) == [("failed", "queue.not_understood")]
    assert PASSWORD not in repr(result)


@pytest.mark.parametrize("depth", [None, -1, True, 1.5, "3", 1 << 60])
def test_no_source_counts_what_is_no_count(depth: Any) -> None:
    tally = Tally(0.0, str)
    with pytest.raises(ProbeError) as caught:
        tally.lot("a", depth, None)
    assert (str(caught.value.reason), caught.value.level) == (
        "queue.not_understood",
        Outcome.FAILED,
    )
    assert tally.queues == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to <joe@example.com>: no", "to <<address>>: no"), ("joe@example.com", "<address>"),
        ("a@b@c d", "<address> d"), ("x" * 500 + "@example.com", "<address>"), ("@example.com", "<address>"),
        ("joe@ home", "joe@ home"), ("<a@b>,<c@d>", "<<address>>,<<address>>"),
    ],
)  # fmt: skip
def test_addresses_are_taken_out_of_reasons(text: str, shown: str) -> None:
    assert class_of(text) == shown
