"""`probed rules`: output and exit codes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from probed.rules import generic
from tests.programs import PROBED

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rules(tmp_path: Path) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PROBED_"))}
        return subprocess.run(
            [PROBED, "rules", *arguments], capture_output=True, text=True, cwd=tmp_path,
            env=kept | {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}, check=False,
        )  # fmt: skip

    return run


def test_the_generic_ones_need_no_configuration(rules: Command) -> None:
    done = rules("--generic")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == generic()


def test_the_quorum_is_as_large_as_is_said(rules: Command) -> None:
    done = rules("--generic", "--quorum", "4")
    assert done.stdout.count("probed:check_locations:count >= 4") == 2
    assert rules("--generic", "--quorum", "1").returncode == 3


def test_those_of_a_configuration_name_its_checks(rules: Command, tmp_path: Path) -> None:
    (tmp_path / "probed.yaml").write_text(
        "checks: [{name: relay, probe: tcp, address: 'a:25', severity: P1, objective: 0.9995}]"
    )
    done = rules()
    assert (done.returncode, done.stderr) == (0, "")
    assert "probed_check: relay" in done.stdout
    assert "expr: vector(0.0005)" in done.stdout


def test_a_bad_configuration_or_usage_gives_no_rules(rules: Command, tmp_path: Path) -> None:
    (tmp_path / "probed.yaml").write_text("checks: [{name: a, probe: tcp, objective: 1}]")
    for arguments in ([], ["-c", "missing.yaml"], ["--generic", "-c", "probed.yaml"]):
        done = rules(*arguments)
        assert (done.returncode, done.stdout) == (3, ""), arguments
        assert done.stderr
