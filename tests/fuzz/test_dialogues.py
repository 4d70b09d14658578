"""What servers say in a dialogue: SMTP, IMAP, Redis, MongoDB. Each piece answers one request."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from typing import Any

import bson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import Network
from probed.probe import Probe
from probed.registry import Registry
from probed.testing import Authority, serve
from probed.testing.soundness import assert_sound
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio
FUZZ = settings.get_profile(os.environ.get("PROBED_FUZZ", "suite"))
TIMEOUT = 0.3
SECRET = "canary-fuzz-8d2k"
_REGISTRY = Registry()
KINDS = {kind: _REGISTRY.load(kind) for kind in ("smtp", "email_roundtrip", "email_queue", "mongo")}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def answers(greeting: bytes, replies: Sequence[bytes]) -> Any:
    """A server that says one thing after each thing that it hears, then closes."""

    async def talk(peer: Any) -> None:
        await peer.send(greeting)
        for reply in replies:
            if not await peer.receive():
                return
            await peer.send(reply)

    return talk


async def judged(kind: str, **written: Any) -> Result:
    """A run that ends in time, with a sound result that blames nothing of ours and shows no secret."""
    probe: Probe = KINDS[kind].model_validate(written)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    result = await execute(probe, timeout=TIMEOUT, network=Network(), redactor=Redactor([SECRET]))
    assert loop.time() - begun < TIMEOUT + 1.0
    assert_sound(probe, result)
    assert all(finding.reason != "internal.error" for finding in result.findings), result.findings
    assert SECRET not in repr(result)
    return result


AUTHORITY = Authority()
ISSUED = AUTHORITY.issue("127.0.0.1")
SMTP = [
    b"220 mail ESMTP\r\n", b"250 ok\r\n", b"250-mail\r\n250-SIZE 1\r\n250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2\r\n",
    b"250 AUTH\r\n", b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"334 \r\n", b"334 !!!\r\n", b"235 2.7.0 ok\r\n",
    b"354 go on\r\n", b"421 4.3.2 bye\r\n", b"450 4.2.1 later\r\n", b"535 5.7.8 no\r\n", b"550 no\r\n", b"221 bye\r\n",
    b"250-no end\r\n", b"999 x\r\n", b"250\r\n", b"25", b"\r\n", b"\xff\xfe\r\n", b"220-a\r\n421 b\r\n", b"* OK IMAP\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n", b"250 " + b"x" * 9000 + b"\r\n", b"535 " + SECRET.encode() + b"\r\n",
]  # fmt: skip
IMAP = [
    b"* OK ready\r\n", b"p1 OK done\r\n", b"p2 OK done\r\n", b"p3 OK done\r\n", b"p4 OK done\r\n", b"p1 NO no\r\n", b"p2 BAD no\r\n",
    b"+ \r\n", b"+ go on\r\np1 OK\r\n", b"* SEARCH 1 2 3\r\np3 OK\r\n", b"* SEARCH\r\np3 OK\r\n", b"* CAPABILITY IMAP4rev1 UIDPLUS\r\np2 OK\r\n",
    b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X-PROBED-TOKEN)] {5}\r\nhello)\r\np4 OK\r\n", b"* 1 FETCH (UID 1 BODY[] {99999999}\r\n",
    b"* 1 FETCH {5}\r\n{5}\r\n{5}\r\n", b"* BYE\r\n", b"* PREAUTH\r\n", b"{", b"\xff\r\n", b"* OK [UIDVALIDITY 5] x\r\np2 OK\r\n",
    b"p1 NO " + SECRET.encode() + b"\r\n",
]  # fmt: skip
RESP = [
    b"+OK\r\n", b"-ERR no\r\n", b"-NOAUTH\r\n", b"-WRONGPASS " + SECRET.encode() + b"\r\n", b":5\r\n", b":-1\r\n", b":x\r\n", b":" + b"9" * 400 + b"\r\n",
    b"$-1\r\n", b"$5\r\nhello\r\n", b"$5\r\nhel", b"$99999999999\r\n", b"*-1\r\n", b"*0\r\n", b"*2\r\n$1\r\na\r\n:1\r\n",
    b"*1\r\n" * 9, b"*1000\r\n" * 4, b"_\r\n", b"%1\r\n", b"HTTP/1.1 400\r\n", b"\r\n", b"*2\r\n*2\r\n$3\r\n1-0\r\n*0\r\n", b'$13\r\n{"at": 1e999}\r\n',
]  # fmt: skip


def pieces(known: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.one_of(st.sampled_from(known), st.binary(max_size=40)), max_size=9)


@settings(FUZZ)
@given(said=pieces(SMTP), mechanism=st.sampled_from(["plain", "login", "cram-md5", "xoauth2"]))
@example(
    said=[b"220 mail ESMTP\r\n", b"250 AUTH LOGIN\r\n", b"334 UGFzc3dvcmQ6\r\n"], mechanism="login"
)
async def test_smtp(
    tmp_path_factory: pytest.TempPathFactory, said: list[bytes], mechanism: str
) -> None:
    talk = answers(said[0] if said else b"", said[1:])

    async def over_tls(peer: Any) -> None:
        await peer.start_tls(ISSUED.context)
        await talk(peer)

    async with serve(over_tls) as server:
        await judged(
            "smtp", helo="probe.test",
            tls={"ca": str(AUTHORITY.pem_file(tmp_path_factory.getbasetemp()))},
            relays=[{"name": "one", "host": "127.0.0.1", "port": server.port, "tls": "implicit",
                     "auth": {"mechanism": mechanism, "username": "me", "secret": SECRET}}],
        )  # fmt: skip


@settings(FUZZ)
@given(said=pieces(IMAP), mechanism=st.sampled_from(["plain", "xoauth2"]))
async def test_imap(said: list[bytes], mechanism: str) -> None:
    async with serve(answers(said[0] if said else b"", said[1:])) as server:
        await judged(
            "email_roundtrip", helo="probe.test", rcpt="a@b.test",
            relay={"name": "one", "host": "127.0.0.1", "port": server.port, "tls": "none"},
            imap={"host": "127.0.0.1", "port": server.port, "tls": "none", "mechanism": mechanism,
                  "username": "me", "secret": SECRET},
            **{"from": "a@b.test"},
        )  # fmt: skip


@settings(FUZZ)
@given(said=pieces(RESP), kind=st.sampled_from(["list", "zset", "stream"]))
@example(said=[b"+OK\r\n", b":-1\r\n"], kind="list")
async def test_redis(said: list[bytes], kind: str) -> None:
    async with serve(answers(b"", said)) as server:
        await judged(
            "email_queue",
            redis={"address": f"127.0.0.1:{server.port}", "password": SECRET,
                   "keys": [{"key": "q", "type": kind} | ({"time": "at"} if kind == "list" else {})]},
        )  # fmt: skip


NAMES = st.sampled_from(
    ["ok", "ismaster", "maxWireVersion", "minWireVersion", "maxBsonObjectSize", "maxMessageSizeBytes", "setName",
     "cursor", "firstBatch", "id", "ns", "connections", "current", "available", "code", "errmsg", "codeName", "n", "localTime",
     "msg", "arbiterOnly", "secondary", "hosts", "me", "inprog", "members", "optimes", "was", "slowms"]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8),
        st.binary(max_size=8), st.datetimes(), st.just(SECRET),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=8)
GOOD = {"ok": 1.0, "ismaster": True, "maxWireVersion": 21, "minWireVersion": 0, "maxBsonObjectSize": 1 << 24,
        "maxMessageSizeBytes": 48_000_000}  # fmt: skip


def message(document: dict[str, Any], damage: list[tuple[int, int]], flags: int) -> bytes:
    """An OP_MSG reply of MongoDB, with some bytes of it changed."""
    body = struct.pack("<I", flags) + b"\0" + bson.encode(document)
    whole = bytearray(struct.pack("<iiii", 16 + len(body), 1, 1, 2013) + body)
    for at, value in damage:
        whole[at % len(whole)] = value
    return bytes(whole)


@settings(FUZZ)
@given(
    replies=st.lists(
        st.builds(
            message,
            st.builds(lambda given: GOOD | given, DOCUMENTS) | DOCUMENTS,
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
            st.sampled_from([0, 0, 0, 1, 2, 16]),
        ),
        max_size=6,
    )
)
async def test_mongodb(replies: list[bytes]) -> None:
    async with serve(answers(b"", replies)) as server:
        result = await judged(
            "mongo", host="127.0.0.1", port=server.port, databases=["shop"], username="me", password=SECRET
        )  # fmt: skip
    assert result.outcome is not Outcome.OK
