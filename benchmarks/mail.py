"""Mail relays: CPU time of a STARTTLS conversation, and the time until a rejection is reported, beside
blackbox_exporter and check_smtp.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from urllib.parse import quote

from benchmarks.figures import Figure, ratio
from benchmarks.probes import IN_FLIGHT, Ours, Theirs
from benchmarks.processes import (
    MEASURED,
    OTHER,
    daemon,
    fetch,
    free_port,
    program,
    running,
    sink,
    until,
)
from probed.testing.certificates import Authority

_MODULES = """
modules:
  plain:
    prober: tcp
    timeout: 5s
    tcp:
      preferred_ip_protocol: ip4
      tls_config: {{ca_file: {ca}}}
      query_response:
        - {{expect: "^220 "}}
        - {{send: "EHLO probe.test\\r"}}
        - {{expect: "^250-STARTTLS"}}
        - {{send: "STARTTLS\\r"}}
        - {{expect: "^220"}}
        - {{starttls: true}}
        - {{send: "EHLO probe.test\\r"}}
        - {{expect: "^250 "}}
        - {{send: "QUIT\\r"}}
        - {{expect: "^221"}}
  banner: {{prober: tcp, timeout: 5s, tcp: {{preferred_ip_protocol: ip4, query_response: [{{expect: "^220 "}}]}}}}
"""
_CHECK = """{{name: {name}, probe: smtp, helo: probe.test, tls: {{ca: '{ca}'}},
  relays: [{{name: mx, host: 127.0.0.1, port: {port}, tls: {tls}}}]}}"""


def mail(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure whole conversations: greeting, EHLO, STARTTLS, a full handshake, EHLO, QUIT."""
    rounds, seconds = (1, 1.5) if quick else (5, 6.0)
    starttls, banner, status, port = (free_port() for _ in range(4))
    authority = Authority()
    authority.issue("127.0.0.1").files(folder)
    ca = authority.pem_file(folder)
    modules = folder / "blackbox.yml"
    modules.write_text(_MODULES.format(ca=ca))
    with ExitStack() as stack:
        command = [sys.executable, "-m", "benchmarks.relay", str(starttls), str(banner),
                   str(status), str(folder)]  # fmt: skip
        stack.enter_context(running(command, OTHER, folder / "relay.log"))
        page = f"http://127.0.0.1:{status}/"
        until(lambda: "requests" in fetch(page), "the relay answers")
        command = [
            program("prometheus-blackbox-exporter"), f"--config.file={modules}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]  # fmt: skip
        pid = stack.enter_context(
            running(command, MEASURED, folder / "blackbox.log", GOMAXPROCS="1")
        )
        until(lambda: bool(fetch(f"http://127.0.0.1:{port}/metrics")), "blackbox_exporter answers")
        refusal = _refusal(folder, banner, port, quick=quick)
        config = "defaults: {interval: 2s, timeout: 2s, confirm: 0}\nchecks:\n" + "".join(
            f"- {_CHECK.format(name=f'c{n}', ca=ca, port=starttls, tls='starttls')}\n"
            for n in range(500)
        )
        found = stack.enter_context(daemon(config, folder, stack.enter_context(sink(folder))))
        until(lambda: found.total("probed_check_runs_total") > 500, "each check has run")
        ours, theirs = Ours(found, page), Theirs(pid, port, f"127.0.0.1:{starttls}")
        pairs, rates = [], []
        for _ in range(rounds):
            mine, rate = ours.cost(seconds)
            pairs.append((mine, theirs.cost(seconds)))
            rates.append(rate)
    title = f"CPU per SMTP STARTTLS probe / blackbox_exporter, {IN_FLIGHT} in flight"
    return [
        ratio(title, pairs, (1.5, 1.2, 1.0), "us"),
        Figure("SMTP STARTTLS probes", max(rates), "/s", detail=f"median of {rounds} rounds"),
        refusal,
    ]


def _refusal(folder: Path, banner: int, port: int, *, quick: bool) -> Figure:
    """Measure the time until a 554 greeting is reported by probed, blackbox_exporter and check_smtp."""
    path = folder / "banner.yaml"
    path.write_text(
        "checks:\n- "
        + _CHECK.format(name="refused", ca=folder / "ca.pem", port=banner, tls="none")
        + "\n"
    )
    command = [str(Path(sys.executable).with_name("probed")), "check", "--all", "-c", str(path),
               "-o", "json"]  # fmt: skip
    took = []
    for _ in range(1 if quick else 5):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        (result,) = json.loads(done.stdout)["results"]
        assert "554 5.7.1 Service refused" in result["findings"][0]["message"], result
        took.append(result["duration_s"] * 1000)
    began = time.monotonic()
    said = fetch(
        f"http://127.0.0.1:{port}/probe?module=banner&target={quote(f'127.0.0.1:{banner}')}"
    )
    assert "probe_success 0" in said
    others = f"blackbox_exporter {(time.monotonic() - began) * 1000:.0f} ms, no text"
    plugin = shutil.which("check_smtp", path="/usr/lib/nagios/plugins:/usr/lib/monitoring-plugins")
    if plugin is not None:
        began = time.monotonic()
        command = [plugin, "-H", "127.0.0.1", "-p", str(banner), "-t", "5"]
        subprocess.run(command, capture_output=True, check=False, timeout=60)
        others += f", check_smtp {(time.monotonic() - began) * 1000:.0f} ms, no text"
    return Figure("554 banner: time to its text", median(took), "ms", 50, 10, 5, others)
