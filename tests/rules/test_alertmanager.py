"""The shipped Alertmanager configuration: validity, routes, inhibition and texts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from probed.rules import generic

FOLDER = Path(__file__).parent.parent.parent / "config/alertmanager"
FILE = FOLDER / "alertmanager.yml"
pytestmark = pytest.mark.debian("prometheus-alertmanager")


def amtool(*arguments: str) -> str:
    program = shutil.which("amtool")
    assert program is not None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alertmanager_takes_it() -> None:
    assert "SUCCESS" in amtool("check-config", str(FILE))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=P0", "alertname=ProbedCheckDown"], "page-now"),
        (["severity=P1", "alertname=ProbedAbsent"], "page"),
        (["severity=P2", "alertname=ProbedCheckStale"], "tickets"),
        (["severity=P3", "alertname=ProbedConfigReloadFailed"], "backlog"),
        (["severity=none", "alertname=ProbedCheckSuppressed"], "nobody"),
        (["severity=none", "alertname=ProbedWatchdog"], "heartbeat"),
        (["alertname=FromElsewhere"], "tickets"),
    ],
)
def test_the_severity_says_who_is_told(labels: list[str], receiver: str) -> None:
    assert amtool("config", "routes", "test", f"--config.file={FILE}", *labels).strip() == receiver


def test_it_holds_back_only_alerts_that_there_are() -> None:
    groups = yaml.safe_load(generic())["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    names.add("ProbedCheckMissing")  # of configurations only
    for rule in yaml.safe_load(FILE.read_text())["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            how, pattern = re.fullmatch(r'alertname (=~?) "?([^"]+)"?', matcher).groups()
            meant = {n for n in names if re.fullmatch(pattern, n)}
            assert meant, matcher
            assert len(meant) >= 1 + pattern.count("|") if how == "=~" else len(meant) == 1, matcher


def test_no_secret_stands_in_it() -> None:
    text = FILE.read_text()
    assert not re.search(r"(routing_key|service_key|api_url|credentials|password):", text)
    assert len(re.findall(r"_file: /etc/alertmanager/secrets/\w+", text)) == 3


def alert(status: str, **annotations: str) -> dict[str, object]:
    return {
        "status": status,
        "labels": {"severity": "P0"},
        "annotations": annotations,
        "startsAt": "2026-11-23T10:00:00Z",
        "endsAt": "2026-11-23T10:05:00Z",
    }


def test_the_texts_say_what_since_when_and_what_to_do(tmp_path: Path) -> None:
    data = {
        "status": "resolved",
        "commonLabels": {"severity": "P0"},
        "alerts": [
            alert("resolved", summary="web is down from fra", description="Why: connect.refused.",
                  impact="Nobody can buy.", runbook_url="https://runbooks.example/web"),
            alert("firing", summary="web is down from <b>iad</b>", description="Why: dns.nxdomain."),
        ],
    }  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps(data))

    def render(name: str) -> str:
        return amtool(
            "template", "render", f"--template.glob={FOLDER}/*.tmpl",
            f"--template.data={tmp_path}/data.json", f'--template.text={{{{ template "{name}" . }}}}',
        )  # fmt: skip

    assert render("probed.title").strip() == "Resolved: P0 web is down from fra (2 alerts)"
    assert render("probed.runbook").strip() == "https://runbooks.example/web"
    assert render("probed.text").split("\n") == [
        "web is down from fra, since 2026-11-23 10:00:00 UTC, ended 10:05:00 UTC",
        "Why: connect.refused.",
        "Impact: Nobody can buy.",
        "Runbook: https://runbooks.example/web",
        "",
        "web is down from <b>iad</b>, since 2026-11-23 10:00:00 UTC",
        "Why: dns.nxdomain.",
        *[""] * 2,
    ]
