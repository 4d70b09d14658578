"""The daemon's life: its end under load, reloads under load, files that others have spoiled."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from probed.control.client import send_request

Until = Callable[..., Any]


def config(
    checks: str, *, service: str = "", interval: str = "200ms", timeout: str = "190ms"
) -> str:
    return (
        f"service: {{listen: 127.0.0.1:0, concurrency: 1000, concurrency_per_host: 1000{service}}}\n"
        "telemetry: {listen: 127.0.0.1:0}\n"
        f"defaults: {{interval: {interval}, timeout: {timeout}, fail_after: 1, recover_after: 1}}\n"
        f"checks:\n{checks}"
    )


def lines(port: int, count: int, *, first: int = 0) -> str:
    return "".join(
        f"  - {{name: c{n}, probe: tcp, address: '127.0.0.1:{port}', expect: '^220 '}}\n"
        for n in range(first, first + count)
    )


@pytest.fixture
def silent() -> Iterator[int]:
    """A port on which connections are accepted, by the kernel, and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        yield listener.getsockname()[1]


def running(daemon: Any) -> float:
    return float(daemon.total("probed_scheduler_running"))


# The end


@pytest.mark.parametrize("how", ["once", "twice"])
def test_the_end_comes_within_three_seconds_with_a_thousand_runs_in_flight(
    start: Any, until: Until, silent: int, how: str
) -> None:
    """The collector accepts and never answers, so that there is something to hand over, too."""
    collector = f"http://127.0.0.1:{silent}"
    daemon = start(
        config(lines(silent, 1000), interval="2s", timeout="2s"),
        behind=["prlimit", "--nofile=4096"],
        OTEL_EXPORTER_OTLP_ENDPOINT=collector,
    )
    until(lambda: running(daemon) > 950, "a thousand runs go on")
    if how == "twice":
        daemon.process.send_signal(signal.SIGTERM)
    assert daemon.stop() == 0
    assert daemon.took < 3 + 0.5  # and the interpreter's own end
    daemon.sound()


# What is in use, and what is spoiled


