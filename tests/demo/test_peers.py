"""The demo's peers answer, break, recover, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest
import yaml

from probed import Outcome
from probed.config import loads
from probed.demo import PEERS, Demo, DemoUnavailable
from probed.demo.mongo import Mongo
from probed.demo.stripe import Stripe
from probed.engine.runner import Runner
from probed.model import Result
from probed.registry import Registry
from probes.gateway.health import ComponentKind, parse

pytestmark = pytest.mark.anyio


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    # Those that take a second to start have tests of their own.
    peers = [peer for peer in PEERS if peer not in {Mongo, Stripe}]
    async with Demo(peers, slowness=0.2) as running:
        yield running


@pytest.fixture
def nothing_left() -> Iterator[None]:
    before = sockets()
    yield
    gc.collect()
    assert sockets() == before


def sockets() -> set[str]:
    links = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.add(str(entry.readlink()))
    return {link for link in links if link.startswith("socket:")}


def config(demo: Demo) -> dict[str, Any]:
    loaded = yaml.safe_load(demo.config_text())
    assert isinstance(loaded, dict)
    return loaded


def check(demo: Demo, name: str) -> dict[str, Any]:
    (found,) = [entry for entry in config(demo)["checks"] if entry["name"] == name]
    return dict(found)


async def exchange(url: str, sent: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send data and return everything that the peer sends until it closes."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        writer.write(sent)
        return await reader.read()
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def get(url: str, context: ssl.SSLContext | None = None) -> tuple[int, str, bytes]:
    path = urlsplit(url).path
    answer = await exchange(url, f"GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode(), context)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    assert fields["content-length"] == str(len(body))
    return int(lines[0].split()[1]), fields["content-type"], body


def trusting(demo: Demo) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=check(demo, "certificate")["tls"]["ca"])


async def ask(demo: Demo, name: str, kind: str) -> dns.message.Message:
    server = urlsplit(demo.urls["dns"])
    query = dns.message.make_query(name, kind)
    return await dns.asyncquery.udp(
        query, str(server.hostname), port=server.port or 0, timeout=5, ignore_trailing=False
    )


# --- each peer answers


async def test_the_gateway_tells_the_health_of_its_upstreams_in_one_document(demo: Demo) -> None:
    status, content_type, body = await get(demo.urls["gateway"])
    document = parse(content_type, body)
    assert (status, document.format, document.status) == (200, "health+json", Outcome.OK)
    assert [part.path for part in document.components] == [
        "billing:responseTime",
        "catalog:responseTime",
    ]


async def test_billing_answers_as_actuator_with_closed_breakers(demo: Demo) -> None:
    status, content_type, body = await get(demo.urls["billing"])
    document = parse(content_type, body)
    assert (status, document.format, document.status) == (200, "actuator", Outcome.OK)
    breakers = [part for part in document.components if part.kind is ComponentKind.BREAKER]
    assert [(part.path, part.raw) for part in breakers] == [
        ("circuitBreakers/cards", "CLOSED"),
        ("circuitBreakers/ledger", "CLOSED"),
    ]


async def test_catalog_answers_as_health_json(demo: Demo) -> None:
    status, content_type, body = await get(demo.urls["catalog"])
    document = parse(content_type, body)
    assert (status, content_type) == (200, "application/health+json")
    assert (document.format, document.status) == ("health+json", Outcome.OK)


async def test_the_gateway_forwards_and_has_a_plain_word_of_its_own(demo: Demo) -> None:
    origin = demo.urls["gateway"].removesuffix("/health")
    billing = await get(demo.urls["billing"])
    assert await get(demo.urls["actuator"]) == billing
    assert await get(f"{origin}/billing/actuator/health") == billing
    assert (await get(f"{origin}/catalog/health"))[0] == 200
    assert (await get(f"{origin}/catalog/nothing"))[0] == 404
    assert (await get(f"{origin}/nothing"))[0] == 404
    assert await get(demo.urls["plain"]) == (200, "text/plain; charset=utf-8", b"OK\n")


async def test_the_tls_endpoint_is_trusted_by_its_authority_for_weeks(demo: Demo) -> None:
    assert (await get(demo.urls["tls"], trusting(demo)))[2] == b"OK\n"
    with pytest.raises(ssl.SSLCertVerificationError) as untrusted:
        await get(demo.urls["tls"], ssl.create_default_context())
    assert untrusted.value.verify_code == 20


async def test_the_banner_is_said_first_and_quit_is_taken(demo: Demo) -> None:
    said = await exchange(demo.urls["banner"], b"NOOP\r\nquit\r\n")
    assert said.split(b"\r\n") == [
        b"220 demo ready",
        b"502 Command not implemented",
        b"221 demo closing",
        b"",
    ]


async def test_the_name_server_answers_for_its_zone(demo: Demo) -> None:
    found = await ask(demo, "demo.test", "A")
    assert found.answer[0].to_text() == "demo.test. 60 IN A 192.0.2.10"
    assert found.flags & dns.flags.AA
    missing = await ask(demo, "nothing.demo.test", "A")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    empty = await ask(demo, "demo.test", "SRV")
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])


async def test_garbage_is_survived_by_every_peer(demo: Demo) -> None:
    garbage = (b"\x16\x03\x01\x00\xff" * 40, b"GET / \r\n\r\n", b"x" * 40_000, b"\0", b"")
    for url in demo.urls.values():
        for sent in garbage:
            await throw(urlsplit(url).scheme, urlsplit(url).netloc, sent)
    assert (await get(demo.urls["gateway"]))[0] == 200
    assert (await get(demo.urls["tls"], trusting(demo)))[0] == 200
    assert (await exchange(demo.urls["banner"], b"QUIT\r\n")).startswith(b"220 ")
    assert (await ask(demo, "demo.test", "A")).answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /v1/traces HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 200),
        (b"POST /v1/metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 200),
        (b"POST /v1/logs HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /v1/traces HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400),
        (
            b"POST /v1/traces HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            400,
        ),
        (b"POST\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /v1/traces HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"POST /v1/traces HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_the_collector_answers_what_is_no_otlp_and_goes_on(
    demo: Demo, sent: bytes, status: int
) -> None:
    answer = await exchange(demo.urls["otlp"], sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert demo.status() == ["0 spans and 0 metric points received"]


async def throw(scheme: str, place: str, sent: bytes) -> None:
    """Send data, close the sending direction, and wait until the peer closes."""
    host, _, port = place.partition(":")
    if scheme == "udp":
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, int(port))
        )
        transport.sendto(sent[:1024])
        transport.close()
        return
    reader, writer = await asyncio.open_connection(host, int(port))
    with contextlib.suppress(ConnectionError):
        writer.write(sent)
        writer.write_eof()
        await reader.read()
    writer.transport.abort()


async def test_only_get_and_head_are_answered(demo: Demo) -> None:
    url = demo.urls["plain"]
    posted = await exchange(url, b"POST /plain HTTP/1.1\r\n\r\n")
    assert posted.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    head = await exchange(url, b"HEAD /plain HTTP/1.1\r\n\r\n")
    assert b"\r\ncontent-length: 3\r\n" in head
    assert head.endswith(b"\r\n\r\n")


# --- each break


async def test_gateway_broken_answers_502_although_its_upstreams_are_well(demo: Demo) -> None:
    await demo.break_("gateway")
    for name in ("gateway", "actuator", "plain"):
        assert (await get(demo.urls[name]))[:2] == (502, "text/html")
    for name in ("billing", "catalog"):
        assert (await get(demo.urls[name]))[0] == 200
    await demo.mend("gateway")
    assert (await get(demo.urls["gateway"]))[0] == 200


async def test_upstream_broken_refuses_and_the_gateway_names_it(demo: Demo) -> None:
    billing = urlsplit(demo.urls["billing"])
    await demo.break_("upstream")
    with pytest.raises(ConnectionRefusedError):
        await get(demo.urls["billing"])
    status, content_type, body = await get(demo.urls["gateway"])
    document = parse(content_type, body)
    assert (status, document.status) == (503, Outcome.FAILED)
    assert document.worst is not None
    assert document.worst.path == "billing:responseTime"
    assert (await get(demo.urls["actuator"]))[0] == 502
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((billing.hostname, billing.port))
    await demo.mend("upstream")
    assert (await get(demo.urls["billing"]))[0] == 200
    assert (await get(demo.urls["gateway"]))[0] == 200


async def test_tls_broken_presents_an_expired_certificate(demo: Demo) -> None:
    context = trusting(demo)
    await demo.break_("tls")
    with pytest.raises(ssl.SSLCertVerificationError) as expired:
        await get(demo.urls["tls"], context)
    assert expired.value.verify_code == 10
    await demo.mend("tls")
    assert (await get(demo.urls["tls"], context))[0] == 200


async def test_slow_broken_takes_its_time(demo: Demo) -> None:
    loop = asyncio.get_running_loop()
    await demo.break_("slow")
    began = loop.time()
    assert (await get(demo.urls["gateway"]))[0] == 200
    assert loop.time() - began >= 0.2
    await demo.mend("slow")
    assert demo.broken == frozenset()


async def test_breaking_and_mending_twice_is_as_good_as_once(demo: Demo) -> None:
    assert set(demo.breaks) == {
        "gateway", "upstream", "tls", "slow", "smtp", "backup", "spf", "dkim", "dmarc",
    }  # fmt: skip
    for name in demo.breaks:
        await demo.break_(name)
        await demo.break_(name)
    assert demo.broken == set(demo.breaks)
    for name in demo.breaks:
        await demo.mend(name)
        await demo.mend(name)
    assert demo.broken == frozenset()
    assert (await get(demo.urls["gateway"]))[0] == 200


async def test_an_unknown_break_is_refused_with_those_that_exist(demo: Demo) -> None:
    for change in (demo.break_, demo.mend):
        with pytest.raises(
            ValueError, match=r"'dns'; known: backup, dkim, dmarc, gateway, .*, tls, upstream$"
        ):
            await change("dns")


# --- the configuration


async def test_the_configuration_asks_these_peers(demo: Demo) -> None:
    loaded = config(demo)
    names = [entry["name"] for entry in loaded["checks"]]
    assert len(set(names)) == len(names) >= 8
    assert {entry["probe"] for entry in loaded["checks"]} == {
        "gateway",
        "tls",
        "tcp",
        "dns",
        "smtp",
        "email_auth",
    }
    assert loaded["defaults"]["interval"] == "2s"
    known = {urlsplit(url).netloc for url in demo.urls.values()}
    for entry in loaded["checks"]:
        if entry["probe"] == "smtp":
            assert {f"{r['host']}:{r['port']}" for r in entry["relays"]} <= known
            continue
        if entry["probe"] == "email_auth":
            assert set(entry["authoritative"]) <= known
            continue
        target = entry.get("url") or "//" + (entry.get("address") or entry["server"])
        assert urlsplit(target).netloc in known
    assert "&" not in demo.config_text()
    upstreams = check(demo, "gateway")["upstreams"]
    assert [entry["url"] for entry in upstreams] == [demo.urls["billing"], demo.urls["catalog"]]


async def test_what_the_checks_require_is_in_the_documents(demo: Demo) -> None:
    for entry in config(demo)["checks"]:
        health = entry.get("health", {})
        if entry["probe"] != "gateway" or entry["url"].startswith("https:"):
            continue
        _, content_type, body = await get(entry["url"])
        document = parse(content_type, body, format=health.get("format", "auto"))
        assert document.status is Outcome.OK
        assert all(document.named(name) for name in health.get("require", []))


# --- nothing is left behind


async def test_stop_leaves_no_socket_task_nor_file(nothing_left: None) -> None:
    tasks = asyncio.all_tasks()
    async with Demo() as demo:
        authority = Path(check(demo, "certificate")["tls"]["ca"])
        parts = urlsplit(demo.urls["banner"])
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        await demo.break_("upstream")
    writer.transport.abort()
    with pytest.raises(ConnectionRefusedError):
        await get(demo.urls["gateway"])
    assert not await anyio.Path(authority.parent).exists()
    assert asyncio.all_tasks() == tasks


async def test_an_error_of_the_body_comes_out_as_it_is(nothing_left: None) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with Demo():
            raise LookupError("mine")


async def test_a_cancelled_demo_closes_everything(nothing_left: None) -> None:
    with anyio.CancelScope() as scope:
        async with Demo() as demo:
            folder = Path(check(demo, "certificate")["tls"]["ca"]).parent
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not await anyio.Path(folder).exists()


async def test_without_trustme_the_remedy_is_said(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(DemoUnavailable, match=r"install .* probed-daemon\[demo\]$"):
        async with Demo():
            pytest.fail("it cannot start")


def test_no_two_peers_share_a_break() -> None:
    names = [name for peer in PEERS for name in peer.breaks]
    assert len(set(names)) == len(names)


# --- the mail relays


async def mail(demo: Demo) -> Result:
    """Return the Result of `probed check mail-out`."""
    text = demo.config_text()
    found = await anyio.to_thread.run_sync(lambda: loads(text, Registry()))
    (chosen,) = [entry for entry in found.checks if entry.name == "mail-out"]
    return await Runner.of(found).run(chosen)


async def test_the_mail_relays_take_us_up_to_the_mail(demo: Demo) -> None:
    result = await mail(demo)
    assert result.outcome is Outcome.OK, result.findings
    names = [phase.name for phase in result.phases if not phase.skipped]
    for relay in ("primary", "backup"):
        for step in ("banner", "starttls", "tls", "ehlo_tls", "auth", "mail", "rcpt", "quit"):
            assert f"{relay}/{step}" in names


async def test_smtp_broken_says_to_switch_to_the_backup(demo: Demo) -> None:
    await demo.break_("smtp")
    result = await mail(demo)
    assert (result.outcome, result.findings[0].reason) == (
        Outcome.DEGRADED,
        "smtp.switch_to_backup",
    )
    assert "this client is on a block list" in result.findings[1].message
    await demo.mend("smtp")
    assert (await mail(demo)).outcome is Outcome.OK


async def test_backup_broken_says_that_nobody_could_take_over(demo: Demo) -> None:
    await demo.break_("backup")
    result = await mail(demo)
    assert [finding.reason for finding in result.findings] == ["smtp.backup_unready"]
    await demo.break_("smtp")
    result = await mail(demo)
    assert (result.outcome, result.worst and result.worst.reason) == (
        Outcome.FAILED,
        "smtp.banner_rejected",
    )
    await demo.mend("backup")
    await demo.mend("smtp")
    assert (await mail(demo)).outcome is Outcome.OK


async def test_without_aiosmtpd_the_remedy_is_said(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiosmtpd.smtp", None)
    with pytest.raises(DemoUnavailable, match=r"aiosmtpd: install .* probed-daemon\[demo\]$"):
        async with Demo():
            pytest.fail("it cannot start")
