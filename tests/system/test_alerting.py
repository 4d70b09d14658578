"""From a broken peer to a single notification: the shipped rules in a real Prometheus, two real
Alertmanagers in a cluster, and a receiver.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import ask, free_port, wait_until

SHORT = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
HEARTBEAT = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"}
PEER_TIMEOUT = "4s"
"""Seconds that the second Alertmanager waits for the notification log of the first."""
CONFIG = """
service: {{listen: 127.0.0.1:0, location: fra, state_dir: {folder}}}
telemetry: {{listen: 127.0.0.1:0}}
defaults: {{interval: 1s, timeout: 1s}}
checks:
  - name: gateway
    probe: gateway
    url: http://127.0.0.1:{port}/health
    severity: P0
    runbook: https://runbooks.example/gateway
    labels: {{service: api, impact: Nobody can buy.}}
  - {{name: page, probe: gateway, url: "http://127.0.0.1:{port}/", severity: P0, depends_on: [gateway]}}
"""


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._say(b'{"status": "pass"}')

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server:
    """An HTTP server on a reserved port."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Told:
    """Receiver of notifications, in the order of arrival."""

    came: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        came = self.came

        class Handler(Answers):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                came.append((self.path.removeprefix("/"), json.loads(body)))
                self._say(b"{}")

        return Handler

    def by(self, receiver: str) -> list[dict[str, Any]]:
        return [what for name, what in list(self.came) if name == receiver]

    @property
    def people(self) -> list[tuple[str, str, str]]:
        """Notifications: receiver, check, and whether it fires or is resolved."""
        return [
            (name, what["groupLabels"].get("probed_check", ""), what["status"])
            for name, what in list(self.came)
            if name != "heartbeat"
        ]


