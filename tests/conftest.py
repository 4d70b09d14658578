"""What all tests share: the backend, the rule for Debian packages, hostile defaults."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

# Imported before any loop runs, as the daemon does: libraries read files while they are imported.
import probed.telemetry.export  # noqa: F401

# Daemons of tests are not to be found by others; those that are asked say where they are.
os.environ["PROBED_CONTROL"] = ""

CI = os.environ.get("CI") == "true"
PROGRAMS = {
    "bubblewrap": ("bwrap",),
    "buildah": ("buildah",),
    "bind9": ("named",),
    "chromium": ("chromium",),
    "dovecot-imapd": ("dovecot",),
    "faketime": ("faketime",),
    "iproute2": ("ip", "tc"),
    "kubernetes-client": ("kubectl",),
    "mmdebstrap": ("mmdebstrap",),
    "nftables": ("nft",),
    "nginx": ("nginx",),
    "postfix": ("postfix", "postqueue"),
    "postgresql": ("pg_ctlcluster",),
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "amtool"),
    "redis-server": ("redis-server",),
    "systemd": ("systemd-analyze",),
}
"""The programs of each Debian package that a test may need."""

# Small files in memory, looked at where they are used: a thread would cost twenty times as much.
_FILES = {"probed/net/resolve.py": {"_read_hosts", "_stamp"},
    "probed/net/resolv_conf.py": {"read_resolv_conf"}, "probed/net/tls.py": {"get"},
          "probed/net/identity.py": {"check_identity"}}  # fmt: skip
_MAY_READ = {
    # PyMongo looks whether it is in a container, once for each client.
    "os.stat": {**_FILES, "pymongo/pool_options.py": {"get_container_env_info"}},
    "io.BufferedReader.read": _FILES,
    "io.TextIOWrapper.read": _FILES,
    "os.read": {"probed/telemetry/process.py": {"memory"}},
    "os.listdir": {"probed/telemetry/process.py": {"open_files"}},
}

_skipped: list[str] = []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("debian"):
        missing = [p for p in PROGRAMS[mark.args[0]] if _which(p) is None]
        if missing:
            pytest.skip(f"needs the Debian package {mark.args[0]} ({', '.join(missing)})")


def pytest_configure(config: pytest.Config) -> None:
    """PyMongo leaves a socket to the collector when it is cancelled while it connects: its
    `_async_create_connection` closes it on OSError only. Such a one names its protocol, as those of
    ours do not; that ours are closed, `no_leaks` says.
    """
    config.addinivalue_line(
        "filterwarnings",
        r"ignore:Exception ignored in. <socket.socket fd=\d+, family=\d+, type=1, proto=6:"
        "pytest.PytestUnraisableExceptionWarning",
    )


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


@pytest.fixture(autouse=True)
def loop_is_never_blocked() -> Iterator[None]:
    """A call of ours that blocks the event loop is an error."""
    with blockbuster_ctx(["probed", "probes"], excluded_modules=["probed.testing"]) as blocking:
        for function, places in _MAY_READ.items():
            for file, names in places.items():
                blocking.functions[function].can_block_in(file, names)
        yield


@pytest.fixture
def read_to_end() -> Callable[[int], bytes]:
    """All that is still written to the other end of a terminal; this end is closed then."""

    def read(descriptor: int) -> bytes:
        shown = b""
        try:
            while data := os.read(descriptor, 65536):
                shown += data
        except OSError:
            pass  # the other end is closed
        finally:
            os.close(descriptor)
        return shown

    return read


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
