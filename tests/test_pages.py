"""The documentation: its examples are valid, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import trustme
import yaml

from probed.cli import cli
from probed.config import loads
from probed.model import MetricType
from probed.registry import Registry
from probed.telemetry.catalogue import CATALOGUE, SHARD, label_name, prometheus_name

SECTIONS = {"service", "telemetry", "defaults", "include", "templates", "checks"}
SECRETS = {"stripe_rk": "rk_live_" + "a" * 24, "stripe_whsec": "whsec_" + "a" * 32}
ENVIRONMENT = {"MONGO_URI": "mongodb://db.internal:27017/", "MONGO": "mongodb://db.internal:27017/"}
README_WORDS = 1200


def pages(project: Path) -> list[Path]:
    top = (project / name for name in ("README.md", "CONTRIBUTING.md"))
    return [*top, *sorted((project / "docs").glob("*.md"))]


def blocks(project: Path, language: str) -> Iterator[tuple[str, str]]:
    """Each fenced block of that language, with the place where it begins."""
    for page in pages(project):
        text = page.read_text()
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{page.relative_to(project)}:{line}", found[1]


def examples(project: Path) -> Mapping[str, str]:
    """The YAML blocks that are configurations of probed."""
    return {
        place: text
        for place, text in blocks(project, "yaml")
        if set(yaml.safe_load(text)) <= SECTIONS
    }


def prepared(text: str, folder: Path) -> tuple[str, dict[str, str]]:
    """The example and its environment, with all files and secrets that it names in `folder`."""
    if "checks:" not in text:
        text += "checks: [{name: a, probe: dns, query: example.com}]\n"
    ca = trustme.CA()
    certificate = ca.issue_cert("probed.example.com")
    secrets = SECRETS | {"client_key": certificate.private_key_pem.bytes().decode()}
    for name in {"client.pem", *re.findall(r"(?:ca|certificate): (/\S+?\.pem)", text)}:
        file = folder / Path(name).name
        (certificate.cert_chain_pems[0] if "client" in name else ca.cert_pem).write_to_path(file)
        text = text.replace(name, str(file))
    for name in re.findall(r"\{credential: (\w+)\}", text):
        (folder / name).write_text(secrets.get(name, "secret"))
        (folder / name).chmod(0o600)
    for pattern in re.findall(r"include: \[(\S+)/\*\.yaml\]", text):
        (folder / pattern).mkdir(exist_ok=True)
        (folder / pattern / "more.yaml").write_text("checks: []\n")
    text = re.sub(r"\{file: [^}]+\}", "{env: SECRET}", text)
    environ = dict.fromkeys(re.findall(r"\{env: (\w+)\}", text), "value")
    mode = "live" if "mode: live" in text else "test"
    own = {"STRIPE_KEY": f"rk_{mode}_{'a' * 24}", "CREDENTIALS_DIRECTORY": str(folder)}
    return text, environ | ENVIRONMENT | own


def test_every_configuration_is_valid_and_without_remarks(project: Path, tmp_path: Path) -> None:
    found = examples(project)
    assert len(found) >= 20
    for place, text in found.items():
        example, environ = prepared(text, tmp_path)
        config = loads(example, Registry(), name=place, environ=environ, base=tmp_path)
        assert config.warnings == (), place


def test_the_first_example_of_the_readme_is_short(project: Path) -> None:
    text = next(text for place, text in blocks(project, "yaml") if place.startswith("README"))
    assert len(text.splitlines()) <= 15


def test_the_readme_is_short(project: Path) -> None:
    assert len((project / "README.md").read_text().split()) <= README_WORDS


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(
            " ", "-"
        )
        for heading in headings
    }


def test_every_link_leads_to_a_file_and_a_heading(project: Path) -> None:
    known: dict[Path, set[str]] = {}
    count = 0
    for page in pages(project):
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            to = (page.parent / path).resolve() if path else page
            assert to.exists(), f"{page.name}: {link}"
            if anchor:
                assert anchor in known.setdefault(to, anchors(to)), f"{page.name}: {link}"
            count += 1
    assert count > 100


def test_every_kind_has_a_page_and_every_page_is_in_the_index(project: Path) -> None:
    index = set(re.findall(r"\]\(([\w./]+\.md)\)", (project / "docs/README.md").read_text()))
    names = {path.name for path in (project / "docs").glob("*.md")} - {"README.md"}
    assert names - index == set()
    assert {f"{kind}.md" for kind in Registry().kinds()} <= names


def typed(project: Path) -> Iterator[tuple[str, list[str]]]:
    """Each `probed …` that a console block shows, as its words."""
    for place, text in blocks(project, "console"):
        for line in text.replace("\\\n", " ").splitlines():
            command = re.match(r"[$#] (?:podman exec NAME )?(?:\S*/)?(probed .*)", line)
            if command:
                words = shlex.split(re.split(r"\s[|&>;]|  #", command[1])[0])
                if len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
                    yield f"{place}: {line}", words[1:]


def test_every_command_and_option_exists(project: Path) -> None:
    found = list(typed(project))
    assert len(found) >= 20
    for place, words in found:
        command: Any = cli
        while isinstance(command, click.Group):
            assert words[:1], place
            assert words[0] in command.commands, place
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        used = {word.split("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert used <= options | {"--help", "-h"}, place


@pytest.mark.parametrize("page", ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_that_a_page_for_contributors_names_exists(project: Path, page: str) -> None:
    text = (project / page).read_text()
    paths = re.findall(
        r"`((?:probed|probes|tests|config|docs|benchmarks|systemd)/[a-z\d_./-]+)`", text
    )
    for path in paths:
        assert (project / path).exists(), path


def test_the_layers_of_the_architecture_are_those_of_the_contract(project: Path) -> None:
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    table = (project / "docs/ARCHITECTURE.md").read_text().split("| Layer | Duty |")[1]
    rows = re.findall(r"^\| (`[^|]+`) \|", table.split("\n\n")[0], re.MULTILINE)
    assert [re.findall(r"\w+", row) for row in rows] == [re.findall(r"\w+", row) for row in layers]


def test_every_metric_that_the_pages_name_is_exported(project: Path) -> None:
    known = {"probed_tls_certificate_not_after_seconds"}
    for measure in (*CATALOGUE, SHARD):
        known |= {prometheus_name(measure), *map(label_name, measure.attributes)}
        if measure.kind is MetricType.HISTOGRAM:
            known.add(f"{prometheus_name(measure)}_bucket")
    for page in ("telemetry", "operation", "troubleshooting", "kubernetes", "tls"):
        text = (project / f"docs/{page}.md").read_text()
        found = set(re.findall(r"\b(probed_[a-z_]+)\b(?!/)", text))
        assert found - known == set(), page


@pytest.mark.parametrize("kind", Registry().kinds())
def test_the_page_of_a_kind_has_each_of_its_measures(project: Path, kind: str) -> None:
    text = (project / f"docs/{kind}.md").read_text()
    for measure in Registry().load(kind).measures:
        assert measure.name in text or f"`.{measure.name.rpartition('.')[2]}`" in text, measure.name
