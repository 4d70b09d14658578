"""mongo: connection strings and settings; a mistake is told without repeating what may be a secret."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP

from probed import Outcome
from probed.engine.runner import execute
from probed.net import Network, Resolver
from probed.testing import CANARY, Authority, dns_server
from probed.testing.soundness import assert_sound
from probes.mongo import MongoProbe, uri

Make = Callable[..., Any]

NOT_OFFERED = {
    "connect", "datetime_conversion", "driver", "enableoverloadretargeting", "fsync",
    "maxadaptiveretries", "server_api", "srvallowedhostssuffix", "tlscrlfile", "tz_aware", "unicode_decode_error_handler",
    "waitqueuemultiple",
}  # fmt: skip
"""Of the driver's own, for programs; or such as would have to have an effect here."""


def test_the_options_known_are_those_of_the_driver() -> None:
    known = {name.lower() for name in (*uri.HONOURED, *uri.WITHOUT_EFFECT)}
    assert known == set(URI_OPTIONS_VALIDATOR_MAP) - NOT_OFFERED


def test_a_connection_string_is_read() -> None:
    read = uri.parse(
        "mongodb://pro%40bed:p%3Aw%2F@Db1.example.com,[2001:db8::1]:27018,192.0.2.1/shop"
        "?replicaSet=rs0&authSource=users&TLS=true&retryWrites=false"
    )
    assert [str(node) for node in read.nodes] == [
        "db1.example.com:27017", "[2001:db8::1]:27018", "192.0.2.1:27017",
    ]  # fmt: skip
    assert (read.username, read.password, read.database) == ("pro@bed", "p:w/", "shop")
    assert read.options == {"authSource": "users", "tls": "true"}
    assert uri.parse("mongodb+srv://u:p@cluster.example.com/").srv == "cluster.example.com"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("postgres://db/", "not a connection string"),
        ("mongodb://", "not a connection string"),
        (f"mongodb://u:pa/{CANARY}@db/", "host"),
        ("mongodb://%2Ftmp%2Fx.sock/", "unix sockets"),
        ("mongodb://db:70000/", "host:port"),
        ("mongodb://db/?tlsCaFiel=/x", "did you mean tlsCAFile"),
        (f"mongodb://u:p?{CANARY}=1@db/", ""),
        (f"mongodb://db/?{CANARY}=1", "unknown"),
        ("mongodb://db/?tls=yes", "true or false"),
        ("mongodb://db/?loadBalanced=true", "balancer"),
        ("mongodb://db/?tlsAllowInvalidHostnames=true", "server_name"),
        ("mongodb://db/?authMechanism=GSSAPI", "authMechanism"),
        ("mongodb+srv://db.example.com:27017/", "no port"),
        ("mongodb://" + ",".join(f"db{n}" for n in range(11)), "at most 10"),
        ("mongodb://u@db/", "password is missing"),
    ],
)
def test_what_is_wrong_with_it_is_said_and_nothing_of_it_repeated(text: str, why: str) -> None:
    with pytest.raises(ValidationError) as error:
        MongoProbe(uri=text)
    assert why in str(error.value)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "either uri or host"),
        ({"uri": "mongodb://db/", "host": "db"}, "either uri or host"),
        ({"host": "a b"}, "host name"),
        ({"host": "db", "password": "x"}, "goes with a username"),
        ({"host": "db", "username": "x"}, "password is missing"),
        ({"uri": "mongodb://u:p@db/", "username": "x", "password": "y"}, "in uri already"),
        ({"uri": "mongodb://db/?tlsCAFile=/x", "tls": {}}, "one place"),
        ({"host": "db", "databases": ["a.b"]}, "databases"),
        ({"host": "db", "connections": {"degraded": 0.9, "failed": 0.5}}, "less than"),
        ({"host": "db", "connections": {"degraded": 80}}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        MongoProbe(**settings)


def test_the_target_shows_the_nodes_and_no_credentials() -> None:
    probe = MongoProbe(uri=f"mongodb://u:{CANARY}@db1,db2:27018/?replicaSet=rs0")
    assert (probe.target, probe.host) == ("db1:27017,db2:27018", "db1")
    assert CANARY not in repr(probe)
    assert MongoProbe(uri="mongodb+srv://c.example.com/").target == "mongodb+srv://c.example.com"
    assert MongoProbe(host="2001:db8::1").target == "[2001:db8::1]:27017"


def test_tls_as_the_string_says() -> None:
    def of(text: str) -> Any:
        return MongoProbe(uri=text).encryption

    assert of("mongodb://db/") is None
    assert of("mongodb://db/?ssl=true").verify is True
    assert of("mongodb+srv://c.example.com/").verify is True
    assert of("mongodb+srv://c.example.com/?tls=false") is None
    assert of("mongodb://db/?tls=true&tlsInsecure=true").verify is False


def test_our_certificate_as_the_string_says(tmp_path: Path) -> None:
    issued = Authority().issue("probed")
    both = tmp_path / "both.pem"
    both.write_bytes(issued.chain + issued.key)
    text = f"mongodb://db/?tlsCAFile={both}&tlsCertificateKeyFile={both}"
    tls = MongoProbe(uri=text).encryption
    assert tls is not None
    assert (tls.ca, tls.certificate, tls.password) == (both, both, None)
    with pytest.raises(ValidationError, match="cannot read the file"):
        MongoProbe(uri=f"{text}.no")
    tls = MongoProbe(uri=f"{text}&tlsCertificateKeyFilePassword={CANARY}").encryption
    assert tls is not None
    assert tls.password == SecretStr(CANARY)


SRV = ("_mongodb._tcp.c.example.com", "SRV")


@pytest.mark.anyio
async def test_an_srv_name_is_expanded_to_its_nodes(serve_mongo: Make, persona: Make) -> None:
    one, other = serve_mongo(**persona("primary")), serve_mongo(**persona("secondary"))
    zone = {
        SRV: [f"0 0 {one.port} db1.example.com.", f"0 0 {other.port} db2.example.com."],
        ("db1.example.com", "A"): ["127.0.0.1"],
        ("db2.example.com", "A"): ["127.0.0.1"],
    }
    probe = MongoProbe(uri="mongodb+srv://c.example.com/?tls=false")
    async with dns_server(zone) as names:
        network = Network(Resolver(servers=[names.server], hosts=None))
        result = await execute(probe, network=network, timeout=5.0)
    assert_sound(probe, result)
    assert result.outcome is Outcome.OK, result.findings
    phases = {phase.name for phase in result.phases}
    assert f"node/db1.example.com:{one.port}/serverStatus" in phases
    assert f"node/db2.example.com:{other.port}/hello" in phases


@pytest.mark.anyio
async def test_an_srv_record_may_not_lead_out_of_the_domain(serve_mongo: Make) -> None:
    server = serve_mongo()
    zone = {SRV: [f"0 0 {server.port} db1.evil.test."], ("db1.evil.test", "A"): ["127.0.0.1"]}
    probe = MongoProbe(uri=f"mongodb+srv://u:{CANARY}@c.example.com/?tls=false")
    async with dns_server(zone) as names:
        network = Network(Resolver(servers=[names.server], hosts=None))
        result = await execute(probe, network=network, timeout=5.0)
    assert result.worst is not None
    assert result.worst.reason == "dns.mismatch"
    assert not server.counts()


@pytest.mark.anyio
async def test_of_several_nodes_each_is_named_and_one_that_is_away_is_degraded(
    serve_mongo: Make, persona: Make
) -> None:
    one, other = serve_mongo(**persona("primary")), serve_mongo(**persona("secondary"))
    other.stop()
    probe = MongoProbe(uri=f"mongodb://{one.address},{other.address}/?replicaSet=rs0")
    result = await execute(probe, network=Network(), timeout=5.0)
    assert_sound(probe, result)
    assert result.outcome is Outcome.DEGRADED
    assert result.why == (
        f"connect.refused: {other.address}: "
        f"Connection refused: nothing is listening on {other.address}."
    )
    assert result.findings[0].evidence == {
        "phase": f"node/{other.address}/connect",
        "server.address": other.address.host,
        "server.port": other.address.port,
        "network.peer.address": other.address.host,
    }
    one.stop()
    result = await execute(probe, network=Network(), timeout=5.0)
    assert result.outcome is Outcome.FAILED
    assert len(result.findings) == 2


def test_nobody_loads_the_driver_who_has_no_such_check() -> None:
    code = (
        "import sys; from probed.registry import Registry\n"
        "kinds = Registry(); [kinds.load(name) for name in kinds.kinds()]\n"
        "print([m for m in ('pymongo', 'bson', 'secantus') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"]


@pytest.mark.parametrize(
    ("name", "host", "allowed"),
    [
        ("corp.test", "db.corp.test", True),
        ("corp.test", "a.b.corp.test", True),
        ("corp.test", "DB.CORP.test", True),
        ("corp.test", "corp.test", False),
        ("corp.test", "db.attacker.test", False),
        ("corp.test", "evilcorp.test", False),
        ("corp.test", "test", False),
        ("internal", "db.internal", True),
        ("internal", "internal", False),
        ("internal", "db.other", False),
        ("internal", "dbinternal", False),
        ("c.corp.test", "db.corp.test", True),
        ("c.corp.test", "c.corp.test", True),
        ("c.corp.test", "corp.test", False),
        ("c.corp.test", "db.notcorp.test", False),
        ("c.corp.test", "db.corp.test.attacker.test", False),
        ("a.b.c.corp.test", "db.b.c.corp.test", True),
        ("a.b.c.corp.test", "db.c.corp.test", False),
    ],
)
@pytest.mark.anyio
async def test_where_an_srv_record_may_lead(name: str, host: str, allowed: bool) -> None:
    """Drivers' specification "Initial DNS Seedlist Discovery", and DRIVERS-2922 for short names."""
    zone = {
        (f"_mongodb._tcp.{name}", "SRV"): [f"0 0 1 {host}."], (host.lower(), "A"): ["127.0.0.1"],
        ("other.example", "A"): ["127.0.0.1"],
    }  # fmt: skip
    async with dns_server(zone) as server:
        resolver = Resolver([server.server], hosts=None)
        probe = MongoProbe(uri=f"mongodb+srv://u:{CANARY}@{name}/?tls=false")
        result = await execute(probe, network=Network(resolver), timeout=2.0)
    assert result.worst is not None
    assert result.worst.reason == ("connect.refused" if allowed else "dns.mismatch")
    assert CANARY not in repr(result)


@pytest.mark.parametrize(
    ("texts", "refused"),
    [
        (['"authSource=shop"'], False),
        (['"authSource=shop&replicaSet=rs0"'], False),
        (['"authSource=" "shop"'], False),
        ([], False),
        (['"authSource=shop"', '"replicaSet=rs0"'], True),
        (['"tls=false"'], True),
        (['"authMechanism=PLAIN"'], True),
        (['"authSource=shop&directConnection=true"'], True),
        (['"' + "x" * 250 + '" ' + " ".join(['"' + "y" * 250 + '"'] * 5)], True),
    ],
)
@pytest.mark.anyio
async def test_what_a_txt_record_may_set(texts: list[str], refused: bool) -> None:
    zone = {
        ("_mongodb._tcp.c.corp.test", "SRV"): ["0 0 1 db.corp.test."],
        ("db.corp.test", "A"): ["127.0.0.1"], ("c.corp.test", "TXT"): texts,
    }  # fmt: skip
    async with dns_server(zone) as server:
        resolver = Resolver([server.server], hosts=None)
        probe = MongoProbe(uri=f"mongodb+srv://u:{CANARY}@c.corp.test/")
        result = await execute(probe, network=Network(resolver), timeout=2.0)
    assert result.worst is not None
    assert result.worst.reason == ("dns.mismatch" if refused else "connect.refused")
