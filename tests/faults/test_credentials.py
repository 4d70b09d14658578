"""No peer gets a secret before its time, whatever it asks for; and each kind sends what its table says.

Peers ask in the wrong order, decline, and prompt twice, before TLS, over TLS and with certificates that
are not good. The tables are those of docs/credentials.md.
"""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import entry_points
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest

from probed import Probe, Tls
from probed.engine.runner import execute
from probed.manual.credentials import CREDENTIALS, TRAFFIC
from probed.net import Network
from probed.testing import Authority, Peer, no_leaks, serve
from probed.testing.fake_receiver import FakeReceiver
from probed.testing.fake_stripe import FakeStripe
from probed.testing.soundness import assert_sound
from probed.testing.webserver import Answer, HttpServer
from probed.text.redact import Redactor
from probes.email_queue import EmailQueueProbe
from probes.email_roundtrip import EmailRoundtripProbe
from probes.gateway import GatewayProbe
from probes.mongo import MongoProbe
from probes.mongo.uri import MECHANISMS as MONGO_MECHANISMS
from probes.smtp import SmtpProbe
from probes.smtp.settings import Auth
from probes.stripe import StripeProbe
from tests.probes.email_queue.test_programs import FORMS
from tests.probes.email_roundtrip.conftest import Post
from tests.probes.email_roundtrip.test_mailbox import LIES
from tests.probes.smtp.test_codes import ELSEWHERE, ODD
from tests.probes.smtp.test_prompts import NOT_DUE

pytestmark = pytest.mark.anyio
USER, SECRET = "canary-user-q7zv", "canary-secret-q7zv"
MECHANISMS = ("plain", "login", "cram-md5", "xoauth2")
BAD = ("expired", "wrong_name", "self_signed", "stranger")
"""Certificates that must not be accepted."""
PROMPTS = (
    b"334 \r\n", b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n", b"250 AUTH PLAIN LOGIN\r\n",
    b"+ \r\n", b"+ UGFzc3dvcmQ6\r\n", b"* OK\r\n", b"p1 OK\r\n", b"-NOAUTH Authentication required.\r\n",
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
)  # fmt: skip
"""What asks for a secret, in each protocol."""

MOVED = (301, 302, 303, 307, 308)
Talk = Callable[[Peer], Awaitable[None]]


def holds_secret(data: bytes) -> bool:
    """Whether the canary is in there: as it is, or in what base64 in there decodes to."""
    words = re.findall(rb"[A-Za-z0-9+/]{8,}={0,2}", data)
    decoded = [
        base64.b64decode(word + b"=" * (-len(word) % 4)) for word in words if len(word) % 4 != 1
    ]
    return any(b"q7zv" in text.lower() for text in (data, *decoded))


async def given(talk: Talk, make: Callable[[Any], Probe]) -> bytes:
    """What a peer was sent in a run, decrypted."""
    async with serve(talk) as server, no_leaks():
        probe = make(server)
        result = await execute(
            probe, network=Network(), timeout=1.0, memory={}, redactor=Redactor([USER, SECRET])
        )
        assert_sound(probe, result)
        assert result.outcome.value != "ok"
        assert "q7zv" not in repr(result)
        return server.received


def prompting(*replies: bytes, tls: Any = None, first: bool = False) -> Talk:
    """A peer that says these, each after a line; then the last again and again. `first` does not wait
    for the first line. TLS comes first, where there is a context.
    """

    async def talk(peer: Peer) -> None:
        if tls is not None:
            await peer.start_tls(tls)
        for number in count():
            if number or not first:
                await peer.read_line()
            await peer.send(replies[min(number, len(replies) - 1)])

    return talk


# --- the tables


def test_every_kind_is_in_the_table() -> None:
    ours = {e.name for e in entry_points(group="probed.probes") if e.value.startswith("probes.")}
    assert {traffic.kind for traffic in TRAFFIC} == ours
    assert {credential.kind for credential in CREDENTIALS} <= ours


