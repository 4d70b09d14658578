"""A canary secret in every field that can hold one is in no output."""

from __future__ import annotations

import json
import socket
import threading
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

HEADER = "canary-header-7f3z"
QUERY = "canary-query-7f3z"
UPSTREAM = "canary-upstream-7f3z"
OTLP = "canary-otlp-7f3z"
BEARER = "canary-bearer-7f3z/+&\"'"
FILE = "canary-file-7f3z"
VARIABLE = "canary-variable-7f3z"
LINE = "canary-line-7f3z"
MARK = "7f3z"
SECRETS = (HEADER, QUERY, UPSTREAM, OTLP, BEARER, FILE, VARIABLE, LINE)


@dataclass
class Echo:
    """A peer that tells whoever asks all that it was told, in headers and body."""

    port: int
    seen: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def echoing(status: int) -> Iterator[Echo]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = f"{self.path} {self.headers}"
            echo.seen.append(told)
            line = told.replace("\n", " ").encode("latin-1", "replace")
            self.send_response(status)
            self.send_header("Server", line.decode("latin-1")[:2000])
            self.send_header("Location", f"http://x.test/{QUERY}?k={QUERY}")
            self.send_header("Content-Length", str(len(line)))
            self.end_headers()
            self.wfile.write(line)

        def do_POST(self) -> None:
            echo.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    echo = Echo(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield echo
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def greeting(line: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(line + b"\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def clean(what: str, text: str | bytes) -> None:
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    for secret in SECRETS:
        for form in {
            secret,
            urllib.parse.quote(secret, safe=""),
            json.dumps(secret)[1:-1],
            b64encode(secret.encode()).decode().rstrip("="),
        }:
            assert form not in text, f"{form} is in {what}"
    assert MARK not in text, (
        f"part of a canary is in {what}: {text[max(0, text.find(MARK) - 80) :][:160]}"
    )


@pytest.mark.timeout(90)
def test_no_output_holds_a_secret(
    start: Any, until: Any, get: Any, probed: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(FILE + "\n")
    (tmp_path / "secret").chmod(0o600)
    environment = {
        "HEADER": HEADER,
        "BEARER": f"Bearer {BEARER}",
        "UPSTREAM": UPSTREAM,
        "API_TOKEN": VARIABLE,
        "LINE_SECRET": LINE,
        "OTLP_KEY": OTLP,
    }
    hostile = f"500 hello {LINE}".encode()
    with echoing(500) as bad, echoing(302) as moved, echoing(200) as good, greeting(hostile) as tcp:
        config = f"""
service: {{listen: 127.0.0.1:0, location: here}}
telemetry:
  listen: 127.0.0.1:0
  metrics_interval: 1s
  otlp: {{endpoint: "http://127.0.0.1:{good.port}", compression: none, headers: {{X-Key: {{env: OTLP_KEY}}}}}}
defaults: {{interval: 1s, timeout: 1s, fail_after: 1}}
checks:
  - name: bad
    probe: gateway
    url: "http://127.0.0.1:{bad.port}/health?key={QUERY}&token=${{API_TOKEN}}"
    headers: {{X-Key: {{env: HEADER}}, Authorization: {{env: BEARER}}, X-File: {{file: secret}}}}
    upstreams:
      - {{name: up, url: "http://127.0.0.1:{bad.port}/?u={QUERY}", headers: {{X-Up: {{env: UPSTREAM}}}}}}
  - name: moved
    probe: gateway
    url: "http://127.0.0.1:{moved.port}/?key={QUERY}"
    headers: {{X-Key: {{env: HEADER}}}}
  - name: line
    probe: tcp
    address: 127.0.0.1:{tcp}
    expect: "^220 ${{LINE_SECRET}}"
"""
        daemon = start(config, **environment)
        until(lambda: len(daemon.scrape().split("probed_check_success")) > 4, "all have run")
        until(lambda: len(good.bodies) > 3, "telemetry was sent")
        for accept in ("text/plain", "application/openmetrics-text"):
            clean(f"/metrics as {accept}", daemon.scrape(accept))
        for path in ("checks", "status", "checks/bad", "checks/moved", "checks/line"):
            clean(f"the API's {path}", get(f"{daemon.api}/api/v1/{path}")[2])
        path = tmp_path / "probed-0.yaml"
        for command in (
            ["check", "--all", "-v"],
            ["check", "--all", "-o", "json"],
            ["check", "--all", "-o", "jsonl"],
            ["list"],
            ["list", "-o", "json"],
            ["config", "show"],
            ["config", "check"],
        ):
            done = probed(*command, "-c", str(path), env=environment)
            assert done.returncode in {0, 2}, done.stderr
            clean(" ".join(command), done.stdout + done.stderr)
        assert daemon.stop() == 0
        clean("the log", daemon.log.read_text())
        for number, body in enumerate(good.bodies):
            clean(f"OTLP request {number}", body)
        told = " ".join(bad.seen)
        for secret in (HEADER, QUERY, UPSTREAM, FILE, VARIABLE, BEARER):
            assert secret in told, "the canary was not even sent"
        assert OTLP in " ".join(good.seen)


@pytest.mark.parametrize(
    "mistake",
    [
        "headers: {Authorization: {env: BEARER}, 'X Y': {env: HEADER}}",
        'headers: {X-Key: "canary-literal-7f3z\\n"}',
        "headers: {X-Key: [canary-list-7f3z]}",
        "url: 'http://user:canary-user-7f3z@h/'",
        "url: '${API_TOKEN}'",
        "status: ['${API_TOKEN}']",
        "password: canary-password-7f3z",
        "headers: {X-Key: {env: canary-name-7f3z}}",
    ],
)
def test_no_error_of_the_configuration_holds_a_secret(
    probed: Callable[..., Any], tmp_path: Path, mistake: str
) -> None:
    path = tmp_path / "bad.yaml"
    url = "" if mistake.startswith("url") else "    url: http://h/\n"
    path.write_text(f"checks:\n  - name: a\n    probe: gateway\n{url}    {mistake}\n")
    environment = {"BEARER": BEARER, "HEADER": HEADER, "API_TOKEN": VARIABLE}
    for command in (["config", "check"], ["config", "show"], ["check", "--all"], ["run"]):
        done = probed(*command, "-c", str(path), env=environment)
        assert done.returncode in {3, 78}
        assert "bad.yaml:" in done.stderr
        clean(" ".join(command), done.stdout + done.stderr)
