"""mongo, email_queue and stripe: whatever a MongoDB server replies has a reason; it is never an error of
probed's own, and never takes longer than the run may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp, encode
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from probed import Probe
from probed.engine.runner import Runner
from probed.model import Result
from probed.net import Network
from probed.testing import CANARY
from probed.testing.soundness import assert_sound
from probes.email_queue import EmailQueueProbe
from probes.mongo import MongoProbe
from tests.mongod import HELLO, Reply, cursor, mongod, nested
from tests.probes.mongo.conftest import reply

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

VALUES: Mapping[str, Any] = {
    "NaN": float("nan"), "infinity": float("inf"), "minus infinity": float("-inf"), "negative": -5,
    "least": Int64(-(1 << 63)), "greatest": Int64((1 << 63) - 1), "1e308": 1e308, "-1e308": -1e308,
    "text": f"many {CANARY}", "empty text": "", "decimal NaN": Decimal128("NaN"),
    "decimal": Decimal128("1e6000"), "true": True, "null": None, "a document": {"a": {"$b": 1}},
    "an array": [1, [2, {"c": 3}]], "empty array": [], "year 99999": DatetimeMS(1 << 52),
    "before time": DatetimeMS(-(1 << 62)), "last date": DatetimeMS((1 << 63) - 1),
    "first date": DatetimeMS(-(1 << 63)), "bytes": b"\xff\xfe", "uuid": Binary(b"x" * 16, 4),
    "short uuid": Binary(b"x", 4), "vector": Binary(b"\x27", 9), "id": ObjectId(), "regex": Regex("(", "z"),
    "code": Code("x", {"y": 1}), "timestamp": Timestamp(4294967295, 4294967295), "key": MinKey(),
    "last key": MaxKey(), "long": "x" * 60_000,
}  # fmt: skip


def _invalid(text: bytes) -> bytes:
    """Return the document `{"ok": 1.0, "errmsg": text}` with bytes that are no UTF-8."""
    made = encode({"ok": 1.0, "errmsg": "@" * len(text), "setName": "@" * len(text)})
    return made.replace(b"@" * len(text), text)


BODIES: Mapping[str, Reply] = {
    "nothing": b"", "four bytes": b"\5\0\0\0", "no document": b"\xff" * 40, "empty": {},
    "a length too great": b"\xff\0\0\0\0", "a length too small": b"\1\0\0\0\0", "negative length": b"\xff" * 5,
    "an unknown type": b"\x0b\0\0\0\x42a\0\1\0", "no UTF-8": _invalid(b"\xff\xfe\xfd"),
    "no UTF-8 key": encode({"ok": 1.0, "@@": 1}).replace(b"@@", b"\xff\xfe"), "nested": nested(50),
    "deeply nested": nested(5000), "very deeply nested": nested(30_000), "nested arrays": nested(5000, 4),
    "not ok": {"ok": 0}, "not ok, no text": {"ok": 0, "code": 211}, "not ok, code of text": {"ok": 0, "code": "x"},
    "not ok, code NaN": {"ok": 0, "code": float("nan"), "errmsg": "x"},
    "not ok, great code": {"ok": 0, "code": Int64(1 << 62), "errmsg": "x"},
    "not ok, text of number": {"ok": 0, "code": 13, "errmsg": 5}, "not ok, text null": {"ok": 0, "errmsg": None},
    "not ok, text of arrays": {"ok": 0, "errmsg": [[]], "code": 10107},
    "not ok, labels": {"ok": 0, "code": 1, "errmsg": "x", "errorLabels": 7},
    "not ok, labels of null": {"ok": 0, "code": 1, "errmsg": "x", "errorLabels": [None, {}]},
    "not ok, name": {"ok": 0, "code": 1, "errmsg": "x", "codeName": ["a"]},
    "write errors": {"ok": 1, "writeErrors": "x"}, "write concern": {"ok": 1, "writeConcernError": [1]},
    "write concern of nothing": {"ok": 1, "writeConcernError": {}}, "raw": {"ok": 0, "raw": {"a": 1}},
    "raw of text": {"ok": 0, "raw": "x"}, "ok of text": {"ok": "1"}, "ok NaN": {"ok": float("nan")},
    "ok null": {"ok": None}, "ok array": {"ok": []}, "ok document": {"ok": {}},
    "cluster time": {"ok": 1, "$clusterTime": "x"}, "cluster time of number": {"ok": 1, "$clusterTime": {"clusterTime": 5}},
    "cluster time twice": {"ok": 1, "$clusterTime": {"clusterTime": {}}, "operationTime": "x"},
    "cursor": {"ok": 1, "cursor": "x"}, "cursor without": {"ok": 1, "cursor": {}},
    "cursor id": {"ok": 1, "cursor": {"id": "x", "ns": 5, "firstBatch": 7}},
    "cursor of numbers": {"ok": 1, "cursor": {"id": 9, "ns": "a", "firstBatch": [1, None, "x", [2]]}},
    "cursor that goes on": {"ok": 1, "cursor": {"id": Int64(7), "ns": "a.b", "firstBatch": []}},
    "token": {"ok": 1, "recoveryToken": 5, "topologyVersion": "x", "operationTime": 7},
}  # fmt: skip
"""Whole replies."""

_COUNTS = {"_id": "user", "n": 3, "long": 1, "max_s": 90, "waiting": 1}
_SLOW = {
    "_id": None,
    "docs": 9,
    "oldest": datetime(2026, 11, 23, tzinfo=UTC),
    "slow": 7,
    "max": 5000,
}
USED: Mapping[str, Mapping[str, Any]] = {
    "hello": HELLO,
    "serverStatus": {
        "ok": 1.0, "uptimeMillis": 5,
        "connections": {"current": 5, "available": 1, "active": 1, "rejected": 1, "queued": 1},
        "globalLock": {"currentQueue": {"total": 1}},
        "wiredTiger": {"concurrentTransactions": {"read": {"available": 0}, "write": {"available": 0}}},
        "queues": {"execution": {"read": {"available": 0, "normalPriority": {"queueLength": 1}}}},
    },
    "$currentOp": cursor(_COUNTS),
    "replSetGetStatus": reply("repl_set_status") | {"ok": 1.0},
    "profile": {"was": 1, "slowms": 100, "sampleRate": 1.0, "ok": 1.0},
    "system.profile": cursor(_SLOW),
    "mails": cursor({"n": 5}),
    "find": cursor({"at": 1000, "created": 1000}),
}  # fmt: skip
"""Replies with every field that probed reads."""


def changed(document: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield, with its path, the document with each of its parts in turn replaced by the value."""
    if isinstance(document, Mapping):
        for key, inner in document.items():
            yield key, {**document, key: value}
            for path, made in changed(inner, value):
                yield f"{key}.{path}", {**document, key: made}
    elif isinstance(document, list):
        for at, inner in enumerate(document[:2]):
            for path, made in changed(inner, value):
                yield f"{at}.{path}", [*document[:at], made, *document[at + 1 :]]