@dataclass
class Place:
    """All programs of the test."""

    told: Told
    prometheus: Any
    alertmanagers: dict[str, subprocess.Popen[bytes]]
    peer: Server

    def unsound(self) -> list[Any]:
        """Return the rules that failed on the metrics of a real daemon."""
        groups = json.loads(ask(f"{self.prometheus.url}/api/v1/rules")[2])["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) > 40
        return [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"]

    def break_(self) -> None:
        self.peer.close()

    def mend(self) -> None:
        self.peer = Server(Answers, self.peer.port)

    def some_time(self, beats: int = 3) -> None:
        """Wait long enough for a second notification to arrive: groups are notified every second, like
        the watchdog.
        """
        enough = len(self.told.by("heartbeat")) + beats
        wait_until(lambda: len(self.told.by("heartbeat")) >= enough, "heartbeats", 40)


def copy_of_the_routes(project: Path, folder: Path, port: int) -> Path:
    """Return the shipped configuration of Alertmanager, with short intervals and local receivers."""
    shipped = project / "config/alertmanager"
    config = yaml.safe_load((shipped / "alertmanager.yml").read_text())
    del config["global"]["slack_api_url_file"]
    config["templates"] = [str(shipped / "probed.tmpl")]
    config["route"].update(SHORT)
    for route in config["route"]["routes"]:
        route.update(HEARTBEAT if route["receiver"] == "heartbeat" else SHORT)
    config["receivers"] = [
        {
            "name": receiver["name"],
            "webhook_configs": [
                {"url": f"http://127.0.0.1:{port}/{receiver['name']}", "send_resolved": True}
            ]
            if len(receiver) > 1
            else [],
        }
        for receiver in config["receivers"]
    ]
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def copy_of_prometheus(project: Path, folder: Path, target: str, alertmanagers: list[str]) -> Path:
    config = yaml.safe_load((project / "config/prometheus/prometheus.yml").read_text())
    config["global"].update(scrape_interval="500ms", evaluation_interval="500ms")
    config["rule_files"] = [str(folder / "rules.yml")]
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": alertmanagers}]}]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def running(stack: ExitStack, log: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    program = shutil.which(name)
    assert program is not None
    process = subprocess.Popen(
        [program, *arguments], stdout=stack.enter_context(log.open("wb")), stderr=subprocess.STDOUT
    )

    def end() -> None:
        process.kill()
        process.wait(timeout=10)

    stack.callback(end)
    return process


@pytest.fixture
def place(
    project: Path, tmp_path: Path, start: Any, probed: Any, prometheus_api: Callable[[str], Any]
) -> Iterator[Place]:
    with ExitStack() as stack:
        told = Told()
        receiver = Server(told.handler())
        stack.callback(receiver.close)
        peer = Server(Answers)
        routes = copy_of_the_routes(project, tmp_path, receiver.port)
        webs, gossips = [free_port(), free_port()], [free_port(), free_port()]
        alertmanagers = {}
        for web, gossip in zip(webs, gossips, strict=True):
            url = f"http://127.0.0.1:{web}"
            alertmanagers[url] = running(
                stack, tmp_path / f"alertmanager-{web}.log", "prometheus-alertmanager",
                f"--config.file={routes}", f"--storage.path={tmp_path / str(web)}",
                f"--web.listen-address=127.0.0.1:{web}", f"--web.external-url={url}",
                f"--cluster.listen-address=127.0.0.1:{gossip}",
                f"--cluster.advertise-address=127.0.0.1:{gossip}",
                *(f"--cluster.peer=127.0.0.1:{other}" for other in gossips if other != gossip),
                "--cluster.gossip-interval=50ms", "--cluster.probe-interval=500ms",
                f"--cluster.peer-timeout={PEER_TIMEOUT}",
            )  # fmt: skip
        daemon = start(CONFIG.format(port=peer.port, folder=tmp_path))
        done = probed("rules", "-c", str(daemon.config))
        assert done.returncode == 0, done.stderr
        # What a check waits for those that it depends on: they are asked each second here.
        rules, count = re.subn(r"location\[1m\]", "location[6s]", done.stdout)
        assert count > 1
        (tmp_path / "rules.yml").write_text(rules)
        port = free_port()
        config = copy_of_prometheus(
            project, tmp_path, daemon.metrics.removeprefix("http://"),
            [url.removeprefix("http://") for url in alertmanagers],
        )  # fmt: skip
        running(
            stack, tmp_path / "prometheus.log", "prometheus", f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
            # It knows Alertmanagers only five seconds after its start; what it said until then is lost.
            "--rules.alert.resend-delay=5s",
        )  # fmt: skip
        for url in alertmanagers:
            wait_until(lambda url=url: len(members(url)) == 2, "the cluster is complete")
        place = Place(told, prometheus_api(f"http://127.0.0.1:{port}"), alertmanagers, peer)
        stack.callback(lambda: place.peer.close())  # noqa: PLW0108 - the peer is another by then
        wait_until(lambda: told.by("heartbeat"), "the watchdog is heard", 30)
        yield place


def members(url: str) -> list[Any]:
    status, _, text = ask(f"{url}/api/v2/status")
    cluster = json.loads(text)["cluster"] if status == 200 else {}
    return cluster.get("peers", []) if cluster.get("status") == "ready" else []


def suppressed(url: str) -> set[tuple[str, str]]:
    """Return the names and checks of inhibited alerts."""
    found = json.loads(ask(f"{url}/api/v2/alerts?active=false&inhibited=true")[2])
    return {
        (alert["labels"]["alertname"], alert["labels"].get("probed_check", ""))
        for alert in found
        if alert["status"]["inhibitedBy"]
    }


@pytest.mark.debian("prometheus")
@pytest.mark.debian("prometheus-alertmanager")
@pytest.mark.timeout(180)
def test_people_are_told_once_also_when_an_alertmanager_dies(place: Place) -> None:
    told, began, ended = (
        place.told,
        ("page-now", "gateway", "firing"),
        ("page-now", "gateway", "resolved"),
    )
    wait_until(lambda: place.prometheus.query("probed_check_up == 1"), "the checks are up")
    assert told.people == []
    assert place.unsound() == []

    place.break_()
    wait_until(lambda: told.people, "somebody is told", 40)
    (first,) = told.by("page-now")
    (alert,) = first["alerts"]
    assert alert["labels"] == {
        "alertname": "ProbedCheckDown", "severity": "P0", "probed_check": "gateway",
        "probed_probe": "gateway", "probed_location": "fra", "service": "api",
    }  # fmt: skip
    notes = alert["annotations"]
    assert notes["summary"].endswith("/health) is down from fra")
    assert "Most frequent reason: connect.refused" in notes["description"]
    assert "Last successful run: 20" in notes["description"]
    assert (notes["impact"], notes["runbook_url"]) == (
        "Nobody can buy.",
        "https://runbooks.example/gateway",
    )
    # The page depends on the gateway, so its alert fires and is suppressed.
    for url in place.alertmanagers:
        wait_until(lambda url=url: ("ProbedCheckDown", "page") in suppressed(url), "suppressed", 30)

    # Who has told dies; who is left neither tells again nor forgets to say that it is over.
    place.alertmanagers.pop(first["externalURL"]).send_signal(signal.SIGKILL)
    (left,) = place.alertmanagers
    wait_until(lambda: told.by("heartbeat")[-1]["externalURL"] == left, "the other goes on", 30)
    place.some_time(6)  # longer than it waits for the other
    assert told.people == [began]
    place.mend()
    wait_until(lambda: len(told.people) > 1, "the end is told", 40)
    assert told.by("page-now")[1]["externalURL"] == left
    place.some_time()
    assert told.people == [began, ended]

    # And one alone.
    place.break_()
    wait_until(lambda: len(told.people) > 2, "somebody is told", 40)
    place.mend()
    wait_until(lambda: len(told.people) > 3, "the end is told", 40)
    place.some_time()
    assert told.people == [began, ended] * 2
    assert place.unsound() == []
