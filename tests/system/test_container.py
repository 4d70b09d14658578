"""The image: built from the wheel, and run without rights, on a root that cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import ask, free_port, wait_until

pytestmark = [
    pytest.mark.debian("buildah"),
    pytest.mark.debian("mmdebstrap"),
    pytest.mark.debian("bubblewrap"),
    pytest.mark.root,
    pytest.mark.timeout(400),
]
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")


def done(*command: str, **env: str) -> str:
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | env
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stderr[-4000:]}"
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def root(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image's file system. Nothing is pulled: the base is a Debian of our own."""
    folder = tmp_path_factory.mktemp("image")
    base = folder / "base.tar"
    found = (
        re.search(r"^URIs: (\S+)", SOURCES.read_text(), re.MULTILINE) if SOURCES.exists() else None
    )
    mirror = [found[1]] if found else []
    done("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates",
         "bookworm", str(base), *mirror)  # fmt: skip
    context = folder / "context"
    done(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--wheel-dir",
        str(context / "dist"),
        str(project),
    )
    buildah = [
        "buildah",
        "--root",
        str(folder / "store"),
        "--runroot",
        str(folder / "run"),
        "--storage-driver",
        "vfs",
    ]
    isolated = {"BUILDAH_ISOLATION": "chroot"}
    made = done(*buildah, "from", "scratch")
    done(*buildah, "add", "--quiet", made, str(base), "/")
    done(*buildah, "commit", "--quiet", made, "localhost/base")
    file = project / "config/container/Containerfile"
    done(*buildah, "bud", "--quiet", "--network", "host", "--build-arg", "BASE=localhost/base",
         "--file", str(file), "--tag", "localhost/probed", str(context), **isolated)  # fmt: skip
    container = done(*buildah, "from", "localhost/probed")
    yield Path(done(*buildah, "mount", container))
    subprocess.run([*buildah, "rm", "--all"], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Container:
    """`process` is bubblewrap, its child the first process of the container."""

    process: subprocess.Popen[bytes]
    log: Path
    metrics: str
    config: Path
    enter: Callable[..., subprocess.CompletedProcess[str]]

    @property
    def first(self) -> int:
        return children(self.process.pid)[0]


def children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def below(pid: int) -> list[int]:
    found = children(pid)
    return [*found, *(deeper for child in found for deeper in below(child))]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextmanager
def running(root: Path, folder: Path, checks: str) -> Iterator[Container]:
    """As a kubelet would: uid 65532, no capabilities, a read-only root, an own set of processes."""
    port = free_port()
    config = folder / "etc"
    config.mkdir()
    text = (
        f"service: {{listen: '127.0.0.1:{free_port()}'}}\ntelemetry: {{listen: '127.0.0.1:{port}'}}\n"
        "defaults: {interval: 500ms, timeout: 400ms, fail_after: 1, recover_after: 1, confirm: 0}\n"
    )
    (config / "probed.yaml").write_text(text + checks)
    log = folder / "log"
    command = [
        "bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--as-pid-1", "--uid", "65532", "--gid", "65532",
        "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--ro-bind", str(root), "/", "--proc", "/proc",
        "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/lib/probed", "--tmpfs", "/run/probed",
        "--ro-bind", str(config), "/etc/probed", "--clearenv",
        "--setenv", "PATH", "/opt/probed/bin:/usr/bin:/bin", "--setenv", "STATE_DIRECTORY", "/var/lib/probed",
        "--setenv", "PROBED_CONTROL", "/run/probed/control.sock", "--setenv", "PYTHONUNBUFFERED", "1",
        "/usr/bin/tini", "--", "/opt/probed/bin/probed", "run", "--config", "/etc/probed/probed.yaml",
    ]  # fmt: skip
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)

    def enter(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "-t", str(children(process.pid)[0]), "-U", "--preserve-credentials", "-m", "-p", "--",
             "/usr/bin/env", "PROBED_CONTROL=/run/probed/control.sock", "/opt/probed/bin/probed", *arguments],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: ask(f"{url}/readyz")[0] == 200, f"the container: {log.read_text()}")
        yield Container(process, log, url, config / "probed.yaml", enter)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def test_it_probes_reloads_and_stops(root: Path, tmp_path: Path) -> None:
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        peer.listen()
        check = f"{{name: here, probe: tcp, address: '127.0.0.1:{peer.getsockname()[1]}'}}"
        with running(root, tmp_path, f"checks: [{check}]\n") as container:
            up = 'probed_check_up{probed_check="here",probed_probe="tcp"} 1'
            wait_until(lambda: up in ask(f"{container.metrics}/metrics")[2], "the check is up")
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{container.first}/status").read_text().splitlines()
                if ":\t" in line
            )
            assert set(status["CapEff"].strip()) == {"0"}
            text = container.config.read_text()
            container.config.write_text(
                text.replace(
                    "checks: [", "checks: [{name: more, probe: tcp, address: '127.0.0.1:9'}, "
                )
            )
            reloaded = container.enter("reload")
            assert reloaded.returncode == 0, reloaded.stderr
            assert "more" in container.enter("status").stdout or "more" in reloaded.stdout
            os.kill(container.first, signal.SIGTERM)
            assert container.process.wait(10) == 0
            assert "SIGTERM: stopping" in container.log.read_text()


def test_programs_that_a_probe_leaves_behind_are_buried(root: Path, tmp_path: Path) -> None:
    """A program that makes itself independent is nobody's child but the first process's."""
    leave = 'import os; os.fork() or (os.setsid(), os.fork() and os._exit(0)); print(\'{\\"depth\\": 0, \\"oldest_age_s\\": 0}\')'
    check = (
        f'- {{name: q, probe: email_queue, command: {{run: [/usr/bin/python3, -c, "{leave}"]}}}}'
    )
    with running(root, tmp_path, f"checks:\n{check}\n") as container:
        ran = re.compile(r'probed_check_runs_total\{probed_check="q"[^}]*\} [1-9]')
        wait_until(lambda: ran.search(ask(f"{container.metrics}/metrics")[2]), "it has run")
        wait_until(
            lambda: not [pid for pid in below(container.process.pid) if state(pid) == "Z"],
            "no zombie is left",
        )
        os.kill(container.first, signal.SIGTERM)
        assert container.process.wait(10) == 0


def test_the_image_has_no_root_no_pip_and_nothing_of_ours_but_the_wheel(
    root: Path, project: Path
) -> None:
    text = (project / "config/container/Containerfile").read_text()
    assert "USER 65532:65532" in text
    assert not list(root.glob("opt/probed/lib/python3*/site-packages/pip"))
    assert not (root / "dist").exists()
    assert list(root.glob("opt/probed/lib/python3*/site-packages/probed/units/probed.service"))
    assert not list(root.rglob("opt/probed/**/tests/conftest.py"))