def test_every_mechanism_is_in_the_table() -> None:
    from probes.email_roundtrip.settings import Mailbox

    for kind, protocol, settings in (
        ("smtp", "SMTP", Auth), ("email_roundtrip", "SMTP", Auth), ("email_roundtrip", "IMAP", Mailbox),
    ):  # fmt: skip
        offered = get_args(settings.model_fields["mechanism"].annotation)
        named = {c.name for c in CREDENTIALS if c.kind == kind and c.name.startswith(protocol)}
        assert named == {f"{protocol} {mechanism.upper()}" for mechanism in offered}


def test_the_canary_is_found_in_each_form() -> None:
    for text in (SECRET, f"\0{USER}\0{SECRET}", f"user={USER}\x01auth=Bearer {SECRET}\x01\x01"):
        assert holds_secret(text.encode())
        assert holds_secret(b"AUTH PLAIN " + base64.b64encode(text.encode()) + b"\r\n")
    assert not holds_secret(b"EHLO probe.test\r\nAUTH LOGIN\r\n")


def test_the_fault_matrix_counts_the_peers(project: Path) -> None:
    page = (project / "docs/faults.md").read_text()
    for row, number in (
        ("SMTP before TLS", len(BEFORE_TLS)), ("SMTP, other offers", len(OFFERS)),
        ("SMTP, other prompts", len(NOT_DUE)), ("SMTP, other codes", len(ODD) + len(ELSEWHERE)),
        ("IMAP before TLS", len(IMAP_BEFORE)), ("IMAP, other prompts", len(PROMPTS) - 1),
        ("certificates that are not good", len(BAD)), ("redirects to another origin", len(MOVED)),
        ("mailboxes that lie about SEARCH, FETCH and UIDVALIDITY", len(LIES)),
        ("programs: timeout, cancel, end, shutdown", len(FORMS)),
    ):  # fmt: skip
        (found,) = re.findall(rf"^\| {re.escape(row)} \|[^|]*\| (\d+) \|", page, re.MULTILINE)
        assert int(found) == number, row


# --- SMTP and IMAP


def smtp(mechanism: str, mode: str, ca: str) -> Callable[[Any], Probe]:
    def make(server: Any) -> Probe:
        return SmtpProbe(
            relays=[{"name": "mx", "host": server.host, "port": server.port, "tls": mode}],
            helo="probe.test", tls={"ca": ca},
            auth={"mechanism": mechanism, "username": USER, "secret": SECRET},
        )  # fmt: skip

    return make


