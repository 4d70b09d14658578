"""What others wrote and we use: all of it is declared, bounded, pinned for CI, and free to use."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = {"probed", "probes", "benchmarks", "config", "tests"}
SHARED = {
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-api",
    "opentelemetry.exporter.otlp.proto.common": "opentelemetry-exporter-otlp-proto-common",
    "google.protobuf": "protobuf",
}
"""Packages that are parts of a namespace, by their names there."""
PACKAGES = packages_distributions()
FREE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Unlicense|0BSD|HPND|CNRI|zlib",
    re.IGNORECASE,
)
"""Licences that ask for no more than to be named; of the MPL, changes to its own files."""


def settings(project: Path) -> dict[str, list[str]]:
    read = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    return {"": read["dependencies"], **read["optional-dependencies"]}


def names(project: Path, *extras: str) -> set[str]:
    declared = settings(project)
    return {
        canonicalize_name(Requirement(text).name) for extra in extras for text in declared[extra]
    }


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """Module and file of each import of what is neither ours nor Python's."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            found: list[str] = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found = [node.module]
            for module in found:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in OURS:
                    yield module, str(file.relative_to(folder.parent))


def distribution_of(module: str) -> str:
    for prefix, name in SHARED.items():
        if f"{module}.".startswith(f"{prefix}."):
            return name
    (name, *others) = PACKAGES[module.partition(".")[0]]
    assert not others, module
    return canonicalize_name(name)


@pytest.mark.parametrize(("folder", "extras"), [("probed", ("", "demo", "dev")), ("probes", ("",))])
def test_every_import_is_declared(project: Path, folder: str, extras: tuple[str, ...]) -> None:
    plain, all_ = names(project, ""), names(project, *extras)
    for module, file in imported(project / folder):
        special = file.startswith(("probed/demo/", "probed/testing/"))
        assert distribution_of(module) in (all_ if special else plain), f"{module} in {file}"


def test_every_range_has_both_ends(project: Path) -> None:
    for texts in settings(project).values():
        for text in texts:
            operators = {each.operator for each in Requirement(text).specifier}
            assert operators & {">=", "~="}, text
            assert operators & {"<", "~="}, text


FLOORS = {
    "cryptography": "44.0.1", "h2": "4.3.0", "protobuf": "6.31.1", "dnspython": "2.6.1", "h11": "0.16.0",
    "anyio": "4.4.0", "starlette": "0.47.2", "pymongo": "4.6.3", "PyYAML": "5.4",
}  # fmt: skip
"""The first versions without a hole that is known and concerns us."""


def test_no_floor_is_known_to_be_bad(project: Path) -> None:
    for text in settings(project)[""]:
        requirement = Requirement(text)
        if requirement.name in FLOORS:
            from packaging.version import Version

            floors = [
                Version(s.version) for s in requirement.specifier if s.operator in {">=", "~="}
            ]
            assert max(floors) >= Version(FLOORS[requirement.name]), text


def closure(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """All distributions that this one needs here."""
    found: set[str] = set()
    left = [(name, extras)]
    while left:
        name, extras = left.pop()
        try:
            requires = distribution(name).requires or ()
        except PackageNotFoundError:
            continue
        for text in requires:
            requirement = Requirement(text)
            environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            marker = requirement.marker
            if marker is not None and not any(map(marker.evaluate, environments)):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in found:
                found.add(needed)
                left.append((needed, tuple(requirement.extras)))
    return found


def test_ci_installs_known_versions_of_all_of_it(project: Path) -> None:
    lines = (project / ".ci/constraints.txt").read_text().split()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", line) for line in lines)
    assert closure("probed-daemon", ("", "demo", "dev")) <= pinned
    assert "-c .ci/constraints.txt" in (project / ".ci/run").read_text()


def test_what_we_ship_with_may_be_used_by_anybody() -> None:
    for name in sorted(closure("probed-daemon")):
        metadata = distribution(name).metadata
        told = [metadata.get("License-Expression") or "", (metadata.get("License") or "")[:200]]
        told += [each for each in metadata.get_all("Classifier", []) if each.startswith("License")]
        assert any(map(FREE.search, told)), f"{name}: {told}"
        assert not any(re.search(r"\bA?GPL", each) for each in told), f"{name}: {told}"
