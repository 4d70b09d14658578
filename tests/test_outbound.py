"""Nothing is dialed but by the dialer, and nothing past its deny list: whichever setting holds the
address, and however it is written.
"""

from __future__ import annotations

import ast
import socket
import typing
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

# Drivers are loaded here, before a loop runs.
import probes.stripe.mongo_books  # noqa: F401
from probed.engine.runner import Runner
from probed.fields import HostPort, Url
from probed.net import DenyList, Network, Resolver
from probed.registry import Registry
from probed.testing import Peer, dns_server, serve
from probed.testing.soundness import assert_sound
from tests.dials import DIALER, dials

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ROOT = Path(__file__).parent.parent

# --- who may open a socket ---------------------------------------------------------------------------

DIALING = {
    "aiohttp", "dns.asyncquery", "dns.query", "ftplib", "http.client", "httpx", "imaplib", "motor", "nntplib",
    "poplib", "psycopg", "pymongo", "redis", "requests", "smtplib", "socket", "socketserver", "telnetlib",
    "urllib.request", "urllib3", "xmlrpc.client",
}  # fmt: skip
"""Modules that open connections."""
CALLS = {
    "connect_tcp", "connect_unix", "create_connection", "create_datagram_endpoint", "create_unix_connection",
    "create_udp_socket", "getaddrinfo", "open_connection", "open_unix_connection", "sock_connect",
}  # fmt: skip
"""Functions of asyncio and anyio that do."""
EXCUSED: Mapping[str, str] = {
    "probed/web/server.py": "it listens",
    "probed/web/listener.py": "it listens",
    "probed/control/client.py": "a unix socket of this machine",
    "probed/control/server.py": "a unix socket of this machine",
    "probed/systemd.py": "the unix socket of the service manager",
    "probes/mongo/client.py": "the driver connects to a relay of ours",
    "probes/mongo/errors.py": "names its exceptions",
}
ROOMS_EXCUSED = ("probed/net/", "probed/testing/", "probed/demo/")
"""The dialer; and peers, which are not part of the daemon."""


