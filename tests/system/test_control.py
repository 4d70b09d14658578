"""`reload`, `status`, `drain`, `config diff` and `check --daemon` on a daemon that runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        yield listening.getsockname()[1]


def config(*checks: str) -> str:
    return (
        "service: {listen: 127.0.0.1:0}\n"
        "telemetry: {listen: 127.0.0.1:0}\n"
        "defaults: {interval: 1h, fail_after: 1, recover_after: 1, confirm: 0}\n"
        "checks:\n" + "".join(f"- {check}\n" for check in checks)
    )


def tcp(name: str, port: int, more: str = "") -> str:
    return f"{{name: {name}, probe: tcp, address: '127.0.0.1:{port}'{more}}}"


class Asked:
    """A daemon, and the commands that reach it."""

    def __init__(self, start: Any, probed: Any, folder: Path, *checks: str) -> None:
        self.socket = str(folder / "control.sock")
        self.file = folder / "probed-0.yaml"
        self.daemon = start(config(*checks), PROBED_CONTROL=self.socket)
        self._probed = probed

    def __call__(self, *arguments: str) -> Any:
        return self._probed(*arguments, env={"PROBED_CONTROL": self.socket})


@pytest.fixture
def begin(start: Any, probed: Any, tmp_path: Path) -> Callable[..., Asked]:
    return lambda *checks: Asked(start, probed, tmp_path, *checks)


def test_the_daemon_runs_a_check_now_and_it_counts(begin: Any, port: int, tmp_path: Path) -> None:
    ask = begin(
        tcp("web", port, ", tags: [core]"), tcp("down", 1), tcp("off", port, ", enabled: false")
    )
    assert ask("check", "--daemon", "web").returncode == 0
    before = len(ask.daemon.ask("checks/web")["recent"])
    report = tmp_path / "report.xml"
    done = ask("check", "--daemon", "web", "-o", "json", "-o", f"junit={report}")
    assert (done.returncode, done.stderr) == (0, "")
    (result,) = json.loads(done.stdout)["results"]
    assert (result["check"], result["outcome"]) == ("web", "ok")
    assert 'name="web"' in report.read_text()
    assert len(ask.daemon.ask("checks/web")["recent"]) == before + 1
    done = ask("check", "--daemon", "--all")
    assert done.returncode == 2
    assert "connect.refused" in done.stdout
    assert "not run, disabled in the configuration: off" in done.stderr
    assert ask("check", "--daemon", "--tag", "core").returncode == 0
    done = ask("check", "--daemon", "wed")
    assert (done.returncode, done.stderr) == (3, "there is no check 'wed' (did you mean 'web'?)\n")
    assert ask("check", "--daemon", "off").stderr.startswith("disabled, the daemon does not run it")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--daemon"], "name the checks to run"),
        (["--daemon", "--all", "--until", "ok"], "--daemon cannot be combined with -c or --until"),
        (["--daemon", "--all", "-c", "x.yaml"], "--daemon cannot be combined with -c or --until"),
        (["--all", "--socket", "x"], "--socket needs --daemon"),
    ],
)
def test_what_does_not_go_together(probed: Any, arguments: list[str], said: str) -> None:
    done = probed("check", *arguments)
    assert done.returncode == 3
    assert said in done.stderr


def test_reload_says_what_has_changed_or_what_is_wrong(begin: Any, port: int) -> None:
    ask = begin(tcp("web", port))
    ask.file.write_text(config(tcp("web", port), tcp("new", port)))
    done = ask("config", "diff")
    assert (done.returncode, done.stdout) == (1, f"+ new  tcp 127.0.0.1:{port}\n")
    done = ask("reload")
    assert (done.returncode, done.stdout) == (0, f"+ new  tcp 127.0.0.1:{port}\n")
    assert ask("reload").stdout == "nothing has changed\n"
    done = ask("config", "diff")
    assert (done.returncode, done.stdout) == (0, "")
    ask.file.write_text(config("{name: web}"))
    done = ask("reload")
    assert done.returncode == 3
    assert f"{ask.file}:5:3: checks[0].probe: is missing" in done.stderr
    assert "not reloaded: the daemon continues with its previous configuration" in done.stderr
    assert ask("config", "diff").returncode == 3
    done = ask("status")
    assert "the last reload failed" in done.stdout
    assert "checks[0].probe: is missing" in done.stdout
    assert ask.daemon.ask("status")["config"]["last_reload_ok"] is False


def test_status_says_what_is_not_up_and_exits_as_the_worst(begin: Any, port: int) -> None:
    ask = begin(tcp("web", port), tcp("down", 1, ", severity: P0, depends_on: [web]"))
    assert ask("check", "--daemon", "--all").returncode == 2
    done = ask("status")
    assert done.returncode == 2
    assert "1 up, 1 down" in done.stdout or "1 down, 1 up" in done.stdout
    assert "P0  down" in done.stdout
    assert "connect.refused" in done.stdout
    assert json.loads(ask("status", "-o", "json").stdout)["not_up"][0]["check"] == "down"


def test_drained_it_runs_nothing_until_the_end_of_it(begin: Any, port: int) -> None:
    ask = begin(tcp("web", port))
    assert ask("drain").stdout == "drained: no checks are run\n"
    done = ask("check", "--daemon", "web")
    assert (done.returncode, done.stderr) == (3, "nothing was run: the daemon is drained\n")
    assert "drained" in ask("status").stdout
    assert "probed_scheduler_drained 1" in ask.daemon.scrape()
    assert ask("drain", "--end").stdout == "running checks\n"
    assert ask("check", "--daemon", "web").returncode == 0
    done = ask("drain", "--for", "soon")
    assert done.returncode == 3
    assert "write a duration" in done.stderr
    assert ask("drain", "--for", "1s", "--end").returncode == 3


def test_without_a_daemon(probed: Any, tmp_path: Path) -> None:
    for arguments in (["reload"], ["status"], ["drain"], ["check", "--daemon", "--all"]):
        done = probed(*arguments, "--socket", str(tmp_path / "none"))
        assert done.returncode == 3
        assert "no running daemon found" in done.stderr
