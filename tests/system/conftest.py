"""Real programs on loopback: nginx, Prometheus, rotel, and the installed `probed` itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from probed.testing.certificates import Authority
from tests.programs import PROBED, STRICT, Daemon, ask, environment, free_port, starter, wait_until


def command(
    *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end."""
    return subprocess.run(
        [PROBED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**STRICT, **(env or {})),
        check=False,
    )


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def get() -> Callable[..., tuple[int, str, str]]:
    return ask


@pytest.fixture
def probed() -> Callable[..., subprocess.CompletedProcess[str]]:
    return command


@pytest.fixture
def program() -> str:
    return PROBED


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    yield from starter(tmp_path, **STRICT)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@dataclass
class Nginx:
    """nginx on its ports: plain, TLS, TLS with an expired certificate, HTTP/2 over TLS and in clear,
    and TLS for those who show a certificate, as `client` and `key` are one.
    """

    plain: int
    tls: int
    expired: int
    h2: int
    h2c: int
    mutual: int
    ca: Path
    client: Path
    key: Path


_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log; default_type application/json;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  map $http_traceparent $seen {{ default 1; "" 0; }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/good/certificate.pem; ssl_certificate_key {folder}/good/key.pem;
    listen 127.0.0.1:{h2} ssl http2;
    listen 127.0.0.1:{h2c} http2;
    large_client_header_buffers 4 32k;
    location /moved {{ return 302 /health; }}
    location /away {{ return 307 http://127.0.0.1:{plain}/health; }}
    location /health {{ add_header X-Traced $seen; return 200 '{{"status": "pass"}}'; }}
    location /gone {{ return 503 'no'; }}
    location /big {{ alias {folder}/big; }}
    location /proxied {{ proxy_pass http://127.0.0.1:{dead}; }}
    location /gzip {{ gzip on; gzip_types *; gzip_min_length 1; alias {folder}/big; }}
  }}
  server {{
    listen 127.0.0.1:{expired} ssl;
    ssl_certificate {folder}/bad/certificate.pem; ssl_certificate_key {folder}/bad/key.pem;
    location / {{ return 200 'never'; }}
  }}
  server {{
    listen 127.0.0.1:{mutual} ssl;
    ssl_certificate {folder}/good/certificate.pem; ssl_certificate_key {folder}/good/key.pem;
    ssl_client_certificate {folder}/ca.pem; ssl_verify_client on;
    location / {{ return 200 '{{"status": "pass"}}'; }}
  }}
}}
"""


_PORTS = ("plain", "tls", "expired", "dead", "h2", "h2c", "mutual")


@pytest.fixture(scope="session")
def nginx(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    for name, expired in (("good", False), ("bad", True)):
        (folder / name).mkdir()
        authority.issue("localhost", "127.0.0.1", expired=expired).files(folder / name)
    (folder / "client").mkdir()
    client = authority.issue("client.test").files(folder / "client")
    authority.pem_file(folder)
    (folder / "big").write_text("x" * 3_000_000)
    ports = {name: free_port() for name in _PORTS}
    text = _NGINX.format(folder=folder, **ports)
    if os.getuid() == 0:
        text = "user root;" + text
    (folder / "nginx.conf").write_text(text)
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    assert program is not None
    process = subprocess.Popen(
        [
            program,
            "-c",
            str(folder / "nginx.conf"),
            "-p",
            str(folder),
            "-e",
            str(folder / "start.log"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    del ports["dead"]
    server = Nginx(**ports, ca=folder / "ca.pem", client=client[0], key=client[1])
    try:
        wait_until(
            lambda: ask(f"http://127.0.0.1:{server.plain}/health")[0] == 200, "nginx answers"
        )
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


@dataclass
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        parameters = urllib.parse.urlencode({"query": expression})
        status, _, text = ask(f"{self.url}/api/v1/query?{parameters}")
        document = json.loads(text) if text else {}
        assert status == 200, f"{expression}: {document.get('error')}"
        return list(document["data"]["result"])

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        now = time.time()
        parameters = urllib.parse.urlencode(
            {"query": expression, "start": now - 600, "end": now + 60}
        )
        return list(json.loads(ask(f"{self.url}/api/v1/query_exemplars?{parameters}")[2])["data"])


@pytest.fixture
def prometheus_api() -> type[Prometheus]:
    """Ask a Prometheus, wherever it is."""
    return Prometheus


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Start a Prometheus that scrapes the address each second."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(target: str) -> Prometheus:
        port = free_port()
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: probed, static_configs: [{{targets: ['{target}']}}]}}\n"
        )
        program = shutil.which("prometheus")
        assert program is not None
        processes.append(
            subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--enable-feature=exemplar-storage",
                    "--log.level=error",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        server = Prometheus(f"http://127.0.0.1:{port}")
        wait_until(lambda: ask(f"{server.url}/-/ready")[0] == 200, "Prometheus is ready")
        return server

    yield begin
    for process in processes:
        process.terminate()
        process.wait(timeout=10)
