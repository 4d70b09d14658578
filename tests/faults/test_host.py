"""Faults of the machine that the daemon runs on: never the peers' failures."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

Until = Callable[..., Any]

INTERVAL = 0.5
STOPPED = 2.2
OURS = {("ok", None), ("unknown", "self.overloaded")}


def config(*checks: str, service: str = "", timeout: str = "400ms") -> str:
    listed = "".join(f"  - {{{check}}}\n" for check in checks)
    return (
        f"service: {{listen: 127.0.0.1:0, concurrency_per_host: 100{service}}}\n"
        "telemetry: {listen: 127.0.0.1:0}\n"
        f"defaults: {{interval: {INTERVAL}s, timeout: {timeout}, fail_after: 1, recover_after: 1}}\n"
        f"checks:\n{listed}"
    )


def lines(peers: Any, count: int, port: str = "line") -> list[str]:
    address = f"127.0.0.1:{peers.ports[port]}"
    return [f"name: c{n}, probe: tcp, address: '{address}', expect: '^220 '" for n in range(count)]


def of_each_kind(peers: Any) -> list[str]:
    ports = peers.ports
    return [
        f"name: tcp, probe: tcp, address: '127.0.0.1:{ports['line']}', expect: '^220 '",
        f"name: gateway, probe: gateway, url: 'http://127.0.0.1:{ports['http']}/health'",
        f"name: tls, probe: tls, address: '127.0.0.1:{ports['tls']}', tls: {{ca: {peers.ca}}}",
        f"name: dns, probe: dns, query: peer.example.com, server: '127.0.0.1:{ports['dns']}'",
    ]


KINDS = ("tcp", "gateway", "tls", "dns")


def runs(daemon: Any, *names: str) -> list[tuple[str, str | None]]:
    return [outcome for name in names for outcome in daemon.outcomes(name)]


def all_up(daemon: Any) -> bool:
    found = daemon.checks()
    return bool(found) and all(check["verdict"] == "up" for check in found.values())


# Files


def test_out_of_files_is_our_own_fault_and_passes(start: Any, until: Until, peers: Any) -> None:
    """EMFILE: what could not be asked is `unknown`, and all is well when there are files again."""
    checks = [*lines(peers, 20, "late"), *of_each_kind(peers)]
    daemon = start(config(*checks))
    until(lambda: all_up(daemon), "all checks are well")
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    before = daemon.total("probed_scheduler_missed_total")
    # Those that are open stay so; no number is free for another.
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (8, hard))
    time.sleep(1.2)  # a daemon without files cannot be asked how far it is
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: all_up(daemon), "all checks are well again")
    names = [*(f"c{n}" for n in range(20)), *KINDS]
    found = set(runs(daemon, *names))
    assert ("unknown", "self.resources") in found
    assert found <= OURS | {("unknown", "self.resources")}
    assert daemon.total("probed_scheduler_missed_total") - before < 40
    assert daemon.stop() == 0
    daemon.sound()


# Time


@pytest.fixture(scope="module")
def faketime() -> str:
    """The library that a program's clock is turned with."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "the Debian package faketime holds no library"
    return str(found[0])


