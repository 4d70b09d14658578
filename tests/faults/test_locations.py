"""Three locations, each a network of its own, and what the shipped rules make of what they see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.test_netns import PATH, tool
from tests.programs import PROBED, environment, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.debian("iproute2"),
    pytest.mark.debian("nftables"),
    pytest.mark.debian("prometheus"),
    pytest.mark.timeout(180),
]
HUB = "192.0.2.1"
LOCATIONS = {"fra": "192.0.2.11", "iad": "192.0.2.12", "syd": "192.0.2.13"}
TARGET, REFERENCE, PROMETHEUS = 7001, 7002, 9090
CONFIG = """\
service: {{listen: '127.0.0.1:9611', location: {location}, state_dir: {folder}}}
telemetry: {{listen: '{address}:9610'}}
defaults: {{interval: 500ms, timeout: 300ms, fail_after: 1, recover_after: 1, confirm: 0}}
checks:
  - {{name: web, probe: tcp, address: '{hub}:7001', severity: P0}}
  - {{name: outside, probe: tcp, address: '{hub}:7002', reference: true}}
"""
LISTEN = """\
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        server.accept()[0].close()
"""
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


class World:
    """The hub has the target, a reference and Prometheus; around it stand the locations."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._mark = f"pl{os.getpid()}"

    def name(self, place: str) -> str:
        return f"{self._mark}{place[0]}"

    def inside(self, place: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(place)]

    def build(self) -> None:
        hub = self.name("hub")
        for place in ("hub", *LOCATIONS):
            tool("ip", "netns", "add", self.name(place))
            self._stack.callback(self._remove, self.name(place))
            tool("ip", "-n", self.name(place), "link", "set", "lo", "up")
        tool("ip", "-n", hub, "link", "add", "name", "lan", "type", "bridge")
        tool("ip", "-n", hub, "addr", "add", f"{HUB}/24", "dev", "lan")
        tool("ip", "-n", hub, "link", "set", "lan", "up")
        for place, address in LOCATIONS.items():
            near, far = f"{place}h", f"{place}v"
            tool(
                "ip",
                "-n",
                hub,
                "link",
                "add",
                near,
                "type",
                "veth",
                "peer",
                far,
                "netns",
                self.name(place),
            )
            tool("ip", "-n", hub, "link", "set", near, "master", "lan", "up")
            tool("ip", "-n", self.name(place), "addr", "add", f"{address}/24", "dev", far)
            tool("ip", "-n", self.name(place), "link", "set", far, "up")

    @staticmethod
    def _remove(name: str) -> None:
        subprocess.run(["ip", "netns", "del", name], check=False, env={"PATH": PATH})

    def start(self, place: str, log: str, *command: str) -> subprocess.Popen[bytes]:
        said = self._stack.enter_context((self._folder / log).open("wb"))
        process = subprocess.Popen(
            [*self.inside(place), *command],
            stdout=said,
            stderr=said,
            env=environment(PROBED_CONTROL=str(self._folder / f"{place}.sock")),
        )

        def end() -> None:
            process.kill()
            process.wait(10)

        self._stack.callback(end)
        return process

    def listen(self, port: int) -> subprocess.Popen[bytes]:
        return self.start("hub", f"{port}.log", sys.executable, "-c", LISTEN, HUB, str(port))

    def probe(self, location: str) -> subprocess.Popen[bytes]:
        config = self._folder / f"{location}.yaml"
        config.write_text(
            CONFIG.format(
                location=location,
                address=LOCATIONS[location],
                hub=HUB,
                folder=self._folder / location,
            )
        )
        return self.start(location, f"{location}.log", PROBED, "run", "-c", str(config))

    def watch(self, project: Path) -> None:
        """Prometheus, with the shipped rules; a prober that is away is bridged for less long."""
        rules = (project / "config/prometheus/probed.rules.yml").read_text()
        assert "[3m]" in rules
        (self._folder / "rules.yml").write_text(rules.replace("[3m]", "[5s]"))
        config = self._folder / "prometheus.yml"
        targets = [f"{address}:9610" for address in LOCATIONS.values()]
        config.write_text(
            "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: probed, static_configs: [{{targets: {targets}}}]}}]\n"
        )
        program = shutil.which("prometheus")
        assert program is not None
        self.start(
            "hub", "prometheus.log", program, f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        )  # fmt: skip

    def cut(self, location: str, *ports: int) -> None:
        """From there, what the hub has at these ports is not reached any more."""
        self.mend(location)
        several = ", ".join(map(str, ports))
        rule = f"ip daddr {HUB} tcp dport {{ {several} }} drop"
        chain = f"chain output {{ type filter hook output priority 0; {rule}; }}"
        tool(*self.inside(location), "nft", "-f", "-", text=f"table inet f {{ {chain}; }}")

    def mend(self, location: str) -> None:
        tool(*self.inside(location), "nft", "flush", "ruleset")

    def _ask(self, path: str) -> list[dict[str, dict[str, str]]]:
        url = f"http://127.0.0.1:{PROMETHEUS}/api/v1/{path}"
        done = subprocess.run(
            [*self.inside("hub"), sys.executable, "-c", ASK, url],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        if done.returncode:
            return []
        data = json.loads(done.stdout)["data"]
        found: list[dict[str, dict[str, str]]] = data.get("alerts") or data.get("result") or []
        return found

    def alerts(self, check: str = "web") -> set[tuple[str, str, str]]:
        """Name, location and state of the alerts on the check, or on a location."""
        return {
            (labels["alertname"], labels.get("probed_location", ""), str(alert["state"]))
            for alert in self._ask("alerts")
            if (labels := alert["labels"]).get("probed_check", check) == check
        }

    def up(self) -> int:
        return len(self._ask("query?query=probed_check_up%7Bprobed_check%3D%22web%22%7D%3D%3D1"))


@pytest.fixture
def world(project: Path, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(stack, tmp_path)
        made.build()
        made.listen(REFERENCE)
        made.watch(project)
        yield made


def test_two_locations_have_to_agree_and_one_that_is_offline_has_no_voice(world: World) -> None:
    target = world.listen(TARGET)
    probers = {location: world.probe(location) for location in LOCATIONS}
    wait_until(lambda: world.up() == 3, "all see it up", 40)

    # The way from one of them is cut: that is a matter of that way, for somebody in office hours.
    world.cut("iad", TARGET)
    somewhere = ("ProbedCheckDownSomewhere", "iad", "pending")
    wait_until(lambda: somewhere in world.alerts(), "one sees it down")
    assert "ProbedCheckDownQuorum" not in {name for name, *_ in world.alerts()}
    world.mend("iad")
    wait_until(lambda: world.up() == 3 and somewhere not in world.alerts(), "it is over")

    # It reaches nothing: it is offline, and says nothing of the target.
    world.cut("iad", TARGET, REFERENCE)
    wait_until(
        lambda: ("ProbedProberOffline", "iad", "pending") in world.alerts(), "it is offline", 30
    )
    assert somewhere not in world.alerts()

    # The target dies meanwhile: those who can see agree, at once.
    target.kill()
    quorum = ("ProbedCheckDownQuorum", "", "firing")
    wait_until(lambda: quorum in world.alerts(), "the others see it down", 30)
    world.mend("iad")
    again = world.listen(TARGET)
    wait_until(lambda: quorum not in world.alerts() and world.up() == 3, "it is over", 40)
    assert again.poll() is None

    # A prober is gone: its location is, and the others still have their say.
    probers["syd"].kill()
    wait_until(
        lambda: ("ProbedLocationLost", "syd", "pending") in world.alerts(), "syd is lost", 40
    )
    again.kill()
    wait_until(lambda: quorum in world.alerts(), "two of two see it down", 30)
