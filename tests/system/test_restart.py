"""A restart changes nothing of what people are shown, but for the bars of single runs."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import Daemon, ask

CHECKS = ("resolver", "shop", "well")


@pytest.fixture
def silent() -> Iterator[int]:
    """A port on which connections are accepted, by the kernel, and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def config(state: Path, port: int, interval: str) -> str:
    return f"""
service: {{listen: 127.0.0.1:0, state_dir: {state}}}
telemetry: {{listen: 127.0.0.1:0}}
defaults: {{interval: {interval}, timeout: 250ms, fail_after: 2, recover_after: 2}}
checks:
  - {{name: resolver, probe: tcp, address: '127.0.0.1:1', severity: P1}}
  - {{name: shop, probe: tcp, address: '127.0.0.1:1', depends_on: [resolver], severity: P0}}
  - {{name: well, probe: tcp, address: '127.0.0.1:{port}'}}
"""


def story(daemon: Daemon, program: str) -> dict[str, Any]:
    """What the API, the page and `probed status` say of the checks."""
    told: dict[str, Any] = {"list": daemon.ask("checks")["checks"]}
    for name in CHECKS:
        document = daemon.ask(f"checks/{name}")
        del document["recent"]
        told[f"API {name}"] = document
        told[f"page {name}"] = shown(ask(f"{daemon.api}/checks/{name}")[2])
    page = ask(f"{daemon.api}/")[2]
    told["troubles"] = re.findall(r'<section id="troubles".*?</section>', page, re.DOTALL)
    done = subprocess.run(
        [program, "status", "--socket", str(daemon.control)],
        capture_output=True,
        text=True,
        check=False,
    )
    told["status"] = (done.returncode, done.stdout.splitlines()[1:])
    return told


def shown(page: str) -> str:
    """The part that changes with each run, without the bars of single runs. Documents have microseconds,
    which a bar's place shows in its second decimal.
    """
    start, end = page.index('id="live-part"'), page.index("<h2>Settings</h2>")
    text = re.sub(r"<h2>The last \d+ runs</h2><svg.*?</svg>", "", page[start:end], flags=re.DOTALL)
    return re.sub(r' (x|width)="[\d.]+"', "", text)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_page_api_and_status_tell_the_same_story_after_a_restart(
    start: Callable[..., Any],
    until: Callable[..., Any],
    program: str,
    silent: int,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    first = start(config(state, silent, "300ms"))

    def verdicts() -> list[str]:
        return [check["verdict"] for check in first.checks().values()]

    until(lambda: verdicts() == ["down", "down", "up"], "the verdicts are known")
    # No more runs, so that what is told and what is saved are of the same moment.
    drain = [program, "drain", "--socket", str(first.control)]
    subprocess.run(drain, check=True, capture_output=True)
    before = story(first, program)
    until(lambda: saved(state, before), "the last runs are saved")
    first.stop(how)
    second = start(config(state, silent, "1h"))
    after = story(second, program)
    assert 'probed_check_up{probed_check="shop",probed_probe="tcp"} 0' in second.scrape()
    assert 'probed_check_up{probed_check="well",probed_probe="tcp"} 1' in second.scrape()
    if how is signal.SIGKILL:
        # Times of a check that is well are saved once a minute and at shutdown.
        for told in (before, after):
            told.pop("API well")
            told.pop("page well")
            told["list"] = [each for each in told["list"] if each["check"] != "well"]
    assert before["status"][0] == 2
    assert "resolver  down" in "\n".join(before["status"][1])
    assert [each["new"] for each in before["API shop"]["transitions"]] == ["down"]
    assert before["API shop"]["transitions"][0]["suppressed_by"] == ["resolver"]
    assert "Alert suppressed: resolver, which it depends on, is failing." in before["page shop"]
    drained = "drained: no checks are run"
    before["status"] = (2, [line for line in before["status"][1] if drained not in line])
    for name, told in before.items():
        assert after[name] == told, name


def saved(state: Path, before: dict[str, Any]) -> bool:
    """Whether the last results of the checks that are down stand in the file's log."""
    log = state / "state.db-wal"
    data = log.read_bytes() if log.exists() else b""
    return all(
        before[f"API {name}"]["last"]["trace_id"].encode() in data for name in ("resolver", "shop")
    )