@pytest.mark.debian("faketime")
@pytest.mark.parametrize("hours", [1, -1])
def test_the_wall_clock_jumps(
    start: Any, until: Until, peers: Any, faketime: str, tmp_path: Path, hours: int
) -> None:
    """No burst, no hour that is missed, nothing expired: the cadence is that of the monotonic clock."""
    turned = tmp_path / "turned"
    turned.write_text("+0\n")
    daemon = start(
        config(*of_each_kind(peers)),
        LD_PRELOAD=faketime,
        FAKETIME_TIMESTAMP_FILE=str(turned),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    until(lambda: all_up(daemon), "all checks are well")
    turned.with_suffix(".new").write_text(f"{hours * 3600:+d}\n")
    turned.with_suffix(".new").replace(turned)
    begun, jumped = time.monotonic(), time.time() + hours * 3600

    def later() -> bool:
        found = daemon.checks()
        return len(found) == 4 and all(
            abs(datetime.fromisoformat(check["last_run"]).timestamp() - jumped) < 60
            for check in found.values()
        )

    until(later, "all checks have run at the new time")
    counts = {name: len(daemon.outcomes(name)) for name in KINDS}
    until(lambda: all(len(daemon.outcomes(n)) >= counts[n] + 2 for n in KINDS), "two runs more")
    took = time.monotonic() - begun
    for name in KINDS:
        assert len(daemon.outcomes(name)) - counts[name] <= took / INTERVAL + 2, "a burst of runs"
        assert set(daemon.outcomes(name)) <= OURS
        # A machine that is busy may block the event loop, which is ours, too.
        busy = ("up -> unknown self.overloaded", "unknown -> up")
        found = [each for each in daemon.transitions(name) if not each.startswith(busy)]
        assert found == ["pending -> up"]
    # An hour of ticks would be 18,000; a machine that is busy may miss some.
    assert daemon.total("probed_scheduler_missed_total") < 40
    assert daemon.stop() == 0
    daemon.sound()


def fresh(listener: socket.socket) -> socket.socket:
    """The next connection; those that wait already are of runs that may have ended."""
    while select.select([listener], [], [], 0)[0]:
        listener.accept()[0].close()
    return listener.accept()[0]


def test_a_daemon_that_was_stopped_neither_bursts_nor_blames(
    start: Any, until: Until, peers: Any
) -> None:
    """SIGSTOP for some seconds stands for a machine that was suspended."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(10)
        port = silent.getsockname()[1]
        caught = f"name: caught, probe: tcp, address: '127.0.0.1:{port}', expect: x, interval: 1s"
        daemon = start(config(*lines(peers, 10), f"{caught}, timeout: 900ms"))
        until(lambda: all(daemon.outcomes(f"c{n}") for n in range(10)), "all have run")
        counted = time.monotonic()
        before = {n: len(daemon.outcomes(f"c{n}")) for n in range(10)}
        missed = daemon.total("probed_scheduler_missed_total")
        with fresh(silent):  # a run is in flight
            ended = len(daemon.outcomes("caught"))
            os.kill(daemon.pid, signal.SIGSTOP)
            time.sleep(STOPPED)  # this long it stands still: there is nothing to wait for
            os.kill(daemon.pid, signal.SIGCONT)
            until(lambda: len(daemon.outcomes("caught")) > ended, "the run in flight has ended")
            until(
                lambda: all(len(daemon.outcomes(f"c{n}")) >= before[n] + 2 for n in range(10)),
                "all run again",
            )
    took = time.monotonic() - counted - STOPPED
    for n in range(10):
        assert len(daemon.outcomes(f"c{n}")) - before[n] <= took / INTERVAL + 2, "a burst of runs"
    assert daemon.outcomes("caught")[ended] == ("unknown", "self.overloaded")
    assert set(runs(daemon, *(f"c{n}" for n in range(10)))) <= OURS
    assert daemon.total("probed_scheduler_missed_total") - missed >= 20
    assert daemon.stop() == 0
    daemon.sound()


def test_a_daemon_without_processor_time_blames_nobody(
    start: Any, until: Until, peers: Any
) -> None:
    """It gets 20 ms of each 320, by SIGSTOP: that is the same on every machine."""
    daemon = start(config(*lines(peers, 10), timeout="250ms"))
    until(lambda: all_up(daemon), "all checks are well")
    for _ in range(6):
        os.kill(daemon.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(daemon.pid, signal.SIGCONT)
        time.sleep(0.02)
    count = len(daemon.outcomes("c0"))
    until(lambda: len(daemon.outcomes("c0")) > count, "it goes on")
    assert set(runs(daemon, *(f"c{n}" for n in range(10)))) <= OURS
    assert daemon.total("probed_loop_lag_seconds_sum") > 1.0
    assert daemon.stop() == 0
    daemon.sound()


@pytest.mark.root
@pytest.mark.parametrize("offset", ["0", "31536000"])
def test_the_monotonic_clock_begins_anywhere(
    start: Any, until: Until, peers: Any, offset: str
) -> None:
    """A machine that has just started, and one that runs for a year."""
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    shift = str(int(offset) or 1 - now)
    behind = ["unshare", "--time", "--monotonic", shift, "--boottime", shift, "--fork"]
    daemon = start(config(*lines(peers, 3)), behind=[*behind, "--kill-child=TERM"])
    until(lambda: all(len(daemon.outcomes(f"c{n}")) >= 2 for n in range(3)), "all run")
    assert set(runs(daemon, "c0", "c1", "c2")) <= OURS


# Disk


@pytest.mark.root
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_state_directory_cannot_be_written(
    start: Any, until: Until, peers: Any, tmp_path: Path, fault: str
) -> None:
    """It goes on probing, says so once, and keeps state again when it can."""
    state = tmp_path / "state"
    state.mkdir()
    mounted = f"mount -t tmpfs -o size=4m none {state}"
    spoiled = {
        "full": f"(head -c 5m /dev/zero >{state}/ballast || true) 2>/dev/null",
        "read-only": f"mount -o remount,ro {state}",
    }
    behind = ["unshare", "--mount", "sh", "-ec", f'{mounted}; {spoiled[fault]}; exec "$@"', "-"]
    daemon = start(config(*of_each_kind(peers), service=f", state_dir: {state}"), behind=behind)
    until(lambda: all_up(daemon), "all checks are well")
    seen = until(lambda: [m for m in messages(daemon) if "state.db" in m], "it says so")
    time_of_two = len(daemon.outcomes("tcp")) + 2
    until(lambda: len(daemon.outcomes("tcp")) >= time_of_two, "it goes on")
    assert len([m for m in messages(daemon) if "state.db cannot be used" in m]) == 1, seen
    if fault == "full":
        Path(f"/proc/{daemon.pid}/root{state}/ballast").unlink()
    else:
        mount = ["mount", "-o", "remount,rw", str(state)]
        subprocess.run(["nsenter", "-t", str(daemon.pid), "-m", *mount], check=True)
    until(
        lambda: any("state.db can be written again" in m for m in messages(daemon)), "it recovers"
    )
    kept = Path(f"/proc/{daemon.pid}/root{state}/state.db")
    until(lambda: kept.exists() and kept.stat().st_size, "the state is there")
    assert daemon.stop() == 0
    daemon.sound()


def messages(daemon: Any) -> list[str]:
    return [entry["message"] for entry in daemon.told()]


def test_a_machine_that_starves_hides_no_outage(start: Any, until: Until) -> None:
    """A late event loop makes time-outs doubtful, but not for ever: the second doubt judges the target."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent, ExitStack() as held:
        port = silent.getsockname()[1]
        for _ in range(3):  # its queue is full: attempts to connect hang
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
            held.enter_context(waiting)
        hanging = [f"name: h{n}, probe: tcp, address: '127.0.0.1:{port}'" for n in range(200)]
        daemon = start(
            "service: {listen: 127.0.0.1:0}\ntelemetry: {listen: 127.0.0.1:0}\n"
            "defaults: {interval: 3s, timeout: 1s}\nchecks:\n"
            + "".join(f"  - {{{check}}}\n" for check in hanging)
        )
        ended = threading.Event()
        starving = threading.Thread(target=starve, args=(daemon.pid, ended))
        starving.start()
        try:
            until(lambda: _all_down(daemon, len(hanging)), "all are down", 30)
        finally:
            ended.set()
            starving.join()
    seen = {outcome for n in range(200) for outcome in daemon.outcomes(f"h{n}")}
    assert ("unknown", "self.overloaded") in seen, (
        "the machine was not starved: this proves nothing"
    )
    assert daemon.stop() == 0
    daemon.sound()


def starve(pid: int, ended: threading.Event) -> None:
    """Give the process half of the time, and never for longer than a quarter of a second."""
    while not ended.wait(0.25):
        os.kill(pid, signal.SIGSTOP)
        ended.wait(0.25)
        os.kill(pid, signal.SIGCONT)


def _all_down(daemon: Any, count: int) -> bool:
    found = daemon.checks()
    return sum(check["verdict"] == "down" for check in found.values()) == count


def test_what_hangs_does_not_delay_what_answers(start: Any, until: Until, peers: Any) -> None:
    """Checks that hang take no more than their share of the places, once they are known to hang."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = [
            f"name: h{n}, probe: tcp, address: '127.0.0.1:{port}', expect: x" for n in range(40)
        ]
        daemon = start(
            "service: {listen: 127.0.0.1:0, concurrency: 20, concurrency_per_host: 20}\n"
            "telemetry: {listen: 127.0.0.1:0}\n"
            "defaults: {interval: 1s, timeout: 1s, confirm: 0, fail_after: 1}\nchecks:\n"
            + "".join(f"  - {{{check}}}\n" for check in [*hanging, *lines(peers, 20)])
        )
        until(lambda: all(daemon.outcomes(f"h{n}") for n in range(40)), "all have run", 30)
        until(lambda: all(daemon.outcomes(f"c{n}") for n in range(20)), "all have run", 30)
        before, begun = [len(daemon.outcomes(f"c{n}")) for n in range(20)], time.monotonic()
        until(
            lambda: all(len(daemon.outcomes(f"c{n}")) >= before[n] + 5 for n in range(20)),
            "those that answer run five times more",
        )
        took = time.monotonic() - begun
    assert took < 8, f"five rounds of one second took {took:.1f} s"
    assert daemon.stop() == 0