def imap(mechanism: str, mode: str, ca: str) -> Callable[[Any], Probe]:
    def make(server: Any) -> Probe:
        return EmailRoundtripProbe(
            relay={"name": "mx", "host": "127.0.0.1", "port": 9, "tls": "none"},
            imap={"host": server.host, "port": server.port, "tls": mode, "username": USER,
                  "secret": SECRET, "mechanism": mechanism},
            helo="probe.test", tls={"ca": ca}, **{"from": "a@probed.test", "rcpt": "b@probed.test"},
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca(authority: Authority, tmp_path: Path) -> str:
    return str(Tls(ca=authority.pem_file(tmp_path)).ca)


GREETING, OFFER = b"220 mx ESMTP\r\n", b"250-mx\r\n250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2\r\n"
STARTTLS = b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2\r\n"
BEFORE_TLS: dict[str, tuple[bytes, ...]] = {
    "offers a login in the clear": (GREETING, OFFER, b"235 ok\r\n"),
    "declines TLS": (GREETING, STARTTLS, b"454 not now\r\n", b"235 ok\r\n"),
    "has no TLS after all": (GREETING, STARTTLS, b"220 go\r\n", b"334 UGFzc3dvcmQ6\r\n"),
    "prompts at once": (b"334 UGFzc3dvcmQ6\r\n",),
    "prompts for EHLO": (GREETING, b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"),
    "prompts for STARTTLS": (GREETING, STARTTLS, b"334 UGFzc3dvcmQ6\r\n"),
    "says that we are logged in": (GREETING, STARTTLS, b"235 ok\r\n"),
    "speaks IMAP": (b"* OK ready\r\n", b"+ \r\n"),
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("name", BEFORE_TLS)
async def test_smtp_before_tls(name: str, mechanism: str, ca: str) -> None:
    replies = BEFORE_TLS[name]
    received = await given(prompting(*replies, first=True), smtp(mechanism, "starttls", ca))
    assert not holds_secret(received)
    assert b"AUTH" not in received


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("mode", ["implicit", "starttls"])
@pytest.mark.parametrize("kind", BAD)
async def test_smtp_with_a_certificate_that_is_not_good(
    kind: str, mode: str, mechanism: str, authority: Authority, ca: str
) -> None:
    context = authority.of_kind(kind, "127.0.0.1").context

    async def talk(peer: Peer) -> None:
        if mode == "starttls":
            await peer.send(GREETING)
            await peer.read_line()
            await peer.send(STARTTLS)
            await peer.read_line()
            await peer.send(b"220 go\r\n")
        await prompting(GREETING, OFFER, b"334 UGFzc3dvcmQ6\r\n", tls=context, first=True)(peer)

    received = await given(talk, smtp(mechanism, mode, ca))
    assert not holds_secret(received)
    assert b"AUTH" not in received


OFFERS = (
        (b"250 mx\r\n",), (b"250-mx\r\n250 AUTH GSSAPI\r\n",), (b"502 no\r\n", b"250 mx\r\n"),
        (b"334 UGFzc3dvcmQ6\r\n",), (b"235 ok\r\n",), (b"354 go\r\n",),
)  # fmt: skip


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("replies", OFFERS)
async def test_smtp_that_does_not_offer_the_mechanism(
    mechanism: str, replies: tuple[bytes, ...], authority: Authority, ca: str
) -> None:
    talk = prompting(GREETING, *replies, tls=authority.issue("127.0.0.1").context, first=True)
    received = await given(talk, smtp(mechanism, "implicit", ca))
    assert not holds_secret(received)
    assert b"AUTH" not in received


@pytest.mark.parametrize("mechanism", ["login", "cram-md5"])
@pytest.mark.parametrize("prompt", [p for p in PROMPTS if b"VXNlcm5hbWU6" not in p])
async def test_smtp_that_prompts_for_something_else(
    mechanism: str, prompt: bytes, authority: Authority, ca: str
) -> None:
    context = authority.issue("127.0.0.1").context
    talk = prompting(GREETING, OFFER, prompt, prompt, tls=context, first=True)
    received = await given(talk, smtp(mechanism, "implicit", ca))
    assert not holds_secret(received)


IMAP_BEFORE: dict[str, tuple[bytes, ...]] = {
    "prompts at once": (b"+ \r\n",),
    "prompts for STARTTLS": (b"* OK ready\r\n", b"+ \r\n"),
    "declines TLS": (b"* OK ready\r\n", b"p1 NO not now\r\n", b"+ \r\n"),
    "has no TLS after all": (b"* OK ready\r\n", b"p1 OK go\r\n", b"+ \r\n"),
    "injects a prompt": (b"* OK ready\r\n", b"p1 OK go\r\n+ \r\n", b"+ \r\n"),
    "says that we are logged in": (b"* PREAUTH ready\r\n", b"p1 OK\r\n", b"+ \r\n"),
    "speaks SMTP": (GREETING, OFFER, b"334 UGFzc3dvcmQ6\r\n"),
}


@pytest.mark.parametrize("mechanism", ["plain", "xoauth2"])
@pytest.mark.parametrize("name", IMAP_BEFORE)
async def test_imap_before_tls(name: str, mechanism: str, ca: str) -> None:
    talk = prompting(*IMAP_BEFORE[name], first=True)
    received = await given(talk, imap(mechanism, "starttls", ca))
    assert not holds_secret(received)
    assert b"AUTHENTICATE" not in received


@pytest.mark.parametrize("mechanism", ["plain", "xoauth2"])
@pytest.mark.parametrize("kind", BAD)
async def test_imap_with_a_certificate_that_is_not_good(
    kind: str, mechanism: str, authority: Authority, ca: str
) -> None:
    context = authority.of_kind(kind, "127.0.0.1").context
    talk = prompting(b"* OK ready\r\n", b"+ \r\n", tls=context, first=True)
    received = await given(talk, imap(mechanism, "implicit", ca))
    assert not holds_secret(received)


@pytest.mark.parametrize("mechanism", ["plain", "xoauth2"])
@pytest.mark.parametrize("prompt", [p for p in PROMPTS if p != b"+ \r\n"])
async def test_imap_that_prompts_for_something_else(
    mechanism: str, prompt: bytes, authority: Authority, ca: str
) -> None:
    context = authority.issue("127.0.0.1").context
    talk = prompting(b"* OK ready\r\n", prompt, tls=context, first=True)
    received = await given(talk, imap(mechanism, "implicit", ca))
    assert not holds_secret(received)


# --- Redis, HTTP, MongoDB


@pytest.mark.parametrize("kind", BAD)
async def test_redis_with_a_certificate_that_is_not_good(
    kind: str, authority: Authority, ca: str
) -> None:
    def make(server: Any) -> Probe:
        redis = {"address": str(server.address), "keys": [{"key": "a"}], "tls": {"ca": ca},
                 "username": USER, "password": SECRET}  # fmt: skip
        return EmailQueueProbe(redis=redis)

    context = authority.of_kind(kind, "127.0.0.1").context
    assert not holds_secret(await given(prompting(b"+OK\r\n", tls=context), make))
    assert not holds_secret(await given(prompting(b"-NOAUTH\r\n", first=True), make))


@pytest.mark.parametrize("kind", BAD)
async def test_http_with_a_certificate_that_is_not_good(
    kind: str, authority: Authority, ca: str
) -> None:
    basic = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()

    def gateway(value: str) -> Callable[[Any], Probe]:
        return lambda server: GatewayProbe(
            url=f"https://{server.address}/", tls={"ca": ca}, headers={"Authorization": value}
        )

    context = authority.of_kind(kind, "127.0.0.1").context
    for value in (basic, f"Bearer {SECRET}"):
        assert not holds_secret(await given(prompting(PROMPTS[-1], tls=context), gateway(value)))
        assert not holds_secret(await given(prompting(PROMPTS[-1], first=True), gateway(value)))

    def stripe(server: Any) -> Probe:
        key = f"rk_test_{SECRET.replace('-', '')}"
        return StripeProbe(mode="test", key=key, api_base=f"https://{server.address}")

    assert not holds_secret(await given(prompting(PROMPTS[-1], tls=context), stripe))


async def test_http_credentials_stay_with_their_origin() -> None:
    async with HttpServer({}, default=Answer(200)) as other:
        for status in MOVED:
            moved = Answer(status, headers={"Location": other.url("/here")})
            async with HttpServer({"/": moved}) as server:
                for value in (f"Bearer {SECRET}", f"Basic {SECRET}"):
                    headers = {"Authorization": value, "Cookie": SECRET, "X-Key": SECRET}
                    probe = GatewayProbe(url=server.url(), redirects=3, headers=headers)
                    await execute(probe, network=Network(), timeout=2.0, memory={})
                    assert holds_secret(server.received)
        assert len(other.requests) == 10
        assert not holds_secret(other.received)


async def test_the_key_of_stripe_stays_with_the_api() -> None:
    async with HttpServer({}, default=Answer(200)) as other:
        moved = Answer(302, headers={"Location": other.url("/v1/events")})
        async with HttpServer({}, default=moved) as server:
            key = "rk_test_" + SECRET.replace("-", "")
            probe = StripeProbe(mode="test", key=key, api_base=server.url("").rstrip("/"))
            await execute(probe, network=Network(), timeout=2.0, memory={})
        assert other.requests == []


@pytest.mark.parametrize("tls", [False, True])
async def test_mongo_is_never_given_the_password(tls: bool, authority: Authority, ca: str) -> None:
    context = authority.of_kind("stranger", "127.0.0.1").context if tls else None

    async def talk(peer: Peer) -> None:
        if context is not None:
            await peer.start_tls(context)
        while True:
            await peer.read_exactly(16) if hasattr(peer, "read_exactly") else await peer.read_line()

    def make(server: Any) -> Probe:
        more = f"&tls=true&tlsCAFile={ca}" if tls else ""
        uri = f"mongodb://{USER}:{SECRET}@{server.address}/?authSource=admin{more}"
        return MongoProbe(uri=uri)

    assert SECRET.encode() not in await given(talk, make)


def test_every_mechanism_of_mongo_is_in_the_table() -> None:
    named = {c.name for c in CREDENTIALS if c.kind == "mongo"}
    assert {m.partition("-SHA-")[0] for m in MONGO_MECHANISMS} == named


def test_mongo_does_not_show_the_password_in_the_clear() -> None:
    uri = f"mongodb://{USER}:{SECRET}@db.example.com/?authMechanism=PLAIN&authSource=$external"
    with pytest.raises(ValueError, match="would show the password") as caught:
        MongoProbe(uri=uri)
    assert SECRET not in str(caught.value)
    MongoProbe(uri=f"{uri}&tls=true")
    MongoProbe(uri=uri, tls={})


async def test_drift_does_not_show_the_password_in_the_clear() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_line()

    async with serve(talk) as server, FakeStripe() as api:
        uri = (
            f"mongodb://{USER}:{SECRET}@{server.address}/?authMechanism=PLAIN&authSource=$external"
        )
        drift = {"mongo": {"uri": uri, "database": "a", "collection": "b"}}
        probe = StripeProbe(mode="test", key=api.key, api_base=api.base, drift=drift)
        result = await execute(probe, network=Network(), timeout=2.0, memory={})
        assert "would show the password" in " ".join(f.message for f in result.findings)
        assert server.connections == 0


# --- what is sent at all


def allowed(kind: str, protocol: str) -> set[str]:
    (found,) = (t for t in TRAFFIC if (t.kind, t.protocol) == (kind, protocol))
    return set(found.commands)


def words_of(lines: list[bytes]) -> set[str]:
    return {line.partition(b" ")[0].decode().upper() for line in lines}


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_commands_of_smtp(mechanism: str, authority: Authority, ca: str) -> None:
    context = authority.issue("127.0.0.1").context
    commands: list[bytes] = []
    refuse = {b"EHLO": b"502 no"} if mechanism == "plain" else {}

    async def talk(peer: Peer, secure: bool = False) -> None:
        if not secure:
            await peer.send(GREETING)
        while True:
            line = await peer.read_line()
            commands.append(line)
            if line == b"STARTTLS":
                await peer.send(b"220 go\r\n")
                await peer.start_tls(context)
                return await talk(peer, secure=True)
            if line[:4] == b"AUTH" and line.count(b" ") == 1:
                prompts = {"login": [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"]}
                for prompt in prompts.get(mechanism, [base64.b64encode(b"<1.2@mx.test>")]):
                    await peer.send(b"334 " + prompt + b"\r\n")
                    await peer.read_line()
            if line[:4] == b"AUTH":
                await peer.send(b"235 ok\r\n")
            elif line[:4] == b"EHLO" and not refuse:
                await peer.send(OFFER if secure else STARTTLS)
            else:
                await peer.send(refuse.get(line[:4], b"250 ok") + b"\r\n")

    async with serve(talk) as server:
        relay = {"name": "mx", "host": server.host, "port": server.port}
        auth = {"mechanism": mechanism, "username": USER, "secret": SECRET}
        settings = {"tls": {"ca": ca}, "auth": auth} if not refuse else {}
        relay["tls"] = "none" if refuse else "starttls"
        probe = SmtpProbe(
            relays=[relay], helo="probe.test",
            envelope={"from": "a@probed.test", "rcpt": "b@probed.test"}, **settings,
        )  # fmt: skip
        await execute(probe, network=Network(), timeout=2.0, memory={})
    skipped = {"HELO"} if not refuse else {"STARTTLS", "AUTH"}
    assert words_of(commands) == allowed("smtp", "SMTP") - skipped


@pytest.mark.parametrize("uidplus", [True, False])
async def test_commands_of_email_roundtrip(uidplus: bool) -> None:
    post = Post()
    post.add_old(2)
    post.capability = b"IMAP4rev1 UIDPLUS" if uidplus else b"IMAP4rev1"
    result = await post.run()
    assert result.outcome.value == "ok", result.findings
    sent = {re.match(r"(UID )?\w+", command)[0] for command in post.commands}  # type: ignore[index]
    skipped = {"STARTTLS"} | (set() if uidplus else {"UID EXPUNGE"})
    assert sent == allowed("email_roundtrip", "IMAP") - skipped
    assert words_of(post.relay_lines) <= allowed("email_roundtrip", "SMTP")
    assert len(post.taken) == 1


async def test_commands_of_redis() -> None:
    commands: set[str] = set()
    answers = {"AUTH": b"+OK\r\n", "SELECT": b"+OK\r\n", "LINDEX": b"$-1\r\n", "ZRANGE": b"*0\r\n",
               "XRANGE": b"*0\r\n"}  # fmt: skip

    async def talk(peer: Peer) -> None:
        while True:
            words = []
            for _ in range(int((await peer.read_line())[1:])):
                await peer.read_line()
                words.append((await peer.read_line()).decode())
            commands.add(words[0])
            await peer.send(answers.get(words[0], b":1\r\n"))

    async with serve(talk) as server:
        keys = [{"key": kind, "type": kind, "time": "t"} for kind in ("list", "zset", "stream")]
        redis = {"address": str(server.address), "keys": keys, "database": 1, "password": SECRET}
        result = await execute(EmailQueueProbe(redis=redis), network=Network(), timeout=2.0)
    assert result.outcome.value == "ok", result.findings
    assert commands == allowed("email_queue", "Redis")


async def test_methods_of_http() -> None:
    async with HttpServer({}, default=Answer(200, body="{}")) as server:
        await execute(GatewayProbe(url=server.url()), network=Network(), timeout=2.0)
        assert {request.method for request in server.requests} == allowed("gateway", "HTTP")
    secret = "whsec_" + "probedFakeSecret0123456789"
    async with FakeStripe() as api, FakeReceiver(secret) as hook:
        webhook = {"url": hook.hook, "secret": secret, "synthetic": "signed"}
        probe = StripeProbe(mode="test", key=api.key, api_base=api.base, webhook=webhook)
        await execute(probe, network=Network(), timeout=5.0, memory={})
        assert {r.method for r in api.requests} == allowed("stripe", "HTTP to the API")
        assert {r.method for r in hook.requests} == allowed("stripe", "HTTP to the webhook")
        assert len(hook.requests) == 2


WRITING = {
    "insert", "update", "delete", "findAndModify", "create", "drop", "dropDatabase", "createIndexes",
    "dropIndexes", "renameCollection", "collMod", "setParameter", "fsync", "shutdown", "killOp",
    "$out", "$merge", "mapReduce", "bulkWrite", "applyOps",
}  # fmt: skip


def literal_keys(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant))


def test_no_command_of_mongodb_writes(project: Path) -> None:
    files = [*project.glob("probes/mongo/*.py"), project / "probes/email_queue/mongodb.py",
             project / "probes/stripe/mongo_books.py"]  # fmt: skip
    keys = {key for path in files for key in literal_keys(path)}
    assert {"aggregate", "serverStatus", "replSetGetStatus", "profile"} <= keys
    assert keys & WRITING == set()


async def test_tcp_and_tls_send_nothing(authority: Authority, ca: str) -> None:
    from probes.tcp import TcpProbe
    from probes.tls import TlsProbe

    async def listen(peer: Peer) -> None:
        await peer.send(b"220 ready\r\n")
        await peer.read_line()

    async with serve(listen) as server:
        await execute(
            TcpProbe(address=server.address, expect="^220"), network=Network(), timeout=2.0
        )
        assert server.received == b""
    context = authority.issue("127.0.0.1").context
    async with serve(listen, tls=context) as server:
        probe = TlsProbe(address=server.address, tls={"ca": ca})
        await execute(probe, network=Network(), timeout=2.0)
        assert server.received == b""
