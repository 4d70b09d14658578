"""CPU time of one probe, beside blackbox_exporter's, on the same core and with the same nginx."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from benchmarks.figures import Figure, ratio
from benchmarks.processes import (
    MEASURED,
    Daemon,
    cpu,
    daemon,
    fetch,
    free_port,
    nginx,
    program,
    running,
    sink,
    until,
)

IN_FLIGHT = 50
RATE = 100
_CHUNK = re.compile(rb"\r\n[0-9a-f]+\r\n")
_MODULES = """
modules:
  plain: {{prober: http, timeout: 10s, http: {{preferred_ip_protocol: ip4, valid_status_codes: [200],
           tls_config: {{ca_file: {ca}}}}}}}
"""


def saturation(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure with 50 probes in flight, over HTTP, and over HTTPS with full handshakes."""
    rounds, seconds = (1, 1.5) if quick else (5, 6.0)
    figures = []
    kinds = (("HTTP", "500ms", (1.0, 0.6, 0.3)), ("HTTPS", "1s", (1.3, 1.1, 0.8)))
    for name, interval, bounds in kinds:  # a little more than can be run
        with _pair(folder, name, checks=1000, interval=interval) as (ours, theirs):
            pairs, rates = [], []
            for _ in range(rounds):
                mine, rate = ours.cost(seconds)
                pairs.append((mine, theirs.cost(seconds)))
                rates.append(rate)
        title = f"CPU per {name} probe / blackbox_exporter, {IN_FLIGHT} in flight"
        figures.append(ratio(title, pairs, bounds, "us"))
        detail = f"median of {rounds} rounds"
        figures.append(
            Figure(f"{name} probes at saturation", statistics.median(rates), "/s", detail=detail)
        )
    return figures


def paced(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure 100 probes per second, spread evenly, including the cost of waking up."""
    rounds, seconds = (1, 2.0) if quick else (3, 10.0)
    with _pair(folder, "HTTP", checks=10 * RATE, interval="10s") as (ours, theirs):
        pairs = [(ours.cost(seconds)[0], theirs.cost(seconds, rate=RATE)) for _ in range(rounds)]
    name = f"CPU per HTTP probe / blackbox_exporter, {RATE}/s"
    return [ratio(name, pairs, (1.2, 0.8, 0.5), "us")]


class Ours:
    """Daemon under test; it is stopped while the other program is measured."""

    def __init__(self, found: Daemon, status: str) -> None:
        self._daemon = found
        self._status = status
        self._pause()

    def _pause(self) -> None:
        os.kill(self._daemon.pid, signal.SIGSTOP)

    def cost(self, seconds: float) -> tuple[float, float]:
        """Return microseconds per run, and runs per second."""
        os.kill(self._daemon.pid, signal.SIGCONT)
        time.sleep(1.0)
        runs, used, begun = self._runs(), cpu(self._daemon.pid), time.monotonic()
        time.sleep(seconds)
        used, took = cpu(self._daemon.pid) - used, time.monotonic() - begun
        runs = self._runs() - runs
        failed = self._daemon.total("probed_check_runs_total", 'probed_outcome="failed"')
        assert not failed, f"{failed} runs have failed"
        self._pause()
        return used / runs * 1e6, runs / took

    def _runs(self) -> int:
        """Return the number of requests that nginx has served; asking the daemon would disturb it."""
        return int(fetch(self._status).split("requests")[1].split()[2])


class Theirs:
    """blackbox_exporter, requested over reused connections."""

    def __init__(self, pid: int, port: int, target: str) -> None:
        self._pid = pid
        self._port = port
        query = f"/probe?module=plain&target={quote(target, safe='')}"
        self._request = f"GET {query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    def cost(self, seconds: float, rate: float | None = None) -> float:
        """Return microseconds per probe, with 50 in flight or at a fixed rate per second."""
        return asyncio.run(self._load(seconds, rate))

    async def _load(self, seconds: float, rate: float | None) -> float:
        workers = IN_FLIGHT if rate is None else 10
        done, ends = 0, time.monotonic() + seconds + 1.0
        measured: tuple[int, float] | None = None

        async def work(number: int) -> None:
            nonlocal done
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            due = time.monotonic() + (0.0 if rate is None else number / rate)
            while (now := time.monotonic()) < ends:
                if rate is not None:
                    await asyncio.sleep(max(0.0, due - now))
                    due += workers / rate
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head[:20], head
                if b"chunked" in head:
                    body = await reader.readuntil(b"\r\n0\r\n\r\n")
                else:
                    length = int(head.lower().partition(b"content-length:")[2].split()[0])
                    body = await reader.readexactly(length)
                assert b"probe_success 1" in _CHUNK.sub(b"", body), body
                done += 1
            writer.close()

        async def look() -> None:
            nonlocal measured
            await asyncio.sleep(1.0)
            measured = done, cpu(self._pid)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(look())
            for number in range(workers):
                tasks.create_task(work(number))
        assert measured is not None
        return (cpu(self._pid) - measured[1]) / (done - measured[0]) * 1e6


@contextmanager
def _pair(folder: Path, name: str, *, checks: int, interval: str) -> Iterator[tuple[Ours, Theirs]]:
    with ExitStack() as stack:
        plain, tls, ca = stack.enter_context(nginx(folder))
        url = plain if name == "HTTP" else tls
        modules = folder / "blackbox.yml"
        modules.write_text(_MODULES.format(ca=ca))
        port = free_port()
        command = [
            program("prometheus-blackbox-exporter"), f"--config.file={modules}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]  # fmt: skip
        pid = stack.enter_context(
            running(command, MEASURED, folder / "blackbox.log", GOMAXPROCS="1")
        )
        until(lambda: bool(fetch(f"http://127.0.0.1:{port}/metrics")), "blackbox_exporter answers")
        config = f"defaults: {{interval: {interval}, timeout: {interval}, confirm: 0}}\nchecks:\n"
        config += "".join(
            f"- {{name: c{n}, probe: gateway, url: '{url}', tls: {{ca: '{ca}'}}}}\n"
            for n in range(checks)
        )
        ours = stack.enter_context(daemon(config, folder, stack.enter_context(sink(folder))))
        until(lambda: ours.total("probed_check_runs_total") > checks, "each check has run")
        yield Ours(ours, plain.replace("/health", "/status")), Theirs(pid, port, url)