def probes(port: int) -> dict[str, Probe]:
    source = {
        "address": f"127.0.0.1:{port}",
        "database": "shop",
        "collection": "mails",
        "time": "at",
    }
    return {
        "mongo": MongoProbe(host="127.0.0.1", port=port, databases=["shop"]),
        "email_queue": EmailQueueProbe(mongodb=source),
    }


TIMEOUT = 0.5
REMEMBERED = {"slow": {"shop": {"lo": 1, "oldest": 5}}, "rejected": {"total": 0, "uptime": 1}}
"""What a run before has left, so that the run looks at all there is."""


async def judge(probe: Probe, name: str) -> Result:
    memory = {probe.target: dict(REMEMBERED)} if probe.kind == "mongo" else {}
    result = await Runner(Network()).run_attempt(probe, timeout=TIMEOUT, memory=memory)
    assert_sound(probe, result)
    assert "internal.error" not in {str(each.reason) for each in result.findings}, name
    assert CANARY not in repr(result), name
    assert result.duration_s < TIMEOUT + 0.3, name
    return result


def commands(kind: str) -> list[str]:
    return (
        ["hello", "mails"] if kind == "email_queue" else [name for name in USED if name != "mails"]
    )


@pytest.mark.parametrize("kind", ["mongo", "email_queue"])
@pytest.mark.parametrize("greeted", [False, True], ids=["greeting", "driver"])
async def test_no_reply_is_an_error_of_ours(kind: str, greeted: bool) -> None:
    """Each whole reply to each command: of `hello` to our own greeting, and then to the driver."""
    async with mongod(**USED) as server:
        probe = probes(server.port)[kind]
        for command in commands(kind):
            if greeted and command != "hello":
                continue
            server.greeting = HELLO if greeted else None
            for name, body in BODIES.items():
                server.replies = {**USED, command: body}
                await judge(probe, f"{command}: {name}")


@pytest.mark.parametrize("kind", ["mongo", "email_queue"])
async def test_no_value_is_an_error_of_ours(kind: str) -> None:
    """Each value in the place of each field that is read, one at a time."""
    values = list(VALUES.items())
    tried = 0
    async with mongod(**USED) as server:
        probe = probes(server.port)[kind]
        for command in commands(kind):
            paths = [path for path, _ in changed(USED[command], None)]
            for at, path in enumerate(paths):
                # Every path meets an eighth of the values: every value meets many paths.
                for name, value in values[at % 8 :: 8]:
                    made = dict(changed(USED[command], value))[path]
                    server.replies = {**USED, command: made}
                    await judge(probe, f"{command}.{path}: {name}")
                    tried += 1
    assert tried > 90
    assert (len(BODIES), len(VALUES)) == (44, 32), "docs/faults.md says so"
