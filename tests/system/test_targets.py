"""Whom a check asks may hold a secret, in each kind's own way: it is shown nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probed.config import load
from probed.registry import Registry

TOKEN = "canary7f3z0123456789abcdef"
MARK = "7f3z"

ADDRESSES = {
    "tcp": "probe: tcp, address: '${API_TOKEN}.invalid:25'",
    "tls": "probe: tls, address: '${API_TOKEN}.invalid:443'",
    "dns": "probe: dns, query: '${API_TOKEN}.invalid', server: '127.0.0.1:9'",
    "dns-server": "probe: dns, query: a.test, server: '${API_TOKEN}.invalid:53'",
    "gateway-path": "probe: gateway, url: 'http://127.0.0.1:9/bot${API_TOKEN}/getMe'",
    "gateway-path-quoted": "probe: gateway, url: 'http://127.0.0.1:9/a%2F${API_TOKEN}'",
    "gateway-host": "probe: gateway, url: 'http://${API_TOKEN}.invalid/'",
    "gateway-socket": "probe: gateway, url: 'http://localhost/', uds: '/tmp/${API_TOKEN}'",
    "gateway-upstream": "probe: gateway, url: 'http://127.0.0.1:9/', upstreams: [{name: up, url: 'http://${API_TOKEN}.invalid/x${API_TOKEN}'}]",
    "mongo-host": "probe: mongo, host: '${API_TOKEN}.invalid'",
    "mongo-uri": "probe: mongo, uri: 'mongodb://${API_TOKEN}.invalid/'",
    "mongo-srv": "probe: mongo, uri: 'mongodb+srv://${API_TOKEN}.x.invalid/'",
    "smtp": "probe: smtp, helo: a.test, relays: [{name: one, host: '${API_TOKEN}.invalid'}]",
    "email_auth": "probe: email_auth, domain: '${API_TOKEN}.invalid'",
    "redis": "probe: email_queue, redis: {address: '${API_TOKEN}.invalid:6379', keys: [{key: q, type: list}]}",
    "mongodb": "probe: email_queue, mongodb: {address: '${API_TOKEN}.invalid:27017', database: d, collection: c, time: t}",
    "command": "probe: email_queue, command: {run: ['/nowhere/${API_TOKEN}', '${API_TOKEN}']}",
    "roundtrip": "probe: email_roundtrip, relay: {name: one, host: '${API_TOKEN}.invalid'}, helo: a.test, from: a@a.test, rcpt: b@b.test, imap: {host: '${API_TOKEN}.invalid', username: b, secret: 'env:API_TOKEN'}, interval: 10m",
}  # fmt: skip


def written(folder: Path) -> Path:
    path = folder / "probed.yaml"
    checks = "".join(f"  - {{name: {name}, {text}}}\n" for name, text in ADDRESSES.items())
    path.write_text(
        "service: {listen: 127.0.0.1:0}\ntelemetry: {listen: 127.0.0.1:0}\n"
        f"defaults: {{timeout: 2s, confirm: 0, fail_after: 1}}\nchecks:\n{checks}".replace(
            "'env:API_TOKEN'", "{env: API_TOKEN}"
        )
    )
    return path


def test_every_kind_that_has_an_address_is_tried(tmp_path: Path) -> None:
    config = load(written(tmp_path), Registry(), environ={"API_TOKEN": TOKEN})
    assert {check.probe.kind for check in config.checks} == set(Registry().kinds()) - {"stripe"}
    for check in config.checks:
        assert MARK not in check.target, check.name


@pytest.mark.timeout(90)
@pytest.mark.parametrize("output", ["text", "json", "jsonl", "junit", "nagios", "github"])
def test_no_format_of_a_check_shows_it(
    probed: Callable[..., Any], tmp_path: Path, output: str
) -> None:
    path = written(tmp_path)
    done = probed("check", "--all", "-v", "-o", output, "-c", str(path), env={"API_TOKEN": TOKEN})
    shown = done.stdout + done.stderr
    assert "gateway-path" in shown
    assert MARK not in shown.lower()


@pytest.mark.parametrize(
    "command", [("list",), ("list", "-o", "json"), ("config", "check"), ("rules",)]
)
def test_no_list_and_no_rule_shows_it(
    probed: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = probed(*command, "-c", str(written(tmp_path)), env={"API_TOKEN": TOKEN})
    assert done.returncode == 0
    assert MARK not in (done.stdout + done.stderr).lower()


@pytest.mark.timeout(90)
def test_no_output_of_the_daemon_shows_it(start: Any, until: Any, get: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    text = written(tmp_path).read_text()
    text = text.replace("listen: 127.0.0.1:0}", f"listen: 127.0.0.1:0, state_dir: {state}}}", 1)
    daemon = start(text, API_TOKEN=TOKEN)
    until(lambda: all(daemon.outcomes(name) for name in ADDRESSES), "all have run", 60)
    pages = [
        f"{daemon.api}{path}"
        for path in ("/", "/api/v1/checks", "/checks/gateway-path", "/checks/dns")
    ]
    for url in (f"{daemon.metrics}/metrics", *pages):
        assert MARK not in get(url)[2].lower(), url
    assert daemon.stop() == 0
    assert MARK not in daemon.log.read_text().lower()
    for file in state.rglob("*"):
        assert not file.is_file() or MARK.encode() not in file.read_bytes().lower(), file
