"""mongo: each way in which a server can fail has its reason, also on connections that are kept."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from bson import encode

from probed import Outcome, Probe
from probed.engine.runner import Runner
from probed.model import Result
from probed.net import Network
from probed.net.pool import ConnectionPool
from probed.probe import CERTIFICATE_NOT_AFTER
from probed.testing import CANARY, Authority, FakeClock, Peer, no_leaks, serve
from probed.testing.soundness import assert_sound
from probes.mongo import MongoProbe

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
USER = {"username": "probed", "password": "correct horse"}


class Daemon:
    """Runs probes as the daemon does, with connections that are kept; the clock is ours."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.runner = Runner(Network(), clock=self.clock)
        self.runner.pool = self.pool = ConnectionPool(self.clock)

    async def ask(self, probe: Probe, timeout: float = 5.0) -> Result:
        result = await self.runner.run_attempt(probe, timeout=timeout)
        assert_sound(probe, result)
        return result


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    made = Daemon()
    yield made
    await made.pool.close()


def probe_of(server: Any, **settings: Any) -> MongoProbe:
    return MongoProbe(host="127.0.0.1", port=server.port, **settings)


def found(result: Result) -> tuple[Outcome, str]:
    assert result.worst is not None, result
    return result.outcome, result.worst.reason


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (11, Outcome.UNKNOWN, "auth.rejected"),
        (13, Outcome.UNKNOWN, "auth.permission"),
        (18, Outcome.UNKNOWN, "auth.rejected"),
        (334, Outcome.UNKNOWN, "auth.rejected"),
        (50, Outcome.FAILED, "mongo.timeout"),
        (59, Outcome.UNKNOWN, "mongo.unsupported"),
        (91, Outcome.FAILED, "mongo.shutting_down"),
        (115, Outcome.UNKNOWN, "mongo.unsupported"),
        (189, Outcome.FAILED, "mongo.not_primary"),
        (211, Outcome.FAILED, "mongo.command"),
        (303, Outcome.UNKNOWN, "mongo.unsupported"),
        (462, Outcome.FAILED, "mongo.overloaded"),
        (8000, Outcome.UNKNOWN, "mongo.unsupported"),
        (10107, Outcome.FAILED, "mongo.not_primary"),
        (11600, Outcome.FAILED, "mongo.shutting_down"),
        (11602, Outcome.FAILED, "mongo.not_primary"),
        (13435, Outcome.FAILED, "mongo.not_primary"),
        (13436, Outcome.FAILED, "mongo.not_primary"),
        (40324, Outcome.UNKNOWN, "mongo.unsupported"),
    ],
)
async def test_each_code_has_its_reason_and_its_text_is_not_kept(
    code: int, outcome: Outcome, reason: str, serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    error = [code, "Named", f"it echoes {CANARY}"]
    server = serve_mongo(**persona("primary"), errors={"serverStatus": error})
    result = await daemon.ask(probe_of(server))
    assert found(result) == (outcome, reason)
    assert CANARY not in repr(result)
    asked = [phase for phase in result.phases if phase.name == "serverStatus"]
    assert asked[0].call["db.response.status_code"] == str(code)
    assert asked[0].error == reason


async def test_not_being_in_a_replica_set_is_no_fault(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    for code in (76, 94):
        server = serve_mongo(**persona("primary"), errors={"replSetGetStatus": [code, "X", "x"]})
        assert (await daemon.ask(probe_of(server))).outcome is Outcome.OK


async def test_bad_auth_of_atlas_is_known_by_its_text(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    error = {"saslStart": [8000, "AtlasError", "bad auth : authentication failed"]}
    server = serve_mongo(**persona("primary"), errors=error)
    assert found(await daemon.ask(probe_of(server, **USER))) == (Outcome.UNKNOWN, "auth.rejected")


async def test_a_wrong_password_is_told_every_time_and_tried_once_a_minute(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"), user=["probed", "correct horse"])
    probe = probe_of(server, username="probed", password=f"wrong {CANARY}")
    for seconds in (0, 1, 30, 28):
        await daemon.clock.advance(seconds)
        result = await daemon.ask(probe)
        assert found(result) == (Outcome.UNKNOWN, "auth.rejected")
        assert CANARY not in repr(result)
    assert server.counts()["login"] == 1
    await daemon.clock.advance(2)
    assert found(await daemon.ask(probe)) == (Outcome.UNKNOWN, "auth.rejected")
    assert server.counts()["login"] == 2
    # Who is told another password does not wait.
    assert (await daemon.ask(probe_of(server, **USER))).outcome is Outcome.OK


async def test_a_server_that_is_gone_is_told_though_the_password_was_wrong(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"), user=["probed", "correct horse"])
    probe = probe_of(server, username="probed", password="wrong")
    await daemon.ask(probe)
    server.stop()
    assert found(await daemon.ask(probe)) == (Outcome.FAILED, "connect.refused")


async def test_no_credentials_where_some_are_needed(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    made = {key: value for key, value in persona("primary").items() if key == "hello"}
    server = serve_mongo(**made, user=["probed", "correct horse"])
    assert found(await daemon.ask(probe_of(server))) == (Outcome.UNKNOWN, "auth.permission")


async def test_a_connection_is_kept_and_logs_in_once(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"), user=["probed", "correct horse"])
    for _ in range(3):
        result = await daemon.ask(probe_of(server, **USER))
        assert result.outcome is Outcome.OK
    assert "connect" not in [phase.name for phase in result.phases]
    assert result.facts["network.peer.address"] == "127.0.0.1"
    assert server.counts()["login"] == 1


async def test_nothing_is_left_behind_of_what_was_kept(serve_mongo: Make, persona: Make) -> None:
    server = serve_mongo(**persona("primary"))
    async with no_leaks():
        daemon = Daemon()
        await daemon.ask(probe_of(server))
        await daemon.pool.close()


async def test_a_kept_connection_that_is_no_good_is_not_held_against_the_server(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"))
    probe = probe_of(server)
    await daemon.ask(probe)
    server.fail_command("hello", closeConnection=True)
    result = await daemon.ask(probe)
    assert result.outcome is Outcome.OK
    assert [phase.error for phase in result.phases if phase.name == "hello"] == [
        "connect.closed",
        None,
    ]


async def test_a_server_that_goes_away_between_runs(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"))
    probe = probe_of(server)
    assert (await daemon.ask(probe)).outcome is Outcome.OK
    server.stop()
    for _ in range(2):
        assert found(await daemon.ask(probe)) == (Outcome.FAILED, "connect.refused")


async def test_a_connection_that_breaks_within_a_run(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"))
    server.fail_command("serverStatus", closeConnection=True)
    result = await daemon.ask(probe_of(server))
    assert found(result) == (Outcome.FAILED, "connect.closed")
    assert result.findings[0].evidence["phase"] == "serverStatus"
    assert (await daemon.ask(probe_of(server))).outcome is Outcome.OK


async def test_a_command_that_is_not_answered_in_time(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"))
    server.fail_command("serverStatus", blockConnection=True, blockTimeMS=1500)
    result = await daemon.ask(probe_of(server))
    assert found(result) == (Outcome.FAILED, "mongo.timeout")


async def test_the_deadline_of_the_run_names_the_phase(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    server = serve_mongo(**persona("primary"))
    server.fail_command("serverStatus", blockConnection=True, blockTimeMS=1500)
    result = await daemon.ask(probe_of(server), 0.5)
    assert found(result) == (Outcome.FAILED, "timeout.run")
    assert result.findings[0].evidence["phase"] == "serverStatus"


async def test_a_server_that_is_full_closes_and_the_message_says_so(
    serve_mongo: Make, daemon: Daemon
) -> None:
    server = serve_mongo(server={"max_connections": 0})
    result = await daemon.ask(probe_of(server))
    assert found(result) == (Outcome.FAILED, "connect.closed")
    assert "limit of connections" in result.why


async def test_a_server_that_is_too_old(serve_mongo: Make, daemon: Daemon) -> None:
    server = serve_mongo(hello={"maxWireVersion": 6})
    assert found(await daemon.ask(probe_of(server))) == (Outcome.FAILED, "mongo.incompatible")


async def test_an_arbiter_is_asked_hello_and_no_more(
    serve_mongo: Make, persona: Make, daemon: Daemon
) -> None:
    made = persona("secondary")
    made["hello"] = {**made["hello"], "secondary": False, "arbiterOnly": True}
    server = serve_mongo(**made, user=["probed", "correct horse"])
    result = await daemon.ask(probe_of(server, **USER))
    assert (result.outcome, result.facts["probed.mongodb.role"]) == (Outcome.OK, "arbiter")
    assert {name for name, count in server.counts().items() if count} == {"hello"}


def message(body: bytes, *, kind: int = 2013, length: int | None = None) -> bytes:
    """OP_MSG with one section, as a server replies."""
    whole = 16 + 5 + len(body)
    return struct.pack("<iiiiib", length or whole, 1, 1, kind, 0, 0) + body


PEERS = {
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "mongo.protocol"),
    "another opcode": (message(encode({"ok": 1}), kind=2012), "mongo.protocol"),
    "no BSON": (message(b"\xff" * 40), "mongo.protocol"),
    "a huge reply": (message(b"", length=1 << 30), "mongo.protocol"),
    "a negative length": (message(b"", length=-5), "mongo.protocol"),
    "not ok": (message(encode({"ok": 0, "code": 1, "errmsg": CANARY})), "mongo.command"),
    "old": (message(encode({"ok": 1, "maxWireVersion": 5})), "mongo.incompatible"),
    "half a reply": (message(encode({"ok": 1}))[:-3], "timeout.wait"),
    "types of its own": (
        message(encode({"ok": 1, "maxWireVersion": "many", "setName": {}})), "mongo.incompatible",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
async def test_what_is_not_mongodb_is_told_before_the_driver_is_asked(
    name: str, daemon: Daemon
) -> None:
    reply, reason = PEERS[name]

    async def talk(peer: Peer) -> None:
        await peer.receive()
        await peer.send(reply)
        await peer.until_gone()

    async with serve(talk) as server:
        result = await daemon.ask(probe_of(server), 0.5)
    assert found(result) == (Outcome.FAILED, reason)
    assert CANARY not in repr(result)
    assert server.connections == 1


async def test_a_server_that_greets_and_then_stays_silent(daemon: Daemon) -> None:
    async def talk(peer: Peer) -> None:
        await peer.receive()
        await peer.send(message(encode({"ok": 1, "maxWireVersion": 21})))
        await peer.until_gone()

    async with serve(talk) as server:
        result = await daemon.ask(probe_of(server), 4.0)
    assert found(result) == (Outcome.FAILED, "mongo.timeout")


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def secured(serve_mongo: Make, persona: Make, authority: Authority, tmp_path: Path) -> Make:
    """A server that shows a certificate of the authority's, for names of ours."""

    def start(*names: str, **more: Any) -> Any:
        chain, key = authority.issue(*names).files(tmp_path)
        server = {"tls_cert_file": str(chain), "tls_key_file": str(key), **more}
        return serve_mongo(**persona("primary"), server=server)

    return start


async def test_tls_is_verified_for_the_name_though_an_address_is_dialed(
    secured: Make, daemon: Daemon, authority: Authority, tmp_path: Path
) -> None:
    server = secured("localhost")
    ca = {"ca": authority.pem_file(tmp_path)}
    probe = MongoProbe(host="localhost", port=server.port, tls=ca)
    for _ in range(2):  # the second time on a kept connection
        result = await daemon.ask(probe)
        assert result.outcome is Outcome.OK, result.findings
        assert [m.value for m in result.measures if m.measure is CERTIFICATE_NOT_AFTER]
    other = probe_of(server, tls=ca)
    assert found(await daemon.ask(other)) == (Outcome.FAILED, "tls.wrong_name")
    named = probe_of(server, tls={**ca, "server_name": "localhost"})
    assert (await daemon.ask(named)).outcome is Outcome.OK


async def test_mutual_tls(
    secured: Make, daemon: Daemon, authority: Authority, tmp_path: Path
) -> None:
    pem = authority.pem_file(tmp_path)
    server = secured("127.0.0.1", tls_ca_file=str(pem), tls_require_client_cert=True)
    folder = tmp_path / "client"
    folder.mkdir()
    chain, key = authority.issue("probed").files(folder)
    shown = {"ca": pem, "certificate": chain, "key": key}
    assert (await daemon.ask(probe_of(server, tls=shown))).outcome is Outcome.OK
    bare = await daemon.ask(probe_of(server, tls={"ca": pem}))
    # TLS 1.3 tells who shows none only after the handshake, or just closes.
    assert bare.outcome is Outcome.FAILED
    assert found(bare)[1] in {"tls.client_certificate", "connect.closed", "connect.reset"}


async def test_a_server_that_wants_tls_is_asked_in_plain(secured: Make, daemon: Daemon) -> None:
    result = await daemon.ask(probe_of(secured("127.0.0.1")))
    assert found(result) == (Outcome.FAILED, "connect.closed")
    assert "wants TLS" in result.why
