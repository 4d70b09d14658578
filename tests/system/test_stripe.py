"""A stripe check in the installed program: what it shows, and that keys and secrets are in no output."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

MARK = "7f3acanary"
KEY = "rk_test_" + MARK + "Key0123456789"
SECRET = "whsec_" + MARK + "Secret0123456789"
PREVIOUS = "whsec_" + MARK + "Previous0123456789"
HEADER = MARK + "-header"
DSN = MARK + "-dsn"


@contextmanager
def echoing(status: int) -> Iterator[tuple[int, list[str]]]:
    """A peer that tells whoever asks all that it was told, as errors of Stripe's."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = f"{self.path} {self.headers}".replace("\n", " ")
            seen.append(told)
            error = {"type": "api_error", "code": told, "message": told}
            body = json.dumps({"error": error, "last": told}).encode()
            self.send_response(status)
            for name in ("Request-Id", "Location", "Server", "Stripe-Rate-Limited-Reason"):
                self.send_header(name, told.encode("latin-1", "replace").decode("latin-1")[:2000])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def clean(what: str, text: str | bytes) -> None:
    found = text.decode("latin-1") if isinstance(text, bytes) else text
    at = found.find(MARK)
    assert at < 0, f"a secret is in {what}: {found[max(0, at - 80) : at + 80]}"


@pytest.mark.timeout(90)
def test_no_output_holds_a_key_or_a_secret(
    start: Any, until: Any, get: Any, probed: Callable[..., Any], tmp_path: Path
) -> None:
    environment = {"KEY": KEY, "SECRET": SECRET, "PREVIOUS": PREVIOUS, "HEADER": HEADER, "DSN": DSN}
    environment["STRIPE_LOG"] = "debug"
    with echoing(500) as (bad, seen), echoing(403) as (forbidden, _), echoing(400) as (hook, _):
        checks = "".join(
            f"""
  - name: stripe-{port}
    probe: stripe
    mode: test
    key: {{env: KEY}}
    api_base: http://127.0.0.1:{port}
    steps: {{reach: 1s, api: 1s, events: 1s, endpoints: 1s, webhook: 1s, drift: 1s}}
    webhook:
      {{url: "http://127.0.0.1:{hook}/hook", secret: {{env: SECRET}}, synthetic: signed,
       previous_secret: {{env: PREVIOUS}}}}
    drift: {{{drift}}}
"""
            for port, drift in (
                (bad, (f"app: {{url: 'http://127.0.0.1:{hook}/', last_event: $.last, "
                      "headers: {X-Key: {env: HEADER}}}")),
                (forbidden, "sql: {library: sqlite3, dsn: {env: DSN}, last_event: select 1}"),
            )
        )  # fmt: skip
        config = f"""
service: {{listen: 127.0.0.1:0, state_dir: {tmp_path / "state"}}}
telemetry: {{listen: 127.0.0.1:0}}
defaults: {{interval: 1s, timeout: 1s, fail_after: 1}}
checks:{checks}"""
        daemon = start(config, **environment)
        until(lambda: daemon.scrape().count("probed_stripe_step_age_seconds{") > 8, "all have run")
        for accept in ("text/plain", "application/openmetrics-text"):
            clean(f"/metrics as {accept}", daemon.scrape(accept))
        for path in ("checks", "status", f"checks/stripe-{bad}", f"checks/stripe-{forbidden}"):
            clean(f"the API's {path}", get(f"{daemon.api}/api/v1/{path}")[2])
        path = tmp_path / "probed-0.yaml"
        for command in (
            ["check", "--all", "-v"],
            ["check", "--all", "-o", "json"],
            ["list", "-o", "json"],
            ["config", "show"],
            ["config", "check"],
        ):
            done = probed(*command, "-c", str(path), env=environment)
            assert done.returncode in {0, 2}, done.stderr
            clean(" ".join(command), done.stdout + done.stderr)
        assert "reads a month" in done.stdout
        assert daemon.stop() == 0
        clean("the log", daemon.log.read_text())
        for file in (tmp_path / "state").rglob("*"):
            if file.is_file():
                clean(file.name, file.read_bytes())
        assert KEY in " ".join(seen), "the canary was not even sent"


@pytest.mark.parametrize(
    "mistake",
    [
        "key: {env: LIVE}",
        "key: " + KEY,
        "key: [" + KEY + "]",
        "webhook: {url: 'http://h/', secret: {env: KEY}}",
        "webhook: {url: 'http://u:" + MARK + "@h/'}",
        "drift: {sql: {library: sqlite3, dsn: [" + MARK + "], last_event: x}}",
    ],
)
def test_no_error_of_the_configuration_holds_a_secret(
    probed: Callable[..., Any], tmp_path: Path, mistake: str
) -> None:
    path = tmp_path / "bad.yaml"
    key = "" if mistake.startswith("key") else "    key: {env: KEY}\n"
    path.write_text(
        f"checks:\n  - name: a\n    probe: stripe\n    mode: test\n{key}    {mistake}\n"
    )
    environment = {"KEY": KEY, "LIVE": KEY.replace("test", "live")}
    for command in (["config", "check"], ["config", "show"], ["check", "--all"], ["run"]):
        done = probed(*command, "-c", str(path), env=environment)
        assert done.returncode in {3, 78}
        assert "bad.yaml:" in done.stderr
        clean(" ".join(command), done.stdout + done.stderr)
