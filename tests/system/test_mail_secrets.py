"""Nobody who logs in to a relay or a mailbox, and no address, is in any output of the daemon."""

from __future__ import annotations

import socketserver
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from probed.testing.certificates import Authority
from tests.programs import collector

MARK = "9c2e"
USER, SECRET = f"canary-user-{MARK}", f"canary-secret-{MARK}"
SENDER, RCPT = f"canary-from-{MARK}@sender.example", f"canary-rcpt-{MARK}@rcpt.example"
BOX = f"canary-box-{MARK}"


@contextmanager
def echoing(authority: Authority, refuses: str) -> Iterator[tuple[int, list[str]]]:
    """A relay over TLS that refuses one command, and repeats in each answer all that it was told."""
    context = authority.issue("127.0.0.1").context
    heard: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            said = ""
            self.wfile.write(b"220 mx ESMTP\r\n")
            for raw in self.rfile:
                line = raw.decode("latin-1").strip()
                heard.append(line)
                said += " " + line
                code = 550 if line.startswith(refuses) else 235 if line[:4] == "AUTH" else 250
                if line.startswith("EHLO"):
                    self.wfile.write(b"250-mx\r\n")
                    self.wfile.write(b"250 AUTH PLAIN\r\n")
                else:
                    self.wfile.write(f"{code} you said{said}\r\n".encode("latin-1"))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def get_request(self) -> Any:
            sock, address = super().get_request()
            return context.wrap_socket(sock, server_side=True), address

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Its clients come and go."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], heard
        finally:
            server.shutdown()
            thread.join()


def clean(what: str, text: str | bytes) -> None:
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    assert MARK not in text, f"{what}: {text[max(0, text.find(MARK) - 80) :][:160]}"
    for hidden in (USER, SECRET, f"\0{USER}\0{SECRET}"):
        encoded = b64encode(hidden.encode()).decode()
        assert encoded[:16] not in text, what
        assert encoded.lower()[:20] not in text.lower(), what


@pytest.mark.timeout(90)
def test_no_output_tells_who_sends_mail(
    start: Any,
    until: Any,
    get: Any,
    probed: Callable[..., Any],
    authority: Authority,
    tmp_path: Path,
) -> None:
    ca = authority.pem_file(tmp_path)
    with (
        echoing(authority, "AUTH") as (no_login, first),
        echoing(authority, "RCPT") as (no_rcpt, second),
        echoing(authority, "MAIL") as (no_sender, third),
        collector() as (otlp, bodies),
    ):
        checks = "".join(
            f"""
  - name: mail-{port}
    probe: smtp
    relays: [{{name: mx, host: 127.0.0.1, port: {port}, tls: implicit}}]
    helo: probe.test
    tls: {{ca: {ca}}}
    auth: {{username: {USER}, secret: {{env: PASSWORD}}}}
    envelope: {{from: {SENDER}, rcpt: {RCPT}}}"""
            for port in (no_login, no_rcpt, no_sender)
        )
        config = f"""
service: {{listen: 127.0.0.1:0, state_dir: {tmp_path / "state"}}}
telemetry:
  listen: 127.0.0.1:0
  metrics_interval: 1s
  otlp: {{endpoint: "{otlp}", compression: none}}
defaults: {{interval: 1s, timeout: 1s, fail_after: 1}}
checks:{checks}
  - name: roundtrip
    probe: email_roundtrip
    relay: {{name: mx, host: 127.0.0.1, port: {no_rcpt}, tls: implicit}}
    imap: {{host: 127.0.0.1, port: {no_rcpt}, username: {BOX}, secret: {{env: PASSWORD}}}}
    from: {SENDER}
    rcpt: {RCPT}
    helo: probe.test
    tls: {{ca: {ca}}}
"""
        daemon = start(config, PASSWORD=SECRET)
        names = [f"mail-{port}" for port in (no_login, no_rcpt, no_sender)]
        until(lambda: len(daemon.scrape().split("probed_check_success")) > 4, "all have run")
        until(lambda: len(bodies) > 3, "telemetry was sent")
        for accept in ("text/plain", "application/openmetrics-text"):
            clean(f"/metrics as {accept}", daemon.scrape(accept))
        for path in ("checks", "status", *(f"checks/{name}" for name in names)):
            clean(f"the API's {path}", get(f"{daemon.api}/api/v1/{path}")[2])
        path = tmp_path / "probed-0.yaml"
        for command in (
            ["check", "--all", "-v"], ["check", "--all", "-o", "json"], ["check", "--all", "-o", "junit"],
            ["list", "-o", "json"], ["config", "show"], ["config", "show", "--origin"], ["config", "check"],
        ):  # fmt: skip
            done = probed(*command, "-c", str(path), env={"PASSWORD": SECRET})
            assert done.returncode in {0, 2}, done.stderr
            clean(" ".join(command), done.stdout + done.stderr)
        assert daemon.stop() == 0
        clean("the log", daemon.log.read_text())
        for number, body in enumerate(bodies):
            clean(f"OTLP request {number}", body)
        for file in (tmp_path / "state").rglob("*"):
            if file.is_file():
                clean(file.name, file.read_bytes())
        told = " ".join([*first, *second, *third])
        assert b64encode(f"\0{USER}\0{SECRET}".encode()).decode() in told
        assert SENDER in told
        assert RCPT in told
        logins = [line for line in first if line.startswith("AUTH")]
        # One of the daemon's, and one of each command that runs the checks, however often each runs.
        assert len(logins) == 4
