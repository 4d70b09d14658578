"""Redirects are followed as far as they are allowed to lead, and trusted with nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probed.config import ConfigError, loads
from probed.config.show import show
from probed.engine.runner import execute
from probed.model import Outcome, Result
from probed.net import DenyList, Network, Resolver
from probed.registry import Registry
from probed.testing import Answer, Authority, Received, http_server, no_leaks, serve
from probed.testing.nameserver import dns_server
from probed.testing.peer import Peer
from probes.gateway import GatewayProbe

pytestmark = pytest.mark.anyio

CANARY = "canary-5d1e88"
ZONE = {("a.test", "A"): ["127.0.0.1"], ("b.test", "A"): ["127.0.0.1"]}


def to(location: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": location}, body="moved")


async def ask(url: str, *, redirects: int = 3, timeout: float = 2.0, **more: Any) -> Result:
    async with dns_server(ZONE) as names:
        network = Network(Resolver([names.server], hosts=None))
        probe = GatewayProbe(url=url, redirects=redirects, **more)
        async with no_leaks():
            return await execute(probe, network=network, timeout=timeout)


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def phases(result: Result) -> list[str]:
    return [phase.name for phase in result.phases]


def secrets_of(requests: list[Received]) -> list[bool]:
    return [CANARY in str(request.headers) for request in requests]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_in_phases_of_its_own(status: int) -> None:
    async with http_server({"/": to("/there?x=1#part", status), "/there": Answer()}) as server:
        result = await ask(server.url(), headers={"X-Key": CANARY})
        assert [request.target for request in server.requests] == ["/", "/there?x=1"]
        assert secrets_of(server.requests) == [True, True]
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    assert phases(result) == [
        "resolve", "connect", "request", "wait",
        "redirect/1/resolve", "redirect/1/connect", "redirect/1/request", "redirect/1/wait",
        "redirect/1/receive",
    ]  # fmt: skip
    assert result.facts["http.response.status_code"] == 200
    assert result.facts["http.request.resend_count"] == 1
    assert result.facts["url.full"] == server.url("")


@pytest.mark.parametrize("status", [300, 304, 305])
async def test_other_statuses_of_the_kind_are_not_followed(status: int) -> None:
    async with http_server({"/": to("/there", status)}) as server:
        assert found(await ask(server.url())) == [("failed", "http.redirected")]
        assert len(server.requests) == 1


async def test_a_redirect_that_is_expected_is_the_answer() -> None:
    async with http_server({"/": to("/there")}) as server:
        result = await ask(server.url(), status=[302])
        assert (result.outcome, len(server.requests)) == (Outcome.OK, 1)
    assert phases(result)[-1] == "receive"


async def test_a_redirect_that_leads_nowhere_is_the_answer() -> None:
    async with http_server({"/": Answer(status=302)}) as server:
        assert found(await ask(server.url())) == [("failed", "http.redirected")]


async def test_the_last_answer_is_judged() -> None:
    async with http_server({"/": to("/there"), "/there": Answer(status=503)}) as server:
        assert found(await ask(server.url())) == [("failed", "http.unavailable")]


async def test_what_fails_behind_a_redirect_is_named_by_its_phase() -> None:
    async with serve("refused") as nobody, http_server({}) as server:
        server.answers["/"] = to(f"http://127.0.0.1:{nobody.port}/")
        result = await ask(server.url())
    assert found(result) == [("failed", "connect.refused")]
    assert result.findings[0].evidence["phase"] == "redirect/1/connect"
    assert result.findings[0].evidence["server.port"] == nobody.port


@pytest.mark.parametrize(("redirects", "outcome"), [(2, "too_many_redirects"), (3, None)])
async def test_as_many_are_followed_as_are_allowed(redirects: int, outcome: str | None) -> None:
    answers = {"/": to("/1"), "/1": to("/2"), "/2": to("/3"), "/3": Answer()}
    async with http_server(answers) as server:
        result = await ask(server.url(), redirects=redirects)
        assert len(server.requests) == redirects + 1
    assert found(result) == ([("failed", f"http.{outcome}")] if outcome else [])


@pytest.mark.parametrize("circle", [{"/": "/"}, {"/": "/1", "/1": "/"}])
async def test_a_circle_is_left_at_once(circle: dict[str, str]) -> None:
    async with http_server({path: to(target) for path, target in circle.items()}) as server:
        result = await ask(server.url(), redirects=10)
        assert len(server.requests) == len(circle)
    assert found(result) == [("failed", "http.redirect_loop")]


@pytest.mark.parametrize("host", ["a.test", "127.0.0.1"])
async def test_another_port_is_another_origin(host: str) -> None:
    async with http_server({"/": Answer()}) as other, http_server({}) as server:
        server.answers["/"] = to(other.url("/", host))
        result = await ask(server.url("/", host), headers={"X-Key": CANARY, "Cookie": CANARY})
        assert result.outcome is Outcome.OK
        assert secrets_of(server.requests + other.requests) == [True, False]
        assert other.requests[0].headers["host"] == f"{host}:{other.port}"


async def test_headers_do_not_come_back_from_another_origin() -> None:
    """Or else the other origin could have them sent to a path that it chooses."""
    async with http_server({"/back": Answer()}) as server:
        server.answers["/"] = to(server.url("/via", "b.test"))
        server.answers["/via"] = to(server.url("/back", "a.test"))
        result = await ask(server.url("/", "a.test"), headers={"X-Key": CANARY})
        assert result.outcome is Outcome.OK
        assert secrets_of(server.requests) == [True, False, False]


async def test_a_relative_location_stays_with_the_origin() -> None:
    async with http_server({"/a/b?c": to("../d"), "/d": Answer()}) as server:
        result = await ask(server.url("/a/b?c"), headers={"X-Key": CANARY})
        assert secrets_of(server.requests) == [True, True]
    assert result.outcome is Outcome.OK


async def test_bytes_past_ascii_are_encoded() -> None:
    answer = Answer(status=302, headers={"Location": "/caf\xc3\xa9"})
    async with http_server({"/": answer, "/caf%C3%A9": Answer()}) as server:
        assert (await ask(server.url())).outcome is Outcome.OK


async def test_to_https_and_never_back(tmp_path: Path) -> None:
    authority = Authority()
    tls = {"ca": authority.pem_file(tmp_path)}
    context = authority.issue("a.test").context
    async with http_server({"/": Answer()}, tls=context) as secure, http_server({}) as plain:
        plain.answers["/"] = to(secure.url("/", "a.test"))
        result = await ask(plain.url("/", "a.test"), tls=tls, headers={"X-Key": CANARY})
        assert (result.outcome, found(result)) == (Outcome.OK, [])
        assert "redirect/1/tls" in phases(result)
        assert secrets_of(secure.requests) == [False]

        secure.answers["/"] = to(plain.url("/", "a.test"))
        plain.answers["/"] = Answer()
        plain.requests.clear()
        result = await ask(secure.url("/", "a.test"), tls=tls)
        assert not plain.requests
    assert found(result) == [("failed", "http.redirect_refused")]
    assert "leads from https to http" in result.findings[0].message


async def test_our_certificate_stays_with_its_origin(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("client.test").files(tmp_path)
    tls = {"ca": authority.pem_file(tmp_path), "certificate": certificate, "key": key}
    context = authority.issue("a.test", "b.test", clients=authority).context
    async with http_server({"/same": Answer()}, tls=context) as server:
        server.answers["/"] = to("/same")
        assert (await ask(server.url("/", "a.test"), tls=tls)).outcome is Outcome.OK
        server.answers["/"] = to(server.url("/same", "b.test"))
        result = await ask(server.url("/", "a.test"), tls=tls)
    assert found(result) == [("failed", "tls.client_certificate")]


async def test_of_the_certificates_on_the_way_the_one_that_ends_first_is_judged(
    tmp_path: Path,
) -> None:
    authority = Authority()
    tls = {"ca": authority.pem_file(tmp_path)}
    short = authority.issue("a.test", days=10).context
    long = authority.issue("b.test", days=90).context
    async with http_server({}, tls=short) as first, http_server({}, tls=long) as second:
        first.answers["/"] = to(second.url("/", "b.test"))
        second.answers["/"] = Answer()
        result = await ask(first.url("/", "a.test"), tls=tls)
    assert found(result) == [("degraded", "tls.expires_soon")]


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0XA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "025177524776", "169.254.43518",
        "169.16689662", "169.254.169.254%2e", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]", "[::ffff:0:a9fe:a9fe]", "[2001:db8::5efe:a9fe:a9fe]",
        "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[fd00:ec2::254]", "[::]", "0", "0.0.0.0",
        "[::ffff:0.0.0.0]", "224.0.0.1", "meta.test", "META.test.", "169。254。169。254",
    ],
)  # fmt: skip
async def test_nobody_leads_us_where_nobody_may_go(host: str) -> None:
    location = f"http://{host}/latest/{CANARY}".encode().decode("latin-1")
    async with (
        http_server({"/": to(location)}) as server,
        dns_server({("meta.test", "A"): ["169.254.169.254"]}) as names,
    ):
        network = Network(Resolver([names.server], hosts=None))
        probe = GatewayProbe(url=server.url(), redirects=3)
        async with no_leaks():
            result = await execute(probe, network=network, timeout=2.0)
    assert found(result) == [("failed", "http.redirect_refused")]
    assert CANARY not in repr(result)
    assert "redirect/1/request" not in phases(result)


@pytest.mark.parametrize(
    "location",
    [
        "http://me:secret@a.test/", "//me@a.test/", "ftp://a.test/", "file:///etc/passwd",
        "javascript:alert(1)", "gopher://a.test/",  "http://[::1", "http://a.test:0/",
        "http://a.test:99999/",  "/a b", "/a\tb", "http://a..test/", "http://\x80/",
        "/" + "x" * 9000, "http://a.test\\@b.test/",
    ],
)  # fmt: skip
async def test_what_is_no_address_is_not_followed(location: str) -> None:
    async with http_server({"/": to(location)}) as server:
        result = await ask(server.url())
        assert len(server.requests) == 1
    assert found(result) == [("failed", "http.redirect_refused")]
    assert "secret" not in repr(result)


async def test_of_where_it_leads_only_the_origin_is_shown() -> None:
    async with http_server({"/": to(f"/{CANARY}?token={CANARY}")}) as server:
        server.answers[f"/{CANARY}"] = Answer(status=500)
        result = await ask(server.url())
    assert found(result) == [("failed", "http.status")]
    assert CANARY not in repr(result)


async def test_the_body_of_a_redirect_is_not_read() -> None:
    async def endless(peer: Peer) -> None:
        await peer.read_until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 9999999999\r\n\r\n")
        await peer.until_gone()

    async with serve(endless) as server:
        result = await ask(f"http://127.0.0.1:{server.port}/first", redirects=2)
    assert found(result) == [("failed", "http.redirect_loop")]


async def test_one_deadline_covers_all_hops() -> None:
    async with http_server({"/0": to("/1")}) as server:
        for hop in range(1, 11):
            answer = to(f"/{hop + 1}")
            server.answers[f"/{hop}"] = Answer(answer.status, answer.headers, delay=0.1)
        result = await ask(server.url("/0"), redirects=10, timeout=0.35)
    assert found(result) == [("failed", "timeout.wait")]
    assert 0.3 < result.duration_s < 0.8


async def test_an_upstream_is_asked_beside_redirects() -> None:
    async with http_server({"/": to("/there"), "/there": Answer(), "/up": Answer()}) as server:
        upstream = {"name": "app", "url": server.url("/up")}
        result = await ask(server.url(), upstreams=[upstream])
    assert result.outcome is Outcome.OK
    assert {"upstream/app/wait", "redirect/1/wait"} <= set(phases(result))


@pytest.mark.parametrize("redirects", [-1, 11, "3", True])
def test_at_most_ten(redirects: object) -> None:
    text = f"checks: [{{name: a, probe: gateway, url: 'http://h/', redirects: {redirects!r}}}]"
    with pytest.raises(ConfigError, match=r"checks\[0\]\.redirects: "):
        loads(text.replace("True", "true"), Registry({"gateway": GatewayProbe}), environ={})


def test_none_by_default() -> None:
    text = "checks: [{name: a, probe: gateway, url: 'http://h/'}]"
    config = loads(text, Registry({"gateway": GatewayProbe}), environ={})
    assert "redirects: 0" in show(config)


@pytest.mark.parametrize(
    "address", ["64:ff9b:1::a9fe:a9fe", "::ffff:0:a9fe:a9fe", "2001:db8::5efe:a9fe:a9fe"]
)
def test_more_ways_to_embed_an_address_are_denied(address: str) -> None:
    assert DenyList().denies(address)


def test_an_address_that_embeds_a_harmless_one_is_not() -> None:
    assert not DenyList().denies("64:ff9b::c000:201")
    assert not DenyList().denies("2001:db8::200:5efe:c000:201")
