"""What is installed is what was built: both packages, their entry points, and nothing undeclared."""

from __future__ import annotations

import os
import re
import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

import probed
import probes
from probed.registry import Registry
from probed.version import __version__


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="the source tree is installed")
def test_the_wheel_is_tested_and_not_the_source(project: Path) -> None:
    for package in (probed, probes):
        assert package.__file__ is not None
        assert not Path(package.__file__).is_relative_to(project)
        assert Path(package.__file__).with_name("py.typed").exists()


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="the source tree is installed")
def test_the_wheel_installs_the_two_packages_and_no_benchmarks() -> None:
    files = distribution("probed-daemon").files
    assert files is not None
    packages = {path.parts[0] for path in files if path.suffix == ".py"}
    assert packages == {"probed", "probes"}


def test_the_wheel_is_told_to_hold_the_two_packages(project: Path) -> None:
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    targets = settings["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["packages"] == ["probed", "probes"]
    assert "/benchmarks" in targets["sdist"]["include"]


def test_the_distribution_is_named_so_that_nobody_uploads_it_and_has_one_version() -> None:
    found = distribution("probed-daemon")
    assert found.version == __version__
    assert "Private :: Do Not Upload" in found.metadata.get_all("Classifier", [])


def test_every_kind_is_an_entry_point_and_loads() -> None:
    registry = Registry()
    assert set(registry.kinds()) >= {"gateway", "tcp", "tls", "dns"}
    for point in entry_points(group="probed.probes"):
        assert registry.load(point.name).kind == point.name


def test_every_kind_has_tests_that_run_the_contract(project: Path) -> None:
    """The contract suite runs over every kind that ships."""
    text = "\n".join(path.read_text() for path in (project / "tests" / "probes").rglob("test_*.py"))
    for kind in (
        k for k in Registry().kinds() if Registry().load(k).__module__.startswith("probes.")
    ):
        name = Registry().load(kind).__name__
        assert re.search(rf"import {name}\b", text), kind
    assert text.count("(ProbeContract)") >= 4


def test_every_dependency_has_its_reason_in_the_table(project: Path) -> None:
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    table = (project / "CONTRIBUTING.md").read_text().split("## Dependencies")[1].split("\n## ")[0]
    extras = settings["optional-dependencies"]
    for requirement in [*settings["dependencies"], *extras["demo"]]:
        name = re.split(r"[<>=~;\[ ]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", table), name


def test_the_public_surface_is_what_it_says() -> None:
    for name in probed.__all__:
        assert getattr(probed, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = probed.nonsense