def dialing(source: str) -> set[str]:
    """Return the modules and functions that a source names and that open connections."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            found |= {each for each in DIALING if name == each or name.startswith(f"{each}.")}
        if isinstance(node, ast.Attribute) and node.attr in CALLS:
            found.add(node.attr)
    return found


def test_nothing_outside_the_dialer_names_what_opens_connections() -> None:
    found = {}
    for room in ("probed", "probes"):
        for file in sorted((ROOT / room).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if not path.startswith(ROOMS_EXCUSED) and (names := dialing(file.read_text())):
                found[path] = names
    assert set(found) - set(EXCUSED) == set(), found
    assert {path for path in EXCUSED if (ROOT / path).exists()} == set(found), "excused for nothing"


def test_what_opens_connections_is_seen() -> None:
    assert dialing("import socket") == dialing("from socket import socket") == {"socket"}
    assert dialing("import asyncio; asyncio.open_connection(1)") == {"open_connection"}
    assert dialing("from http import client") == {"http.client"}
    assert dialing("import http.server, json") == set()


# --- every setting that can hold an address -------------------------------------------------------------

NAMES = {"address", "dsn", "host", "hostname", "server", "uri", "url"}
RELAY = {"name": "one", "tls": "none"}
STRIPE = {"mode": "test", "key": "rk_test_" + "a" * 24}
OFF = {"api": None, "events": None, "endpoints": None, "drift": None}
SIGNED = {"url": "http://127.0.0.1:9/", "secret": "whsec_" + "a" * 32}
TRIP: Mapping[str, Any] = {
    "from": "a@x.test", "rcpt": "b@x.test", "helo": "x.test", "relay": {**RELAY, "host": "127.0.0.1", "port": 9},
    "imap": {"host": "127.0.0.1", "port": 9, "tls": "none", "username": "u", "secret": "p"},
}  # fmt: skip


def _drift(**source: Any) -> dict[str, Any]:
    steps = {"api": None, "events": None, "endpoints": None, "drift": "1m"}
    return {**STRIPE, "steps": steps, "drift": source}


def settings(kind: str, path: str, host: str, port: int) -> dict[str, Any]:
    """Return the settings of a check whose setting at this path is that host and port."""
    bracketed = f"[{host}]" if ":" in host else host
    at, url = f"{bracketed}:{port}", f"http://{bracketed}:{port}/"
    books = {"database": "d", "collection": "c"}
    table: dict[tuple[str, str], dict[str, Any]] = {
        ("tcp", "address"): {"address": at},
        ("tls", "address"): {"address": at},
        ("dns", "server"): {"query": "x.test", "server": at},
        ("gateway", "url"): {"url": url},
        ("gateway", "upstreams.url"): {
            "url": "http://127.0.0.1:9/", "upstreams": [{"name": "u", "url": url}],
        },
        ("mongo", "uri"): {"uri": f"mongodb://{at}/"},
        ("mongo", "hostname"): {"host": host, "port": port},
        ("smtp", "relays.host"): {"helo": "x.test", "relays": [{**RELAY, "host": host, "port": port}]},
        ("smtp", "spf.server"): {
            "helo": "x.test",
            "relays": [{**RELAY, "host": "127.0.0.1", "port": 9, "sends_from": ["192.0.2.1"]},
                       {**RELAY, "name": "two", "host": "127.0.0.1", "port": 9, "sends_from": ["192.0.2.2"]}],
            "spf": {"domain": "x.test", "server": at},
        },
        ("email_auth", "resolvers.address"): {
            "domain": "x.test", "resolvers": [{"name": "r", "address": at}], "spf": {},
        },
        ("email_auth", "authoritative"): {"domain": "x.test", "authoritative": [at], "spf": {}},
        ("email_auth", "spf.senders.host"): {
            "domain": "x.test", "spf": {"senders": [{"name": "s", "host": host}]},
        },
        ("email_queue", "redis.address"): {"redis": {"address": at, "keys": [{"key": "k"}]}},
        ("email_queue", "mongodb.address"): {"mongodb": {"address": at, **books}},
        ("email_roundtrip", "relay.host"): {**TRIP, "relay": {**RELAY, "host": host, "port": port}},
        ("email_roundtrip", "imap.host"): {**TRIP, "imap": {**TRIP["imap"], "host": host, "port": port}},
        ("stripe", "api_base"): {**STRIPE, "api_base": url},
        ("stripe", "webhook.url"): {"mode": "test", "steps": OFF, "webhook": {**SIGNED, "url": url}},
        ("stripe", "webhook.registered"): {
            "mode": "test", "steps": OFF, "webhook": {**SIGNED, "registered": url},
        },
        ("stripe", "drift.app.url"): _drift(app={"url": url, "last_event": "$.a"}),
        ("stripe", "drift.mongo.uri"): _drift(mongo={**books, "uri": f"mongodb://{at}/"}),
        ("stripe", "drift.sql.dsn"): _drift(
            sql={"library": "psycopg", "dsn": f"host={host} port={port} user=u", "last_event": "select 1"}
        ),
    }  # fmt: skip
    return table[kind, path]


def holders(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the paths of the settings that can hold an address, by their types and their names."""
    for name, field in model.model_fields.items():
        parts = list(_parts(field.annotation))
        if name in NAMES or any(part in {HostPort, Url} for part in parts):
            yield before + name
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from holders(part, f"{before}{name}.")


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts(inner)


KINDS = {
    kind: Registry().load(kind)
    for kind in sorted(each.name for each in entry_points(group="probed.probes"))
}
PATHS = [(kind, path) for kind, model in KINDS.items() for path in sorted(set(holders(model)))]


def test_the_walk_finds_the_settings() -> None:
    assert (len(PATHS), len(SPELLINGS)) == (22, 27), "docs/faults.md says so"
    for kind, path in PATHS:
        assert settings(kind, path, "127.0.0.1", 9), "write how this setting holds an address"


DENIED = "127.0.0.9"
SPELLINGS = [
    DENIED, "2130706441", "0x7f000009", "0x7F.0.0.9", "017700000011", "0177.0.0.011", "127.9", "127.0.9",
    "127.0.0.9.", "::ffff:127.0.0.9", "::ffff:7f00:9", "0:0:0:0:0:ffff:7f00:0009", "::127.0.0.9",
    "::ffff:0:127.0.0.9", "64:ff9b::7f00:9", "64:ff9b:1::7f00:9", "2002:7f00:9::", "2002:7f00:9::1",
    "2001:db8::5efe:7f00:9", "fe80::5efe:7f00:9", "fe80::200:5efe:7f00:9%lo", "::ffff:127.0.0.9%lo",
    "denied.test", "DENIED.test.", "alias.test", "denied6.test", "both.test",
]  # fmt: skip
ZONE = {
    ("denied.test", "A"): [DENIED], ("alias.test", "CNAME"): ["denied.test."],
    ("denied6.test", "AAAA"): ["::ffff:127.0.0.9"], ("both.test", "A"): [DENIED, DENIED],
    ("both.test", "AAAA"): ["64:ff9b::7f00:9"],
    ("_mongodb._tcp.set.test", "SRV"): ["0 0 27017 node.set.test."], ("node.set.test", "A"): [DENIED],
    ("x.test", "TXT"): ['"v=spf1 -all"'], ("x.test", "NS"): ["ns.x.test."], ("ns.x.test", "A"): [DENIED],
    ("x.test", "SOA"): ["ns.x.test. a.x.test. 1 1 1 1 1"],
}  # fmt: skip


