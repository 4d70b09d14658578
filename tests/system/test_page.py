"""The status page over HTTP, as the daemon serves it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from probed.web.page.assets import POLICY
from probed.web.page.live import STREAMS
from tests.programs import Daemon, serving, wait_until

HEAD = """\
service: {{listen: '127.0.0.1:0'{service}}}
telemetry: {{listen: '127.0.0.1:0'}}
defaults: {{interval: 500ms, timeout: 400ms, fail_after: 1, recover_after: 1, confirm: 0}}
checks:
"""
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>\\x1b[31m'
MARK = "canary5e4f7a1b"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str


def ask(url: str, *, method: str = "GET", **headers: str) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path or "/", headers=named)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read().decode())
    finally:
        connection.close()


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


class Elements(HTMLParser):
    """Which elements there are, and that each that is opened is closed."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.handlers: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@contextmanager
def web_peer() -> Iterator[tuple[int, dict[str, Any]]]:
    """An HTTP server whose answer a test may change."""
    says: dict[str, Any] = {"status": 200, "body": b"{}"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(says["status"])
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(says["body"])))
            self.end_headers()
            self.wfile.write(says["body"])

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as port:
        yield port, says


def down(daemon: Daemon, name: str, verdict: str = "down") -> None:
    wait_until(lambda: daemon.checks()[name]["verdict"] == verdict, f"{name} {verdict}")


@pytest.fixture
def peer() -> Iterator[tuple[int, dict[str, Any]]]:
    with web_peer() as found:
        yield found


def config(port: int, more: str = "", service: str = "") -> str:
    return HEAD.format(service=service) + (
        f"  - {{name: web, probe: gateway, url: 'http://127.0.0.1:{port}/', tags: [shop],"
        f" headers: {{Authorization: Bearer {MARK}}}, runbook: 'https://wiki.example.com/web'}}\n"
        f"  - {{name: gone, probe: tcp, address: '127.0.0.1:9', severity: P0}}\n{more}"
    )


PAGES = ("/", "/checks/web", "/checks/web/settings", "/checks/gone", "/config", "/status")


def test_every_page_is_whole_safe_and_says_what_there_is(start: Any, peer: Any) -> None:
    port, says = peer
    says |= {"status": 503, "body": HOSTILE.encode()}
    daemon = start(config(port))
    down(daemon, "web")
    down(daemon, "gone")
    for path in PAGES:
        answer = ask(daemon.api + path)
        assert answer.status == 200, path
        elements = Elements(answer.text)
        assert not elements.handlers, path
        assert "img" not in elements.names
        assert elements.names.count("script") <= 1
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert MARK not in answer.text
    overview = ask(daemon.api).text
    assert overview.index("gone</a>") < overview.index("web</a>"), "P0 comes first"
    assert "Connection refused: nothing is listening on" in overview
    check = ask(daemon.api + "/checks/web").text
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in check
    assert 'href="https://wiki.example.com/web"' in check
    settings = ask(daemon.api + "/checks/web/settings").text
    assert re.search(r"url: http://127\.0\.0\.1:\d+/ +# .*probed-0\.yaml:5", settings)
    assert "interval: 500ms" in settings
    assert "defaults" in settings
    status = ask(daemon.api + "/status").text
    assert "probed.loop.lag" in status
    assert ask(daemon.api + "/favicon.ico").status == 200
    missing = ask(daemon.api + "/checks/" + quote("<b>no</b>"))
    assert missing.status == 404
    assert "<b>" not in missing.text


def test_a_filter_works_without_a_script(start: Any, peer: Any) -> None:
    port, _ = peer
    daemon = start(config(port))
    down(daemon, "gone")
    down(daemon, "web", "up")

    def rows(query: str) -> list[str]:
        return re.findall(r'<tr id="check-(\w+)"', ask(f"{daemon.api}/?{query}").text)

    assert rows("") == ["web", "gone"]
    assert rows("state=down") == ["gone"]
    assert rows("state=up") == ["web"]
    assert rows("kind=tcp") == ["gone"]
    assert rows("tag=shop") == ["web"]
    assert rows("q=WE") == ["web"]
    assert rows("q=nothing") == []
    assert rows("state=nonsense&kind=%3Cb%3E") == []
    assert '<option value="down" selected>' in ask(f"{daemon.api}/?state=down").text
    assert '<noscript><meta http-equiv="refresh"' in ask(daemon.api).text


