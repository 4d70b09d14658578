"""The surface that authors of probe kinds see: complete, small, and cheap to import."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import iter_modules

import probed
from probed import Run

ROOT = Path(__file__).parent.parent
ALLOWED = {"probed.mail", "probed.testing"}
"""What kinds may import beside `probed` itself."""


def test_the_contract_names_every_module_that_kinds_may_not_import() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [
        each for each in linter["contracts"] if each["name"].startswith("probe kinds use")
    ]
    modules = {f"probed.{module.name}" for module in iter_modules(probed.__path__)}
    assert set(contract["forbidden_modules"]) == modules - ALLOWED
    assert "ignore_imports" not in contract


def test_each_public_name_is_there_and_has_one_home() -> None:
    for name in probed.__all__:
        assert getattr(probed, name) is not None
    assert sorted(probed.__all__, key=str.lower) == sorted(set(probed.__all__), key=str.lower)


def test_kinds_import_names_that_are_public() -> None:
    for file in (ROOT / "probes").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "probed":
                private = {alias.name for alias in node.names} - set(probed.__all__)
                assert not private, f"{file}: {private}"


def interface(kind: type) -> set[str]:
    return {
        name
        for name, member in vars(kind).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }


def test_the_handle_of_a_run_has_at_most_15_methods_of_its_own() -> None:
    own = interface(Run)
    assert len(own) <= 15, sorted(own)
    assert all(inspect.getdoc(getattr(Run, name)) for name in own)


def test_mail_imports_neither_a_kind_nor_what_one_is_made_of() -> None:
    """Mail to people, later, is no probe; and what a kind imports for DNS alone stays cheap."""
    script = "import sys, probed.mail; print(*sorted(m for m in sys.modules if m in {!r}))"
    heavy = {"aiosmtplib", "dns", "probed.probe", "probes", "probed.mail.smtp"}
    done = subprocess.run(
        [sys.executable, "-c", script.format(heavy)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


THIRD_PARTY = {
    "_distutils_hack", "annotated_types", "anyio", "click", "httptools", "idna", "pydantic", "pydantic_core", "sniffio",
    "typing_extensions", "typing_inspection", "yaml",
}  # fmt: skip
SELDOM = {
    "probed.http.client", "probed.http.http2", "probed.http.redirects", "probed.mail",
    "probed.net.vantage", "probed.store", "probed.telemetry", "probed.web",
}  # fmt: skip


def test_one_run_of_one_check_imports_what_it_needs(tmp_path: Path) -> None:
    config = tmp_path / "probed.yaml"
    config.write_text('checks: [{name: a, probe: gateway, url: "http://127.0.0.1:1/"}]\n')
    code = (
        "import sys; from probed.cli import main\n"
        f"try: main(['check', '--all', '-c', {str(config)!r}])\n"
        "except SystemExit: pass\n"
        "roots = {m.partition('.')[0] for m, module in sys.modules.items()"
        " if 'site-packages' in (getattr(module, '__file__', None) or '')}\n"
        f"print(*sorted(roots - {THIRD_PARTY!r} - {{'probed', 'probes'}}), *sorted(m for m in"
        f" sys.modules if m in {SELDOM!r} or (m.startswith('probes.') and 'gateway' not in m)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "connect.refused" in done.stdout
    assert done.stdout.splitlines()[-1].split() == []
