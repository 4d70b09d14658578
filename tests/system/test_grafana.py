"""Dashboards: generated, consistent, and every query returns data."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import PROBED, STRICT, ask, environment, free_port, wait_until

STATES = {"stat", "state-timeline"}
UNITS = {"short", "s", "percentunit", "bytes", "rpm", "cpm"}
COUNTERS = re.compile(r"(\w+)\{?[^}]*\}?\[")
HOUR = 3600
ANY = {"probed-check": {"check": ".*"}}
"""Dashboards for which one check does not have all series."""


@pytest.fixture(scope="module")
def folder(project: Path) -> Path:
    return project / "config/grafana"


@pytest.fixture(scope="module")
def dashboards(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.stem: json.loads(path.read_text())
        for path in sorted((folder / "dashboards").glob("*.json"))
    }


@pytest.fixture(scope="module")
def preview(folder: Path) -> dict[str, Any]:
    return runpy.run_path(str(folder / "preview.py"))


def test_they_are_what_the_generator_writes(project: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "config.grafana.generate", "--output", str(tmp_path)]
    subprocess.run(command, cwd=project, check=True)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    there = {path.name: path.read_text() for path in (folder / "dashboards").iterdir()}
    assert there == written, "run python -m config.grafana.generate"


def test_every_module_of_the_generator_with_panels_is_a_dashboard(folder: Path) -> None:
    modules = [
        path for path in (folder / "generate").glob("*.py") if "\nPANELS = [" in path.read_text()
    ]
    assert len(modules) == len(list((folder / "dashboards").iterdir())), "one is not listed"


def panels(dashboards: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, dashboard in dashboards.items():
        for panel in dashboard["panels"]:
            yield name, panel


def test_every_panel_says_what_it_shows_in_which_unit_and_from_where(dashboards: Any) -> None:
    assert set(dashboards) == {
        f"probed-{name}"
        for name in ("overview", "check", "gateway", "mongodb", "email", "stripe", "daemon")
    }
    for name, panel in panels(dashboards):
        where = f"{name}: {panel['title']}"
        assert panel["title"], where
        assert panel["description"].endswith((".", "?")), where
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, where
        assert panel["datasource"]["uid"] == "${datasource}", where
        assert panel["targets"], where
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", where
        if panel["type"] in STATES:
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["thresholds"]["steps"][0]["value"] is None, where


def test_panels_have_places_of_their_own(dashboards: Any) -> None:
    for name, dashboard in dashboards.items():
        identities = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(identities)) == len(identities)
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            grid = panel["gridPos"]
            assert grid["x"] + grid["w"] <= 24, f"{name}: {panel['title']}"
            cells = {
                (grid["x"] + dx, grid["y"] + dy)
                for dx in range(grid["w"])
                for dy in range(grid["h"])
            }
            assert not cells & taken, f"{name}: {panel['title']}"
            taken |= cells
        for y in {y for _, y in taken}:
            assert {x for x, at in taken if at == y} == set(range(24)), f"{name}: a hole at {y}"


def test_variables_are_there_where_they_are_used_and_used_where_they_are(dashboards: Any) -> None:
    for name, dashboard in dashboards.items():
        there = {variable["name"] for variable in dashboard["templating"]["list"]}
        text = json.dumps([dashboard["panels"], dashboard["templating"]])
        used = set(re.findall(r"\$\{?([a-z_]+)", text)) - {
            "__rate_interval",
            "__range",
            "__data",
            "__all",
        }
        assert used <= there, name
        queries = json.dumps([panel["targets"] for panel in dashboard["panels"]])
        for variable in there - {"severity"}:
            assert f"${variable}" in queries or f"${{{variable}}}" in queries, f"{name}: {variable}"


def test_links_lead_somewhere_and_take_the_check_along(dashboards: Any) -> None:
    identities = {dashboard["uid"] for dashboard in dashboards.values()}
    for name, dashboard in dashboards.items():
        (link,) = dashboard["links"]
        assert link["includeVars"], name
        assert link["tags"] == dashboard["tags"], name
        for url in re.findall(r'"url": "/d/([^/"]+)/[^"]*"', json.dumps(dashboard)):
            assert url in identities
    assert "var-check=${__data.fields.probed_check}" in json.dumps(dashboards["probed-overview"])


def test_rates_are_of_counters_and_heatmaps_lead_to_traces(dashboards: Any) -> None:
    for name, panel in panels(dashboards):
        for target in panel["targets"]:
            for metric in re.findall(r"(?:rate|increase)\((\w+)", target["expr"]):
                assert metric.endswith(("_total", "_bucket", "_count", "_sum")), f"{name}: {metric}"
            assert "_ratio{" not in target["expr"].replace("success_ratio{", "")
            if panel["type"] == "heatmap":
                assert target["exemplar"]


def test_provisioning_finds_them_and_leads_from_dots_to_traces(folder: Path) -> None:
    import yaml

    sources = yaml.safe_load((folder / "provisioning/datasources/probed.yml").read_text())[
        "datasources"
    ]
    prometheus, tempo = sources
    (leads,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert (leads["name"], leads["datasourceUid"]) == ("trace_id", tempo["uid"])
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/probed.yml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"


# --- the queries -------------------------------------------------------------------------------------------

MAIL = """\
# TYPE probed_check_info gauge
probed_check_info{probed_check="mail-queue",probed_probe="email_queue",severity="P2",target="postfix"} 1
probed_check_info{probed_check="round",probed_probe="email_roundtrip",severity="P2",target="relay"} 1
# TYPE probed_email_queue_depth gauge
probed_email_queue_depth{probed_check="mail-queue",probed_probe="email_queue",queue="mail"} 3
# TYPE probed_email_queue_oldest_age_seconds gauge
probed_email_queue_oldest_age_seconds{probed_check="mail-queue",probed_probe="email_queue",queue="mail"} 40
# TYPE probed_email_roundtrip_delivery_duration_seconds gauge
probed_email_roundtrip_delivery_duration_seconds{probed_check="round",probed_probe="email_roundtrip"} 4
# TYPE probed_check_up gauge
probed_check_up{probed_check="round",probed_probe="email_roundtrip"} 0
# TYPE probed_check_last_success_timestamp_seconds gauge
probed_check_last_success_timestamp_seconds{probed_check="round",probed_probe="email_roundtrip"} 1700000000
"""
"""Kinds that the demo has no peer for, one of them down after a success. The names are compared with the
measures of these kinds.
"""


def an_hour(text: str, now: float) -> str:
    """Return OpenMetrics for the last hour: constant gauges, growing counters, and a gateway that was
    down for twenty minutes; the same for a second prober in another location.
    """
    written: list[str] = []
    kind = ""
    for line in (text + MAIL).splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ", 3)
            if kind == "counter":
                line = f"# TYPE {family.removesuffix('_total')} counter"  # noqa: PLW2901
            written.append(line)
            continue
        if line.startswith("#") or " " not in line:
            continue
        series, value = line.rsplit(" ", 1) if line.count("} ") else line.split(" ", 1)
        labelled = series if "{" in series else series + "{}"
        down = series.startswith("probed_check_up{") and '"gateway"' in series
        for instance in ("demo", "other"):
            own = f'job="probed",instance="{instance}",'
            if series.startswith("target_info") and instance == "other":
                own += 'probed_location="other",'
            named = labelled.replace("{", "{" + own).replace(",}", "}")
            for minute in range(61):
                shown = float(value)
                if kind in {"counter", "histogram"}:
                    shown *= minute
                elif down and 20 <= minute < 40:
                    shown = 0.0
                written.append(f"{named} {shown:.17g} {now - HOUR + 60 * minute:.0f}")
    return "\n".join(written) + "\n# EOF\n"


@pytest.fixture(scope="module")
def ask_prometheus(
    tmp_path_factory: pytest.TempPathFactory, preview: dict[str, Any]
) -> Iterator[Callable[..., list[Any]]]:
    """A Prometheus with one recorded hour of the demo, which scrapes the demo."""
    folder = tmp_path_factory.mktemp("grafana")
    command = [PROBED, "demo", "--break", "tls", "--break", "slow-ops", "--break", "undelivered",
               "--break", "dmarc"]  # fmt: skip
    log = folder / "log"
    with log.open("w") as said:
        demo = subprocess.Popen(command, stdout=said, stderr=said, env=environment(**STRICT))
    prometheus: subprocess.Popen[bytes] | None = None
    try:
        found = wait_until(
            lambda: re.search(r"metrics +http://(\S+)/metrics", log.read_text()), "the demo"
        )
        url = f"http://{found[1]}/metrics"
        wanted = ("probed_stripe_sync_lag", "probed_mongodb_slow_operation_total", "probed_spf_terms",
                  "probed_smtp_relay_usable", "mongodb_connection_count")  # fmt: skip
        wait_until(lambda: all(name in ask(url)[2] for name in wanted), "all kinds have run")
        recorded = folder / "recorded.om"
        recorded.write_text(an_hour(ask(url)[2], time.time() - 60))
        promtool, program = shutil.which("promtool"), shutil.which("prometheus")
        assert promtool is not None
        assert program is not None
        tsdb = folder / "tsdb"
        done = subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", str(recorded), str(tsdb)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: probed\n    honor_labels: true\n"
            f"    static_configs: [{{targets: ['{found[1]}'], labels: {{instance: demo}}}}]\n"
        )
        prometheus = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={tsdb}", "--log.level=error",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: ask(f"{base}/-/ready")[0] == 200, "Prometheus")

        def query(expr: str, instant: bool = False) -> list[Any]:
            result = preview["prometheus"](base, time.time())(expr, instant)
            return [one for one in result if preview["numbers"](one)]

        wait_until(lambda: query('up{job="probed"} == 1'), "it scrapes the demo")
        yield query
    finally:
        for process in (prometheus, demo):
            if process is not None:
                process.terminate()
                process.wait(20)


@pytest.mark.debian("prometheus")
@pytest.mark.timeout(120)
def test_every_query_finds_data(
    ask_prometheus: Callable[..., list[Any]], dashboards: Any, preview: dict[str, Any]
) -> None:
    empty = []
    for name, dashboard in dashboards.items():
        values = preview["variables"](dashboard, ask_prometheus, ANY.get(name, {}))
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                expr = preview["resolved"](target["expr"], values)
                found = ask_prometheus(expr, target["instant"])
                where = f"{name}: {panel['title']}: {expr}"
                if not found:
                    empty.append(where)
                for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                    assert any(label in one["metric"] for one in found), f"{label} in {where}"
    assert not empty, "\n".join(empty)


@pytest.mark.debian("prometheus")
@pytest.mark.timeout(120)
def test_every_panel_is_drawn_in_the_preview(
    ask_prometheus: Callable[..., list[Any]], dashboards: Any, preview: dict[str, Any]
) -> None:
    for name, dashboard in dashboards.items():
        drawn = preview["page"](dashboard, ask_prometheus, time.time(), ANY.get(name, {}))
        assert drawn.count("<section") == len(dashboard["panels"]), name
        assert "No data" not in drawn, name


def test_the_preview_shows_what_is_there_as_text_and_says_what_is_not(
    dashboards: Any, preview: dict[str, Any]
) -> None:
    labels = {"probed_check": "<script>alert(1)</script>", "le": "0.1"}

    def hostile(_: str, instant: bool) -> list[Any]:
        return [{"metric": labels, "values": [[900.0, "0"], [960.0, "NaN"]]}]

    def silent(_: str, instant: bool) -> list[Any]:
        return []

    for dashboard in dashboards.values():
        assert "<script" not in preview["page"](dashboard, hostile, 1000.0, {})
        blank = preview["page"](dashboard, silent, 1000.0, {})
        assert blank.count("No data") == len(dashboard["panels"])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0034, "s", "3.4 ms"), (172800.0, "s", "2 d"), (-90.0, "s", "-1.5 min"), (0.0, "s", "0"),
        (0.9951, "percentunit", "99.51 %"), (3 << 20, "bytes", "3 MiB"), (12.0, "rpm", "12/min"), (1500.0, "short", "1.5 k"),
    ],
)  # fmt: skip
def test_numbers_have_their_unit(
    preview: dict[str, Any], value: float, unit: str, text: str
) -> None:
    assert preview["shown"](value, unit) == text


@pytest.mark.debian("prometheus")
@pytest.mark.timeout(120)
def test_the_twenty_minutes_are_seen(ask_prometheus: Callable[[str], list[Any]]) -> None:
    (found,) = ask_prometheus('probed_check_up{probed_check="gateway", instance="demo"} == 0')
    assert 18 <= len(found["values"]) <= 21


def test_the_recorded_names_are_those_that_the_kinds_measure() -> None:
    from probed.registry import Registry
    from probed.telemetry import catalogue as c
    from probed.telemetry.catalogue import prometheus_name

    known = {
        prometheus_name(measure)
        for kind in ("email_queue", "email_roundtrip")
        for measure in Registry().load(kind).measures
    }
    known |= {prometheus_name(measure) for measure in (c.INFO, c.UP, c.LAST_SUCCESS)}
    assert set(re.findall(r"^# TYPE (\w+)", MAIL, re.MULTILINE)) <= known