def test_a_control_socket_in_use_is_one_clear_line_and_exit_78(
    start: Any, probed: str, peers: Any, tmp_path: Path
) -> None:
    place = tmp_path / "own.sock"
    text = config(lines(peers.ports["line"], 1), service=f", control: {place}")
    first = start(text)
    second = tmp_path / "second.yaml"
    second.write_text(text)
    done = subprocess.run(
        [probed, "run", "-c", str(second)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 78
    assert done.stderr.strip() == (
        f"probed: cannot listen on {place}: another daemon is listening there"
    )
    assert send_request({"command": "status"}, path=str(place))["checks"] == 1
    assert first.stop() == 0
    assert not place.exists()


def test_a_state_file_that_is_broken_is_put_aside(
    start: Any, until: Until, peers: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "state.db").write_bytes(os.urandom(8192))
    daemon = start(config(lines(peers.ports["line"], 1), service=f", state_dir: {state}"))
    until(lambda: daemon.outcomes("c0"), "it probes")
    assert daemon.stop() == 0
    assert len(list(state.glob("state.db.corrupt-*"))) == 1
    assert any("state.db is corrupt" in entry["message"] for entry in daemon.told())
    with closing(sqlite3.connect(state / "state.db")) as database:
        assert database.execute("SELECT name FROM checks").fetchall() == [("c0",)]


def test_a_state_file_that_is_deleted_is_made_anew(
    start: Any, until: Until, peers: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = start(config(lines(peers.ports["line"], 1), service=f", state_dir: {state}"))
    until((state / "state.db").exists, "state is saved")
    (state / "state.db").unlink()
    until((state / "state.db").exists, "a new file is made")
    until(lambda: daemon.total("probed_state_errors_total"), "it is counted")
    assert daemon.stop() == 0
    assert any("was deleted or replaced" in entry["message"] for entry in daemon.told())
    with closing(sqlite3.connect(state / "state.db")) as database:
        assert database.execute("SELECT name FROM checks").fetchall() == [("c0",)]


def test_only_the_owner_can_read_the_state_directory(
    start: Any, until: Until, peers: Any, tmp_path: Path
) -> None:
    """Whatever the umask, and whatever the mode of files of an earlier time."""
    state = tmp_path / "state"
    text = config(lines(peers.ports["line"], 1), service=f", state_dir: {state}")
    before = os.umask(0)
    try:
        first = start(text, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
        until((state / "state.db-wal").exists, "state is saved")
        assert first.stop() == 0
        assert modes(state) == {0o600}
        for path in state.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)
        second = start(text, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
        until((state / "state.db-wal").exists, "state is saved")
        assert modes(state) == {0o600}
        assert second.stop() == 0
    finally:
        os.umask(before)


def modes(folder: Path) -> set[int]:
    """Return the modes of all files; the folders have to be for the owner alone."""
    assert {p.stat().st_mode & 0o777 for p in (folder, *folder.rglob("*")) if p.is_dir()} == {0o700}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    return {path.stat().st_mode & 0o777 for path in files}


def test_a_state_file_of_a_newer_version_is_of_use(
    start: Any, until: Until, peers: Any, tmp_path: Path
) -> None:
    """What it does not know it passes over: an upgrade can be taken back."""
    state = tmp_path / "state"
    state.mkdir()
    text = config(lines(peers.ports["line"], 1), service=f", state_dir: {state}")
    first = start(text)
    until(lambda: first.outcomes("c0"), "it probes")
    assert first.stop() == 0
    with closing(sqlite3.connect(state / "state.db")) as database, database:
        document = (
            "json_set(document, '$.state.newer', 7, '$.state.ok_streak', 1000, '$.newer', 'x')"
        )
        database.execute(f"UPDATE checks SET document = {document}")
        database.execute("CREATE TABLE newer (thing TEXT)")
    second = start(text)
    until(lambda: second.outcomes("c0"), "it probes")
    assert second.stop() == 0
    assert second.transitions("c0") == []
    with closing(sqlite3.connect(state / "state.db")) as database:
        kept = "SELECT json_extract(document, '$.state.ok_streak') FROM checks"
        assert database.execute(kept).fetchone()[0] > 1000
    second.sound()


# Reloads


def files(daemon: Any) -> int:
    return sum(1 for _ in Path(f"/proc/{daemon.pid}/fd").iterdir())


def test_a_hundred_reloads_good_and_bad_under_load(start: Any, until: Until, peers: Any) -> None:
    """Checks that stay go on as if nothing had happened; a bad file changes nothing."""
    port = peers.ports["line"]
    stay = lines(port, 20)
    pace = {"interval": "500ms", "timeout": "490ms"}
    good = [config(stay + lines(port, 5, first=100 + n), **pace) for n in (0, 5)]
    bad = [
        config(stay, **pace).replace("probe: tcp", "probe: tpc", 1),
        "checks: [\n",
        "",
        "checks: []\n",
    ]
    daemon = start(good[0])
    until(lambda: all(daemon.outcomes(f"c{n}") for n in range(20)), "all have run")
    missed, opened = daemon.total("probed_scheduler_missed_total"), files(daemon)
    begun = time.monotonic()
    counts = {n: len(daemon.outcomes(f"c{n}")) for n in range(3)}
    for turn in range(50):
        daemon.config.write_text(good[(turn + 1) % 2])
        answer = send_request({"command": "reload"}, path=str(daemon.control))
        assert answer["ok"], answer
        daemon.config.write_text(bad[turn % len(bad)])
        answer = send_request({"command": "reload"}, path=str(daemon.control))
        assert not answer["ok"]
        assert answer["lines"]
    assert daemon.total("probed_config_last_reload_success") == 0
    assert daemon.reloads() == {"ok": 50, "failed": 50}
    found = daemon.checks()
    assert set(found) == {f"c{n}" for n in [*range(20), *range(100, 105)]}
    took = time.monotonic() - begun
    for n in range(20):
        assert set(daemon.outcomes(f"c{n}")) <= {("ok", None), ("unknown", "self.overloaded")}
        assert daemon.transitions(f"c{n}") == ["pending -> up"]
    for n, before in counts.items():
        assert len(daemon.outcomes(f"c{n}")) - before >= min(took / 0.5 - 4, 55 - before)
    assert daemon.total("probed_scheduler_missed_total") - missed <= 20
    daemon.config.write_text(good[0])
    assert send_request({"command": "reload"}, path=str(daemon.control))["ok"]
    assert daemon.total("probed_config_last_reload_success") == 1
    until(lambda: files(daemon) <= opened + 5, "no more files are open than before")
    assert daemon.stop() == 0
    daemon.sound()


def test_a_storm_of_sighup_ends_with_the_latest_file(start: Any, until: Until, peers: Any) -> None:
    port = peers.ports["line"]
    daemon = start(config(lines(port, 3)))
    for turn in range(300):
        if turn % 50 == 0:
            daemon.config.write_text(config(lines(port, 3, first=turn)))
        daemon.process.send_signal(signal.SIGHUP)
    until(lambda: set(daemon.checks()) == {"c250", "c251", "c252"}, "the latest is in force")
    until(lambda: all(check["last"] for check in daemon.checks().values()), "they are run")
    assert daemon.total("probed_config_last_reload_success") == 1
    assert 1 <= daemon.reloads()["ok"] <= 300
    assert daemon.stop() == 0
    daemon.sound()


def test_a_hundred_swaps_of_a_mounted_folder(
    start: Any, until: Until, peers: Any, tmp_path: Path
) -> None:
    """As the kubelet updates a ConfigMap: `..data` points to a new folder from one moment to the
    next; the file itself is a link through it.
    """
    port = peers.ports["line"]
    mounted = tmp_path / "mounted"
    mounted.mkdir()

    def swap(number: int, text: str) -> None:
        folder = mounted / f"..{number}"
        folder.mkdir()
        (folder / "probed.yaml").write_text(text)
        (mounted / "..data_tmp").symlink_to(folder.name)
        (mounted / "..data_tmp").replace(mounted / "..data")

    def text(number: int) -> str:
        return config(lines(port, 2, first=number), service=", watch: true")

    swap(0, text(0))
    (mounted / "probed.yaml").symlink_to("..data/probed.yaml")
    daemon = start(mounted / "probed.yaml")
    for number in range(1, 100):
        swap(number, text(number) if number % 3 else "checks: [\n")
        time.sleep(0.005)  # swaps that the daemon may or may not see, as they come
    swap(100, text(100))
    until(lambda: set(daemon.checks()) == {"c100", "c101"}, "the latest is in force")
    swap(101, "checks: [\n")
    assert not send_request({"command": "reload"}, path=str(daemon.control))["ok"]
    assert set(daemon.checks()) == {"c100", "c101"}
    assert daemon.stop() == 0
    daemon.sound()


class Echo(BaseHTTPRequestHandler):
    """Knows whoever brings the token of the day."""

    token = ""

    def do_GET(self) -> None:
        self.send_response(200 if self.headers["X-Token"] == Echo.token else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_secret_that_was_rotated_is_used_from_the_next_reload_on(
    start: Any, until: Until, guarded: str, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.touch(0o600)
    secret.write_text("token-of-monday\n")
    Echo.token = "token-of-monday"
    check = f"name: web, probe: gateway, url: '{guarded}', headers: {{X-Token: {{file: {secret}}}}}"
    daemon = start(config(f"  - {{{check}}}\n"))
    until(lambda: daemon.transitions("web") == ["pending -> up"], "it is let in")
    Echo.token = "token-of-tuesday"
    until(lambda: len(daemon.transitions("web")) == 2, "it is kept out")
    secret.write_text("token-of-tuesday\n")
    assert send_request({"command": "reload"}, path=str(daemon.control))["ok"]
    until(lambda: len(daemon.transitions("web")) == 3, "it is let in again")
    assert daemon.transitions("web")[1].startswith("up -> unknown http.unauthorized")
    assert daemon.stop() == 0
    daemon.sound()
    assert "token-of" not in daemon.log.read_text()
