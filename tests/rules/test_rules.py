"""Rules for Prometheus: the shipped file is the generated one, is valid, and alerts as documented."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from probed.config import Config, loads
from probed.model import MetricType
from probed.registry import Registry
from probed.rules import for_config, generic
from probed.telemetry.catalogue import CATALOGUE, label_name, prometheus_name

TESTS = Path(__file__).parent.parent.parent / "config/prometheus/tests"
CERTIFICATE = "probed_tls_certificate_not_after_seconds"
"""A measure of probe kinds, not of the daemon."""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program is not None
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def configured(text: str) -> Config:
    return loads(text, Registry(), name="p.yaml", environ={"TOKEN": "hunter2-and-more"})


def rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def alerts(text: str) -> list[dict[str, Any]]:
    return [rule for rule in rules(text) if "alert" in rule]


CONFIG = """
defaults: {labels: {team: shop, cost.centre: "7"}}
checks:
  - {name: dns, probe: dns, query: a.example, type: A, severity: P1, interval: 2m, objective: 0.999}
  - name: web
    probe: tcp
    address: web.example:443
    severity: P0
    runbook: https://runbooks.example/web
    depends_on: [dns]
    labels: {service: shop, impact: "Nobody can buy: {{ $value }} \\" # of ten"}
  - name: api
    probe: gateway
    url: https://api.example/health
    headers: {Authorization: {env: TOKEN}}
    labels: {service: "shop ${TOKEN}"}
  - {name: off, probe: tcp, address: "web.example:444", enabled: false}
"""


def test_the_shipped_file_is_what_the_generator_writes(project: Path) -> None:
    assert (project / "config/prometheus/probed.rules.yml").read_text() == generic()


@pytest.mark.debian("prometheus")
@pytest.mark.parametrize("which", ["generic", "configured", "example", "quorum"])
def test_prometheus_takes_them(which: str, project: Path, tmp_path: Path) -> None:
    texts = {
        "generic": generic,
        "configured": lambda: for_config(configured(CONFIG)),
        "example": lambda: for_config(configured((project / "config/probed.yaml").read_text())),
        "quorum": lambda: generic(quorum=3),
    }
    path = tmp_path / "rules.yml"
    path.write_text(texts[which]())
    done = promtool("check", "rules", str(path))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.debian("prometheus")
def test_prometheus_takes_the_example_of_its_configuration(project: Path) -> None:
    done = promtool("check", "config", str(project / "config/prometheus/prometheus.yml"))
    assert done.returncode == 0, done.stderr


@pytest.mark.debian("prometheus")
@pytest.mark.timeout(90)
@pytest.mark.parametrize("path", sorted(TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_must_and_only_then(path: Path) -> None:
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_in_a_unit_test() -> None:
    expected = "\n".join(path.read_text() for path in [*TESTS.glob("*.yml"), Path(__file__)])
    for rule in alerts(for_config(configured(CONFIG))):
        name = rule["alert"]
        assert re.search(rf'labels\W+(?:ALERTS)?{{alertname="{name}"', expected), name


def exported() -> set[str]:
    names = {CERTIFICATE, "target_info"}
    for measure in CATALOGUE:
        name = prometheus_name(measure)
        ends = ("", "_bucket", "_sum", "_count") if measure.kind is MetricType.HISTOGRAM else ("",)
        names.update(name + end for end in ends)
    return names


@pytest.mark.parametrize(
    "text", [generic(), for_config(configured(CONFIG))], ids=["generic", "configured"]
)
def test_only_what_is_exported_or_recorded_is_asked_for(text: str) -> None:
    recorded = {rule["record"] for rule in rules(text) if "record" in rule}
    labels = {label_name(name) for measure in CATALOGUE for name in measure.attributes}
    known = exported() | recorded | labels | {"probed_location"}
    asked = set()
    for rule in rules(text):
        texts = [rule["expr"], *rule.get("annotations", {}).values()]
        asked |= set(re.findall(r"\b(?:probed[_:]|target_)[a-z0-9_:]+", " ".join(texts)))
    assert asked - known == set()
    assert len(asked & exported()) > 15


def test_every_alert_tells_what_and_is_documented(project: Path) -> None:
    text = (project / "docs/alerting.md").read_text()
    headings = {h.lower() for h in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    found = alerts(for_config(configured(CONFIG)))
    for rule in found:
        notes = rule["annotations"]
        assert notes["summary"], rule["alert"]
        assert len(notes["description"]) > 40, rule["alert"]
        page, _, anchor = notes["documentation"].partition("#")
        assert page == "docs/alerting.md"
        assert anchor in headings, anchor
        assert re.fullmatch("P[0-3]|none|{{.*}}", rule["labels"]["severity"])
    assert headings == {rule["alert"].lower() for rule in found}


# --- those of a configuration ---------------------------------------------------------------------

_SERIES = [
    ('probed_build_info{job="p",instance="a"}', "1x60"),
    ('probed_check_info{job="p",instance="a",probed_check="web",probed_probe="tcp",severity="P3",target="old"}', "1x60"),
    ('probed_check_up{job="p",instance="a",probed_check="web",probed_probe="tcp"}', "1x5 0x55"),
    # Another daemon has a check that the file does not know.
    ('probed_check_info{job="p",instance="a",probed_check="else",probed_probe="tcp",severity="P2",target="e",team="x"}', "1x60"),
    ('probed_check_up{job="p",instance="a",probed_check="else",probed_probe="tcp"}', "1x5 0x55"),
]  # fmt: skip


@pytest.mark.debian("prometheus")
def test_labels_and_what_must_be_there_come_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(for_config(configured(CONFIG)))
    down = {"severity": "P0", "team": "shop", "cost_centre": "7", "service": "shop",
            "depends_on": "dns", "probed_check": "web", "probed_probe": "tcp"}  # fmt: skip
    labels = ",".join(f'{name}="{value}"' for name, value in down.items())
    listed = (
        'count by (alertname, probed_check) (ALERTS{alertstate="firing",alertname!~".*Watchdog"})'
    )
    test = {
        "rule_files": [str(tmp_path / "rules.yml")],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [{"series": s, "values": v} for s, v in _SERIES],
                "promql_expr_test": [
                    {"expr": 'ALERTS{alertname="ProbedCheckDown",probed_check="web"}',
                     "eval_time": "6m",
                     "exp_samples": [{"value": 1, "labels": 'ALERTS{alertname="ProbedCheckDown",'
                                      'alertstate="firing",' + labels + "}"}]},
                    {"expr": "probed:check_budget:ratio", "eval_time": "6m",
                     "exp_samples": [
                         {"labels": 'probed:check_budget:ratio{probed_check="dns"}', "value": 0.001},
                         {"labels": 'probed:check_budget:ratio{probed_check="web"}', "value": 0.01},
                         {"labels": 'probed:check_budget:ratio{probed_check="api"}', "value": 0.01},
                         {"labels": 'probed:check_budget:ratio{probed_check="else"}', "value": 0.01},
                     ]},
                    {"expr": listed, "eval_time": "6m", "exp_samples": [
                         {"labels": '{alertname="ProbedCheckDown",probed_check="web"}', "value": 1},
                         {"labels": '{alertname="ProbedCheckDown",probed_check="else"}', "value": 1},
                         {"labels": '{alertname="ProbedCheckMissing",probed_check="dns"}', "value": 1},
                         {"labels": '{alertname="ProbedCheckMissing",probed_check="api"}', "value": 1},
                     ]},
                ],
            }
        ],
    }  # fmt: skip
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_texts_of_the_configuration_are_neither_templates_nor_secrets() -> None:
    text = for_config(configured(CONFIG))
    known = {
        rule["labels"]["probed_check"]: rule["labels"]
        for rule in rules(text)
        if rule.get("record") == "probed:check:config"
    }
    assert known.keys() == {"dns", "web", "api"}  # and not what is switched off
    web = known["web"]
    # Labels of recordings are not templates; alerts' labels never hold the text itself.
    assert web["impact"] == 'Nobody can buy: {{ $value }} " # of ten'
    assert all("Nobody can buy" not in str(rule) for rule in alerts(text))
    assert web["runbook"] == "https://runbooks.example/web"
    assert known["api"]["service"].startswith("shop ")
    assert "hunter2" not in text


def test_a_check_waits_until_what_it_depends_on_had_its_turn() -> None:
    # dns: every two minutes, and ten seconds to fail
    assert "max_over_time(probed:check_up:location[2m10s])" in for_config(configured(CONFIG))
    slow = CONFIG.replace("    depends_on: [dns]", "    depends_on: [dns]\n    interval: 90s")
    # web: two good runs, and ten seconds
    assert "max_over_time(probed:check_suppressed:location[3m10s])" in for_config(configured(slow))
    lazy = CONFIG.replace("interval: 2m", "interval: 2h")
    assert "max_over_time(probed:check_up:location[5m])" in for_config(configured(lazy))
    assert "max_over_time(probed:check_up:location[2m])" in generic()
