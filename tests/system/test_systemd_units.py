"""The units under a real systemd, as an operator installs them, and what its tools say of them."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import wait_until
from tests.system.machine import Machine, machine, why_not

HEAD = "defaults: {interval: 500ms, timeout: 400ms, fail_after: 1, recover_after: 1, confirm: 0}\nchecks:\n"
OPEN = "  - {name: open, probe: gateway, url: 'http://127.0.0.1:8080/open'}\n"
CLOSED = "  - {name: closed, probe: tcp, address: '127.0.0.1:9'}\n"
SECRET = """\
  - name: secret
    probe: gateway
    url: http://127.0.0.1:8080/
    headers: {Authorization: {credential: token}}
"""
CONFIG = "/etc/probed/probed.yaml"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if why := why_not():
        pytest.skip(why)
    with machine(tmp_path_factory.mktemp("machine")) as running:
        done = running.do("systemd-run", "--unit=peer", "/usr/bin/python3", "/opt/more/peer.py")
        assert done.returncode == 0, done.stderr
        done = running.do("probed", "install", "systemd")
        assert done.returncode == 0, done.stderr
        assert "Next:" in done.stdout
        running.write("/etc/probed/secrets/token", "Bearer right-token\n")
        yield running


@pytest.fixture
def service(host: Machine) -> Iterator[Machine]:
    """Nothing runs before and after; drop-ins of one test are not those of the next."""
    host.write(CONFIG, HEAD + OPEN)
    yield host
    host.do("systemctl", "stop", "probed.service", "probed-check.timer")
    host.do("sh", "-c", "rm -rf /etc/systemd/system/probed*.d")
    host.do("systemctl", "daemon-reload")
    host.do("systemctl", "reset-failed")


def drop_in(host: Machine, unit: str, text: str) -> None:
    host.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
    host.do("systemctl", "daemon-reload")


def status_says(host: Machine, word: str) -> None:
    wait_until(lambda: word in host.show("probed", "StatusText")[0], f"the status {word!r}")


def test_it_starts_says_how_things_are_and_stops(service: Machine) -> None:
    service.write(CONFIG, HEAD + OPEN + CLOSED)
    done = service.do("systemctl", "start", "probed")
    assert done.returncode == 0, done.stderr
    status_says(service, "1 of 2 checks down: closed")
    pid, restarts = service.show("probed", "MainPID", "NRestarts")
    assert restarts == "0"
    assert service.do("stat", "-c", "%U", f"/proc/{pid}").stdout.strip() == "probed"
    warned = service.journal("-u", "probed", "-p", "warning", "-o", "cat")
    assert "closed: pending -> down" in warned
    assert "probing 2 checks" not in warned
    shown = service.do("probed", "status")
    assert shown.returncode == 2, shown.stderr
    assert "closed" in shown.stdout
    assert service.do("test", "-s", "/var/lib/private/probed/state.db").returncode == 0
    start = time.monotonic()
    assert service.do("systemctl", "stop", "probed").returncode == 0
    assert time.monotonic() - start < 5
    assert service.show("probed", "Result", "ActiveState") == ["success", "inactive"]


def test_a_reload_is_taken_or_refused(service: Machine) -> None:
    service.do("systemctl", "start", "probed")
    service.write(CONFIG, HEAD + OPEN + CLOSED)
    assert service.do("systemctl", "reload", "probed").returncode == 0
    status_says(service, "1 of 2 checks down: closed")
    pid, _ = service.show("probed", "MainPID", "StatusText")
    service.write(CONFIG, HEAD + "  - {name: open, probe: nonsense}\n")
    assert service.do("systemctl", "reload", "probed").returncode != 0
    state, same, text = service.show("probed", "ActiveState", "MainPID", "StatusText")
    assert (state, same) == ("active", pid)
    assert "1 of 2 checks down: closed; the last reload was refused" in text
    assert "nonsense" in service.journal("-u", "probed", "-p", "err", "-o", "cat")


def test_reload_as_newer_managers_notify(service: Machine) -> None:
    """Where somebody writes Type=notify-reload, which systemd knows from 253 on."""
    version = int(service.do("systemctl", "--version").stdout.split()[1])
    if version < 253:
        drop_in(
            service, "probed.service", "[Service]\nExecReload=\nExecReload=kill -HUP $MAINPID\n"
        )
    else:
        drop_in(service, "probed.service", "[Service]\nType=notify-reload\nExecReload=\n")
    service.do("systemctl", "start", "probed")
    service.write(CONFIG, HEAD + OPEN + CLOSED)
    assert service.do("systemctl", "reload", "probed").returncode == 0
    status_says(service, "1 of 2 checks down: closed")


def test_a_credential_is_read_and_nobody_else_can(service: Machine) -> None:
    service.write(CONFIG, HEAD + SECRET)
    drop_in(
        service, "probed.service", "[Service]\nLoadCredential=token:/etc/probed/secrets/token\n"
    )
    done = service.do("systemctl", "start", "probed")
    assert done.returncode == 0, service.journal("-u", "probed", "-o", "cat")
    wait_until(lambda: '"up": 1' in service.do("probed", "status", "-o", "json").stdout, "up")
    assert "right-token" not in service.journal("-o", "json")


def test_a_configuration_that_is_wrong_does_not_loop_and_is_told(service: Machine) -> None:
    service.write(CONFIG, "checks: [{name: open, probe: nonsense}]\n")
    assert service.do("systemctl", "start", "probed").returncode != 0
    assert service.show("probed", "ActiveState", "NRestarts", "ExecMainStatus") == [
        "failed",
        "0",
        "78",
    ]
    assert "nonsense" in service.journal("-u", "probed", "-o", "cat")
    wait_until(
        lambda: (
            "probed.service has failed"
            in service.journal("-t", "probed-failed", "-p", "crit", "-o", "cat")
        ),
        "the word that it has failed",
    )


def test_a_loop_that_stands_still_is_ended_and_started_anew(service: Machine) -> None:
    service.write(CONFIG, HEAD + "  - {name: wedge, probe: wedge}\n")
    drop_in(service, "probed.service", "[Service]\nWatchdogSec=2\n")
    assert service.do("systemctl", "start", "probed").returncode == 0
    wait_until(lambda: service.show("probed", "NRestarts") != ["0"], "a restart")
    assert "Watchdog timeout" in service.journal("-u", "probed", "-o", "cat")


def test_a_daemon_that_works_is_left_alone(service: Machine) -> None:
    drop_in(service, "probed.service", "[Service]\nWatchdogSec=1\n")
    service.do("systemctl", "start", "probed")

    def grown() -> bool:
        (pid,) = service.show("probed", "MainPID")
        ran = service.do("ps", "-o", "etimes=", "-p", pid).stdout.strip()
        return ran.isdecimal() and int(ran) >= 4

    wait_until(grown, "four seconds of life")
    assert service.show("probed", "NRestarts") == ["0"]


def test_one_check_by_hand_and_by_the_timer(service: Machine) -> None:
    done = service.do("systemctl", "start", "probed-check.service")
    assert done.returncode == 0, service.journal("-u", "probed-check", "-o", "cat")
    assert "1 ok" in service.journal("-u", "probed-check", "-o", "cat")
    service.write(CONFIG, HEAD + CLOSED)
    drop_in(service, "probed-check.timer", "[Timer]\nOnActiveSec=100ms\nRandomizedDelaySec=0\n")
    assert service.do("systemctl", "start", "probed-check.timer").returncode == 0
    wait_until(
        lambda: "connect.refused" in service.journal("-u", "probed-check", "-o", "cat"), "the timer"
    )
    wait_until(lambda: service.show("probed-check", "Result") == ["exit-code"], "its end")


def test_two_instances_keep_out_of_each_others_way(service: Machine) -> None:
    for name, check in (("fra", OPEN), ("iad", CLOSED)):
        listen = "service: {listen: '127.0.0.1:0'}\ntelemetry: {listen: '127.0.0.1:0'}\n"
        service.write(f"/etc/probed/{name}.yaml", listen + HEAD + check)
        done = service.do("systemctl", "start", f"probed@{name}")
        assert done.returncode == 0, service.journal("-u", f"probed@{name}", "-o", "cat")
    try:
        wait_until(
            lambda: (
                "iad"
                and "1 of 1 checks down: closed" in service.show("probed@iad", "StatusText")[0]
            ),
            "iad",
        )
        assert service.show("probed@fra", "StatusText") == ["0 of 1 checks down"]
        assert service.do("systemctl", "reload", "probed@fra").returncode == 0
    finally:
        service.do("systemctl", "stop", "probed@fra", "probed@iad")


# --- what can be said without running them ---------------------------------------------------------------


@pytest.fixture(scope="module")
def units(project: Path) -> list[Path]:
    return sorted((project / "systemd").glob("*.service"))


@pytest.mark.debian("systemd")
def test_systemd_finds_nothing_wrong(units: list[Path], tmp_path: Path) -> None:
    for unit in units:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/probed/bin/probed", "/bin/true"))
    copies = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *copies],
        capture_output=True,
        text=True,
        check=False,
    )
    # Settings of systemd 254 are told, and no others.
    told = [
        line
        for line in done.stderr.splitlines()
        if not re.search("RestartSteps|RestartMaxDelaySec", line)
    ]
    assert (done.returncode, told) == (0, [])


@pytest.mark.debian("systemd")
@pytest.mark.parametrize("name", ["probed.service", "probed@.service", "probed-check.service"])
def test_exposure_is_at_most_one_and_a_half(project: Path, tmp_path: Path, name: str) -> None:
    instance = tmp_path / name.replace("@", "@x")
    instance.write_text((project / "systemd" / name).read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(instance)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_all_units_have_the_same_sandbox(project: Path) -> None:
    def sandbox(name: str) -> str:
        text = (project / "systemd" / name).read_text()
        return text[text.index("DynamicUser=") : text.index("LimitCORE=")]

    assert (
        sandbox("probed.service") == sandbox("probed@.service") == sandbox("probed-check.service")
    )


# --- the command -------------------------------------------------------------------------------------------


def test_a_program_that_the_service_could_not_see_is_refused(
    probed: Any, tmp_path: Path, program: str
) -> None:
    done = probed("install", "systemd", "--directory", str(tmp_path))
    if not program.startswith(("/home/", "/root/", "/tmp/", "/var/tmp/", "/run/user/")):
        pytest.skip("this installation can be seen")
    assert done.returncode == 3
    assert (
        "which the service cannot see: install it elsewhere, such as in /opt/probed" in done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_units_that_were_changed_are_kept_unless_told_otherwise(host: Machine) -> None:
    folder = "/etc/units"
    install = (
        "probed",
        "install",
        "systemd",
        "--directory",
        folder,
        "--config",
        "/etc/other/p.yaml",
    )
    assert "there is no folder /etc/units" in host.do(*install).stderr
    host.write(f"{folder}/probed.service", "[Service]\nExecStart=/bin/true\n")
    done = host.do(*install)
    assert done.returncode == 3
    assert "/etc/units/probed.service is another one" in done.stderr
    assert host.do("ls", folder).stdout.split() == ["probed.service"]
    assert "would be written" in host.do(*install, "--force", "--dry-run").stdout
    done = host.do(*install, "--force")
    assert done.returncode == 0, done.stderr
    text = host.do("cat", f"{folder}/probed.service", f"{folder}/probed@.service").stdout
    assert "ExecStart=/opt/probed/bin/probed run --config /etc/other/p.yaml" in text
    assert "--config /etc/other/%i.yaml" in text
    assert host.do(*install).stdout.count("is there already") == 5
