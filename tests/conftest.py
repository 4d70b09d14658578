"""What all tests share: the backend, the rule for Debian packages, hostile defaults."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CI = os.environ.get("CI") == "true"
PROGRAMS = {"nginx": ("nginx",), "prometheus": ("prometheus", "promtool")}
"""The programs of each Debian package that a test may need."""

_skipped: list[str] = []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("debian"):
        missing = [p for p in PROGRAMS[mark.args[0]] if _which(p) is None]
        if missing:
            pytest.skip(f"needs the Debian package {mark.args[0]} ({', '.join(missing)})")


def _which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may skip: a test that cannot run there has failed."""
    if CI and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CI and _skipped:
        terminalreporter.section("skipped in CI, which counts as failed")
        for name in _skipped:
            terminalreporter.line(name)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment that the product reads."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "PROBED_")) or name in {
            "STATE_DIRECTORY",
            "CREDENTIALS_DIRECTORY",
        }:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def project() -> Path:
    return Path(__file__).parent.parent
