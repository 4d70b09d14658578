"""Programs as processes of their own, for tests: waiting for them, asking them, `probed run`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATIENCE = 20.0
PROBED = str(Path(sys.executable).with_name("probed"))
STRICT = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
"""What Python itself warns of ends the program."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """What the condition gives as soon as it gives something; fails when it takes too long.

    For programs that cannot be awaited.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ask(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Status, content type and text; status 0 where nobody answers."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers.get("content-type", ""), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("content-type", ""), error.read().decode()
    except OSError:
        return 0, "", ""


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change how the program behaves."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PROBED_"))}
    return kept | {"NO_COLOR": "1"} | more


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """An HTTP server in a thread of its own: its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """One of OTLP: its URL, and what it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}", bodies


@dataclass
class Daemon:
    """`probed run` as a process of its own, its files, and where it listens."""

    process: subprocess.Popen[str]
    config: Path
    log: Path
    control: Path
    metrics: str = ""
    api: str = ""
    took: float = field(default=0.0)

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def scrape(self, accept: str = "text/plain") -> str:
        return ask(f"{self.metrics}/metrics", {"Accept": accept})[2]

    def ask(self, path: str) -> Any:
        """What the API says; None where it does not answer."""
        text = ask(f"{self.api}/api/v1/{path}")[2]
        return json.loads(text) if text else None

    def told(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    def transitions(self, check: str) -> list[str]:
        """`old -> new reason` of the check, in order."""
        return [
            entry["message"].partition(": ")[2]
            for entry in self.told()
            if entry.get("check") == check and " -> " in entry["message"]
        ]

    def total(self, series: str) -> float:
        """The sum of all series of `/metrics` of that name."""
        lines = self.scrape().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if re.match(rf"{series}[ {{]", line)]
        return sum(map(float, values))

    def reloads(self) -> dict[str, float]:
        """Reloads by their outcome."""
        found = {}
        for line in self.scrape().splitlines():
            if match := re.match(r'probed_config_reloads_total{outcome="(\w+)"} (\S+)', line):
                found[match[1]] = float(match[2])
        return found

    def checks(self) -> dict[str, dict[str, Any]]:
        """What the API says of each check; empty where it does not answer."""
        found = self.ask("checks")
        return {check["check"]: check for check in found["checks"]} if found else {}

    def outcomes(self, check: str) -> list[tuple[str, str | None]]:
        """Outcome and reason of the last runs of the check, the latest last."""
        found = self.ask(f"checks/{check}")
        runs = found["recent"] if found else []
        runs.sort(key=lambda run: run["started_at"])
        return [(run["outcome"], run["reason"]) for run in runs]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        begun = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(timeout=15)
        self.took = time.monotonic() - begun
        return code

    def sound(self) -> None:
        """Nothing went wrong in the daemon itself."""
        text = self.log.read_text()
        assert "Traceback" not in text, text
        assert "internal.error" not in text, text


def starter(folder: Path, **always: str) -> Iterator[Callable[..., Daemon]]:
    """Start daemons on a configuration, text or file, behind a command (`unshare -m …`) where one is
    given; they are gone at the end.
    """
    running: list[Daemon] = []

    def begin(config: str | Path, *, behind: Sequence[str] = (), **env: str) -> Daemon:
        number = len(running)
        path = config if isinstance(config, Path) else folder / f"probed-{number}.yaml"
        if isinstance(config, str):
            path.write_text(config)
        log, control = folder / f"probed-{number}.log", folder / f"{number}.sock"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [*behind, PROBED, "run", "-c", str(path)],
                stdout=stream,
                stderr=stream,
                text=True,
                env=environment(**(always | {"PROBED_CONTROL": str(control)} | env)),
            )
        daemon = Daemon(process, path, log, control)
        running.append(daemon)

        def addresses() -> bool:
            assert process.poll() is None, log.read_text()
            found = re.search(r"metrics on (\S+)/metrics, API on (\S+)/api", log.read_text())
            if found is not None:
                daemon.metrics, daemon.api = found.groups()
            return found is not None

        wait_until(addresses, "the daemon says where it listens")
        return daemon

    yield begin
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGCONT)
            daemon.process.kill()
            daemon.process.wait()
