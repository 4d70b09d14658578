"""`python -m benchmarks.soak --minutes 5 --checks 5000`: run a daemon and watch its resources.

One peer in a hundred is flaky, the configuration changes and is reloaded each minute, telemetry is
exported and scraped. Memory, open files, threads and tasks must stay flat, no check of a healthy peer
may fail, no reload may fail, and the shutdown must be clean. Exits with 1 and the reasons otherwise.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks.flaky import is_flaky
from benchmarks.processes import Daemon, fetch, free_port, memory, sink, until
from probed.control.client import send_request

SAMPLE = 3.0
"""Seconds between two samples."""
SHUTDOWN = 5.0
"""Seconds within which the daemon must shut down."""
_FAILED = re.compile(
    r'^probed_check_runs_total\{[^}]*probed_check="([^"]+)"[^}]*probed_outcome="failed"[^}]*\} (\S+)$', re.MULTILINE
)  # fmt: skip


@dataclass
class Sample:
    """Resource usage of the daemon at one moment; memory in MB."""

    memory: float
    files: int
    threads: int
    tasks: float


@dataclass
class Soak:
    """Samples and violations of one soak."""

    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    reloads: int = 0
    runs: float = 0.0

    def judge(self) -> None:
        """Compare the last third of the samples with the second; the first one is warm-up."""
        third = len(self.samples) // 3
        if third < 3:
            self.wrong.append("too short for a comparison")
            return
        middle, last = self.samples[third : 2 * third], self.samples[2 * third :]
        for name, part, room in (
            ("memory", 0.05, 3),
            ("files", 0, 12),
            ("threads", 0, 4),
            ("tasks", 0, 30),
        ):
            before, after = (
                statistics.median(getattr(sample, name) for sample in samples)
                for samples in (middle, last)
            )
            if after > before * (1 + part) + room:
                self.wrong.append(f"{name} grew from {before:.0f} to {after:.0f}")
        false = sorted(name for name in self.failed if name.startswith("healthy"))
        if false:
            self.wrong.append(f"failed although their peers are healthy: {', '.join(false[:9])}")
        if not any(name.startswith("flaky") for name in self.failed):
            self.wrong.append("no flaky peer failed: the soak proves nothing")

    def table(self) -> str:
        lines = ["| | first | middle | last | max |", "|---|---|---|---|---|"]
        for name in ("memory", "files", "threads", "tasks"):
            values = [getattr(sample, name) for sample in self.samples]
            some = values[0], values[len(values) // 2], values[-1], max(values)
            lines.append(f"| {name} | " + " | ".join(f"{value:.0f}" for value in some) + " |")
        return "\n".join([*lines, f"{self.runs:.0f} runs, {self.reloads} reloads"])


def configuration(checks: int, ports: Sequence[int], turn: int, head: str) -> str:
    """Return the configuration: half of the checks over HTTP, half over TCP. In each turn, one in fifty
    is replaced, and one in fifty has another interval.
    """
    lines = [head, "defaults: {timeout: 5s, confirm: 1}", "checks:"]
    http, tcp = ports[0], ports[1:]
    for number in range(checks):
        name = f"{'flaky' if is_flaky(number // 2) else 'healthy'}-{number}"
        if number % 50 == 7:
            name += f"-{turn}"
        interval = 10 + number % 20 + (turn % 2 if number % 50 == 9 else 0)
        peer = number // 2
        where = (
            f"probe: gateway, url: 'http://127.0.0.1:{http}/{peer}'"
            if number % 2
            else f"probe: tcp, address: '127.0.0.1:{tcp[peer % len(tcp)]}', expect: '^220 '"
        )
        lines.append(f"- {{name: {name}, {where}, interval: {interval}s}}")
    return "\n".join(lines) + "\n"


def soak(minutes: float, checks: int, folder: Path) -> Soak:
    """Run the soak."""
    seen = Soak()
    with ExitStack() as stack:
        ports = stack.enter_context(_peers(str(checks)))
        collector = stack.enter_context(sink(folder))
        port, control = free_port(), folder / "control.sock"
        head = (
            f"service: {{listen: '127.0.0.1:{free_port()}', state_dir: '{folder}/state'}}\n"
            f"telemetry: {{listen: '127.0.0.1:{port}', otlp: {{endpoint: '{collector}'}}}}"
        )
        config, log = folder / "soak.yaml", folder / "probed.log"
        config.write_text(configuration(checks, ports, 0, head))
        output = stack.enter_context(log.open("wb"))
        process = stack.enter_context(_probed(config, control, output))
        daemon = Daemon(process.pid, f"http://127.0.0.1:{port}", "")
        until(lambda: bool(fetch(f"{daemon.url}/readyz")), "the daemon is ready", 60)
        begun = time.monotonic()
        while (spent := time.monotonic() - begun) < minutes * 60:
            if spent >= (seen.reloads + 1) * 60:
                seen.reloads += 1
                config.write_text(configuration(checks, ports, seen.reloads, head))
                answer = send_request({"command": "reload"}, path=str(control))
                if not answer.get("ok"):
                    seen.wrong.append(f"reload {seen.reloads} failed: {answer}")
            _sample(daemon, seen)
            time.sleep(SAMPLE)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=SHUTDOWN)
        if code:
            seen.wrong.append(f"the daemon exited with {code}")
        if b"Traceback" in log.read_bytes():
            seen.wrong.append(f"the log has a traceback:\n{log.read_text()[-3000:]}")
    seen.judge()
    return seen


def _sample(daemon: Daemon, seen: Soak) -> None:
    text = daemon.metrics()
    seen.failed |= {name for name, count in _FAILED.findall(text) if float(count)}
    seen.runs = sum(
        float(n) for n in re.findall(r"^probed_check_runs_total\{.*\} (\S+)$", text, re.MULTILINE)
    )
    tasks = re.search(r"^probed_loop_tasks (\S+)$", text, re.MULTILINE)
    process = Path(f"/proc/{daemon.pid}")
    seen.samples.append(
        Sample(
            memory(daemon.pid),
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            float(tasks[1]) if tasks else float("nan"),
        )
    )


@contextmanager
def _peers(seed: str) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "benchmarks.flaky", seed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.kill()


@contextmanager
def _probed(config: Path, control: Path, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(Path(sys.executable).with_name("probed")), "run", "-c", str(config)]
    env = os.environ | {"PROBED_CONTROL": str(control)}
    with subprocess.Popen(command, stdout=output, stderr=output, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--checks", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="probed-soak-") as folder:
        seen = soak(arguments.minutes, arguments.checks, Path(folder))
    print(seen.table())
    for why in seen.wrong:
        print(f"FAILED: {why}")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
