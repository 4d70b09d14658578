"""Programs under test: started, pinned to a core, measured by the kernel's accounting, and ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from probed.testing.certificates import Authority

PATIENCE = 30.0
PROGRAMS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MEASURED, OTHER = 0, max(os.sched_getaffinity(0))
"""Cores: one for the program under test, another for peers and load."""


class MissingError(Exception):
    """A program that a benchmark needs is not installed."""


def program(name: str) -> str:
    """Return the path of a program. Raises MissingError."""
    found = shutil.which(name, path=PROGRAMS)
    if found is None:
        raise MissingError(f"needs {name}")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Poll until the condition holds. Raises TimeoutError."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def fetch(url: str) -> str:
    """Return the body of a URL; empty if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # our own address
            return str(answer.read().decode())
    except OSError:
        return ""


@contextmanager
def running(command: Sequence[str], core: int, log: Path, **env: str) -> Iterator[int]:
    """Run a program on one core and return its process id; kill it at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # programs of this machine
            command, stdout=output, stderr=output, env=os.environ | {"PROBED_CONTROL": ""} | env
        )
    os.sched_setaffinity(process.pid, {core})
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu(pid: int) -> float:
    """Return seconds of CPU time of all threads, from the nanoseconds of schedstat (proc(5))."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:  # a thread that has just ended
            continue
    return total / 1e9


def memory(pid: int) -> float:
    """Return resident memory in MB."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1000


_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; default_type application/json; keepalive_timeout 0;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  ssl_session_cache off; ssl_session_tickets off;
  server {{
    listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    location = /status {{ stub_status; }}
    location / {{ return 200 '{{"status": "pass"}}'; }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Run nginx; return its plain URL, its TLS URL, and the authority of its certificate."""
    authority = Authority()
    folder.chmod(0o755)
    authority.issue("localhost", "127.0.0.1").files(folder)
    plain, tls = free_port(), free_port()
    text = _NGINX.format(folder=folder, plain=plain, tls=tls)
    config = folder / "nginx.conf"
    config.write_text(("user root;" if os.getuid() == 0 else "") + text)
    command = [program("nginx"), "-c", str(config), "-p", str(folder), "-e", "/dev/null"]
    with running(command, OTHER, folder / "nginx.log"):
        until(lambda: "pass" in fetch(f"http://127.0.0.1:{plain}/health"), "nginx answers")
        yield (
            f"http://127.0.0.1:{plain}/health",
            f"https://127.0.0.1:{tls}/health",
            authority.pem_file(folder),
        )


@contextmanager
def sink(folder: Path) -> Iterator[str]:
    """Run a collector that accepts and discards everything; return its URL."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.sink", str(port)]
    with running(command, OTHER, folder / "sink.log"):
        yield f"http://127.0.0.1:{port}"


class Daemon:
    """`probed run` with telemetry export."""

    def __init__(self, pid: int, url: str, api: str) -> None:
        self.pid = pid
        self.url = url
        self.api = api

    def metrics(self) -> str:
        return fetch(f"{self.url}/metrics")

    def total(self, name: str, labels: str = "") -> float:
        """Return the sum of all series of this name with these labels."""
        found = re.findall(
            rf"^{name}(?:{{[^}}]*{labels}[^}}]*}})? (\S+)$", self.metrics(), re.MULTILINE
        )
        return sum(map(float, found))


@contextmanager
def daemon(config: str, folder: Path, collector: str) -> Iterator[Daemon]:
    """Run the daemon with a configuration; telemetry goes to the collector."""
    port, api = free_port(), free_port()
    path = folder / "bench.yaml"
    path.write_text(
        f"service: {{listen: '127.0.0.1:{api}', concurrency: 50, concurrency_per_host: 50}}\n"
        f"telemetry: {{listen: '127.0.0.1:{port}', otlp: {{endpoint: '{collector}'}}}}\n" + config
    )
    program = str(Path(sys.executable).with_name("probed"))
    with running([program, "run", "-c", str(path)], MEASURED, folder / "probed.log") as pid:
        found = Daemon(pid, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{api}")
        until(lambda: bool(fetch(f"{found.url}/readyz")), "the daemon is ready", 60)
        yield found