@contextmanager
def watched() -> Iterator[tuple[int, list[str]]]:
    """Give a port of the denied address, over TCP and UDP, and a list of what reached it."""
    reached: list[str] = []
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((DENIED, 0))
        listener.listen()
        port = listener.getsockname()[1]
        datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagrams.bind((DENIED, port))
        listener.setblocking(False)
        datagrams.setblocking(False)
        seen = stack.enter_context(dials())
        yield port, reached
        deny = DenyList([DENIED])
        for address, module in seen:
            if isinstance(address, tuple) and not module.startswith("probed.testing."):
                assert module in {DIALER, "probed.net.datagrams"}, (address, module)
                if deny.denies(address[0]):
                    reached.append(f"{module} dialed {address}")
        with suppress(BlockingIOError):
            listener.accept()[0].close()
            reached.append("TCP")
        with suppress(BlockingIOError):
            datagrams.recvfrom(1)
            reached.append("UDP")


async def run(kind: str, network: Network, given: Mapping[str, Any], timeout: float = 0.5) -> bool:
    """Return whether the settings were accepted, and then run."""
    try:
        probe = KINDS[kind](**given)
    except ValidationError:
        return False
    result = await Runner(network).run_attempt(probe, timeout=timeout)
    assert_sound(probe, result)
    return True


@pytest.mark.parametrize(("kind", "path"), PATHS, ids=[".".join(each) for each in PATHS])
async def test_no_spelling_of_a_denied_address_is_dialed(kind: str, path: str) -> None:
    accepted = 0
    async with dns_server(ZONE) as server:
        network = Network(Resolver([server.server], hosts=None), DenyList([DENIED]))
        for spelling in SPELLINGS:
            with watched() as (port, reached):
                accepted += await run(kind, network, settings(kind, path, spelling, port))
            assert reached == [], spelling
    assert accepted, "no spelling was accepted: nothing was tried"


NOT_AT_ONCE = {
    ("email_auth", "spf.senders.host"),  # a name to look up
    ("email_roundtrip", "relay.host"),  # once the mailbox has answered
    ("smtp", "spf.server"),  # once a relay has answered
    ("stripe", "webhook.registered"),  # to compare with
}


@pytest.mark.parametrize(("kind", "path"), PATHS, ids=[".".join(each) for each in PATHS])
async def test_each_of_these_settings_is_dialed_where_it_is_allowed(kind: str, path: str) -> None:
    """Without this, the test above would prove nothing."""
    async with dns_server(ZONE) as server:
        resolver = Resolver([server.server], hosts=None)
        with watched() as (port, reached):
            assert await run(
                kind, Network(resolver, DenyList([])), settings(kind, path, DENIED, port), 1.5
            )
        assert bool(reached) is ((kind, path) not in NOT_AT_ONCE)


async def test_no_record_leads_to_a_denied_address() -> None:
    async with dns_server(ZONE) as server:
        network = Network(Resolver([server.server], hosts=None), DenyList([DENIED]))
        for kind, given in (
            ("mongo", {"uri": "mongodb+srv://set.test/"}),
            (
                "stripe",
                _drift(
                    mongo={"uri": "mongodb+srv://set.test/", "database": "d", "collection": "c"}
                ),
            ),
            ("email_auth", {"domain": "x.test", "authoritative": True, "spf": {}}),
        ):
            with watched() as (_, reached):
                assert await run(kind, network, given)
            assert reached == [], kind


async def test_no_redirect_leads_to_a_denied_address() -> None:
    target = ""

    async def talk(peer: Peer) -> None:
        await peer.read_until(b"\r\n\r\n")
        await peer.send(
            b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target.encode()
        )

    async with dns_server(ZONE) as server, serve(talk) as web:
        network = Network(Resolver([server.server], hosts=None), DenyList([DENIED]))
        for spelling in SPELLINGS:
            with watched() as (port, reached):
                target = settings("gateway", "url", spelling, port)["url"]
                given = {"url": f"http://{web.address}/", "redirects": 3}
                assert await run("gateway", network, given)
            assert reached == [], spelling


async def test_the_resolvers_of_this_machine_are_queried_wherever_they_are() -> None:
    async with dns_server(ZONE) as server:
        address = server.server
        network = Network(Resolver([address], hosts=None), DenyList(["127.0.0.0/8"]))
        assert network.vantage("", [address]).servers == (address,)
        assert network.vantage("", [address], zone=True).servers == ()
        assert network.vantage("", [(DENIED, 53)]).servers == ()