def test_a_badge(start: Any, peer: Any) -> None:
    daemon = start(config(peer[0]))
    down(daemon, "gone")
    answer = ask(daemon.api + "/badge/gone.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "gone: down" in answer.text
    assert ask(daemon.api + "/badge/other.svg").status == 404


def test_an_open_page_is_told_what_has_changed(start: Any, peer: Any) -> None:
    port, says = peer
    daemon = start(config(port))
    down(daemon, "web", "up")
    parts = urlsplit(daemon.api)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request("GET", "/events?state=")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "text/event-stream"
    says["status"] = 500
    heard: dict[str, list[Any]] = {"parts": [], "said": []}
    kind = ""
    end = time.monotonic() + 15
    while "web is down" not in str(heard["said"]) and time.monotonic() < end:
        line = answer.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            heard[kind].append(json.loads(line.removeprefix("data: ")))
    assert "web is down" in str(heard["said"])
    changed = {name: text for parts in heard["parts"] for name, text in parts.items()}
    assert {"check-web", "summary", "troubles"} <= changed.keys()
    assert "http.server_error" in changed["troubles"] or "http.status" in changed["troubles"]
    assert daemon.stop() == 0, "an open page does not hold up the end"
    connection.close()


def test_for_a_page_too_many_the_oldest_is_closed(start: Any, peer: Any) -> None:
    daemon = start(config(peer[0]))
    parts = urlsplit(daemon.api)
    connections = []
    answers = []
    try:
        for _ in range(STREAMS + 1):
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
            connections.append(connection)
            connection.request("GET", "/events")
            answers.append(connection.getresponse())
            assert answers[-1].status == 200
            assert answers[-1].readline() == b"retry: 3000\n"
        told = answers[0].read()
        assert told.endswith(b"retry: 30000\n\n"), "it comes back, and not at once"
        assert not answers[-1].isclosed()
        assert ask(daemon.api).status == 200
    finally:
        for connection in connections:
            connection.close()


def test_a_reader_needs_the_password_and_an_admin_another(
    start: Any, peer: Any, tmp_path: Any
) -> None:
    port, says = peer
    for name in ("read", "admin"):
        (tmp_path / name).write_text(f"{MARK}-{name}\n")
        (tmp_path / name).chmod(0o600)
    service = (
        f", access: {{read: {{file: {tmp_path}/read}}, admin: {{file: {tmp_path}/admin}}}},"
        " allowed_hosts: [status.example.com]"
    )
    daemon = start(config(port, service=service))
    read, admin = basic(f"{MARK}-read"), basic(f"{MARK}-admin")
    for path in (*PAGES, "/api/v1/checks", "/events", "/badge/web.svg"):
        denied = ask(daemon.api + path)
        assert denied.status == 401, path
        assert denied.headers["www-authenticate"].startswith("Basic ")
        assert ask(daemon.api + path, Authorization="Basic !!").status == 401
        assert ask(daemon.api + path, Authorization=basic("wrong")).status == 401
    for path in PAGES:
        for password in (read, admin, f"Bearer {MARK}-read"):
            seen = ask(daemon.api + path, Authorization=password)
            assert seen.status == 200
            assert MARK not in seen.text
    run = daemon.api + "/checks/web/run"
    assert ask(run, method="POST", Authorization=read).status == 401
    for elsewhere in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert ask(run, method="POST", Authorization=admin, **elsewhere).status == 403
    says["status"] = 500
    ran = ask(run, method="POST", Authorization=admin, Origin=daemon.api)
    assert (ran.status, ran.headers["location"]) == (303, "/checks/web")
    assert ask(run, Authorization=admin).status == 404, "reading changes nothing"
    assert ask(daemon.api, Authorization=read, Host="evil.example").status == 400
    assert ask(daemon.api, Authorization=read, Host="status.example.com").status == 200
    assert MARK not in daemon.log.read_text()


def test_nobody_may_run_a_check_unless_somebody_is_named(start: Any, peer: Any) -> None:
    daemon = start(config(peer[0]))
    assert ask(daemon.api + "/checks/web/run", method="POST").status == 403
    assert "Run now" not in ask(daemon.api + "/checks/web").text


def test_what_was_not_reloaded_is_told(start: Any, peer: Any, probed: Any) -> None:
    daemon = start(config(peer[0]))
    daemon.config.write_text("checks: [{name: web, probe: nonsense}]")
    assert probed("reload", "--socket", str(daemon.control)).returncode == 3
    for path in ("/config", "/status"):
        text = ask(daemon.api + path).text
        assert "The last reload was refused" in text
        assert "nonsense" in text
