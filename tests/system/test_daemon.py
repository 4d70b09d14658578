"""The daemon as a process: what it shows, what Prometheus makes of it, how it ends."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Until = Callable[..., Any]


def config(*checks: str, interval: str = "1s", more: str = "") -> str:
    listed = "".join(
        f"  - {{{check}, interval: {interval}, timeout: {interval}}}\n" for check in checks
    )
    return (
        "service: {listen: 127.0.0.1:0, concurrency_per_host: 50}\n"
        f"telemetry: {{listen: 127.0.0.1:0{more}}}\n"
        "defaults: {fail_after: 1, recover_after: 1, labels: {team: web}}\n"
        f"checks:\n{listed}"
    )


def tcp(name: str, port: int) -> str:
    return f"name: {name}, probe: tcp, address: 127.0.0.1:{port}"


@pytest.fixture
def listening() -> Any:
    """A port on which something listens, and one on which nothing does."""
    with socket.socket() as sock, socket.socket() as other:
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        other.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1], other.getsockname()[1]


def test_results_are_on_metrics_and_on_the_api(start: Any, until: Until, listening: Any) -> None:
    good, bad = listening
    daemon = start(config(tcp("good", good), tcp("bad", bad)))
    lines = until(
        lambda: (
            (text := daemon.scrape())
            and 'probed_check_up{probed_check="good"' in text
            and 'probed_check_up{probed_check="bad"' in text
            and text
        ),
        "both checks are judged",
    ).splitlines()
    assert 'probed_check_up{probed_check="good",probed_probe="tcp"} 1' in lines
    assert 'probed_check_up{probed_check="bad",probed_probe="tcp"} 0' in lines
    checks = {check["check"]: check for check in daemon.ask("checks")["checks"]}
    assert checks["good"]["verdict"] == "up"
    assert checks["bad"]["verdict"] == "down"
    assert checks["bad"]["last"]["findings"][0]["reason"] == "connect.refused"
    whole = daemon.ask("checks/bad")
    assert whole["transitions"][0]["new"] == "down"
    assert whole["last_not_ok"]["attempts"] == 2
    assert daemon.ask("status")["verdicts"]["down"] == 1
    transition = next(json.loads(x) for x in daemon.lines() if "pending -> down" in x)
    assert transition["check"] == "bad"
    assert "connect.refused" in transition["message"]
    assert daemon.stop() == 0


def test_the_listeners_answer_what_they_should_and_nothing_else(
    start: Any, until: Until, get: Any, listening: Any
) -> None:
    daemon = start(config(tcp("good", listening[0])))
    assert get(f"{daemon.metrics}/livez")[:1] == (200,)
    assert get(f"{daemon.metrics}/readyz")[2] == "ok\n"
    assert get(f"{daemon.metrics}/api/v1/checks")[0] == 404
    assert get(f"{daemon.api}/metrics")[0] == 404
    assert get(f"{daemon.api}/api/v1/checks/none")[0] == 404
    # A page from elsewhere that a browser led here by DNS rebinding.
    assert get(f"{daemon.api}/api/v1/checks", {"Host": "evil.example"})[0] == 400


def test_the_format_of_the_metrics_is_the_one_asked_for(
    start: Any, get: Any, listening: Any
) -> None:
    daemon = start(config(tcp("good", listening[0])))
    _, plain, text = get(f"{daemon.metrics}/metrics")
    assert plain.startswith("text/plain; version=0.0.4")
    assert "# EOF" not in text
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    _, kind, text = get(f"{daemon.metrics}/metrics", asked)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


@pytest.mark.debian("prometheus")
def test_promtool_has_nothing_to_say_about_the_metrics(
    start: Any, until: Until, listening: Any
) -> None:
    daemon = start(config(tcp("good", listening[0]), tcp("bad", listening[1])))
    text = until(
        lambda: (t := daemon.scrape()) and 'probed_outcome="failed"} 1' in t and t, "a failed run"
    )
    promtool = shutil.which("promtool")
    assert promtool is not None
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.debian("prometheus")
@pytest.mark.debian("nginx")
@pytest.mark.timeout(90)
def test_a_real_prometheus_scrapes_it_and_answers_the_queries_of_the_readme(
    start: Any, until: Until, prometheus: Any, nginx: Any, listening: Any, project: Path
) -> None:
    daemon = start(
        config(
            f"name: gateway, probe: gateway, url: 'https://localhost:{nginx.tls}/health', "
            f"tls: {{ca: {nginx.ca}}}",
            tcp("bad", listening[1]),
        )
    )
    server = prometheus(daemon.metrics.removeprefix("http://"))
    until(lambda: len(server.query("probed_check_up")) == 2, "two checks are scraped")
    until(
        lambda: server.query('rate(probed_check_runs_total{probed_outcome="failed"}[15s]) > 0'),
        "failures have a rate",
    )
    for block in re.findall(
        r"```promql\n(.*?)```", (project / "docs/telemetry.md").read_text(), re.DOTALL
    ):
        for line in block.splitlines():
            if line and not line.startswith("#"):
                assert server.query(line) is not None
    assert [s["metric"]["probed_check"] for s in server.query("probed_check_up == 0")] == ["bad"]
    assert server.query("probed_check_info")[0]["metric"]["team"] == "web"
    assert float(server.query("probed_tls_certificate_not_after_seconds")[0]["value"][1]) > 1.7e9
    seen = until(
        lambda: server.exemplars("probed_check_duration_seconds_bucket"), "exemplars arrive"
    )
    labels = seen[0]["exemplars"][0]["labels"]
    assert re.fullmatch(r"[0-9a-f]{32}", labels["trace_id"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_while_runs_go_on(
    start: Any, until: Until, how: signal.Signals
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        port = silent.getsockname()[1]
        checks = [
            f"name: c{i}, probe: tcp, address: 127.0.0.1:{port}, expect: x" for i in range(20)
        ]
        daemon = start(config(*checks, interval="10s"))
        until(lambda: "probed_scheduler_running" in daemon.scrape(), "it runs")
        assert daemon.stop(how) == 0
    assert daemon.took < 5
    assert not [line for line in daemon.lines() if '"error"' in line]


@pytest.mark.parametrize("kind", ["refused", "black hole"])
def test_a_collector_that_is_away_does_not_hold_up_the_end(
    start: Any, until: Until, listening: Any, kind: str
) -> None:
    good, bad = listening
    collector = bad if kind == "refused" else good  # accepts, and never answers
    daemon = start(
        config(tcp("good", good)), OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector}"
    )
    until(lambda: 'probed_check_up{probed_check="good"' in daemon.scrape(), "a run")
    assert daemon.stop() == 0
    assert daemon.took < 3 + 1  # and the interpreter's own end, in development mode
    assert not [line for line in daemon.lines() if "Traceback" in line]


def test_an_address_in_use_is_one_clear_line_and_exit_78(
    start: Any, probed: Any, tmp_path: Path, listening: Any
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        f"telemetry: {{listen: 127.0.0.1:{listening[0]}}}\n"
        "service: {listen: 127.0.0.1:0}\n"
        "checks: [{name: a, probe: tcp, address: 127.0.0.1:1}]\n"
    )
    done = probed("run", "-c", str(path))
    assert done.returncode == 78
    assert done.stderr.strip() == (
        f"probed: cannot listen on 127.0.0.1:{listening[0]}: Address already in use"
    )


def test_a_bad_otel_variable_is_one_clear_line_and_exit_78(probed: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("checks: [{name: a, probe: tcp, address: 127.0.0.1:1}]\n")
    done = probed("run", "-c", str(path), env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1",
                                               "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})  # fmt: skip
    assert done.returncode == 78
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in done.stderr
    assert "Traceback" not in done.stderr
