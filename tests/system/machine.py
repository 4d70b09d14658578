"""A machine with a real systemd: a throw-away overlay of this one in a container, without a network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import probed
from tests.programs import wait_until

PYTHON = "/usr/bin/python3"
"""Debian's: the service cannot see interpreters below /root and /home."""
BASE = "systemd.unit=basic.target"
_SCRIPT = """\
#!/opt/probed/bin/python
import sys
from probed.__main__ import main
sys.exit(main())
"""
_WEDGE = """\
import time
from probed import Probe

class WedgeProbe(Probe):
    kind = "wedge"

    @property
    def target(self):
        return "the event loop"

    @property
    def host(self):
        return ""

    async def probe(self, run):
        time.sleep(600)
"""
_PEER = """\
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["Authorization"] == "Bearer right-token"
        self.send_response(200 if known or self.path == "/open" else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


@dataclass
class Machine:
    """`leader` is its first process, as this machine numbers it."""

    leader: int

    def do(self, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in it, to its end."""
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt/probed/bin", "NO_COLOR=1"]
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "--wd=/", *clean, *command],
            input=text, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def write(self, path: str, text: str) -> None:
        done = self.do("sh", "-c", f'mkdir -p "$(dirname {path})" && cat > {path}', text=text)
        assert done.returncode == 0, done.stderr

    def show(self, unit: str, *names: str) -> list[str]:
        """Properties of a unit."""
        shown = self.do("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        return [found[name] for name in names]

    def journal(self, *arguments: str) -> str:
        return self.do("journalctl", "--no-pager", *arguments).stdout


def _installed(folder: Path) -> list[str]:
    """An installation as an operator has it, in `/opt/probed`; what nspawn binds where."""
    venv = folder / "venv"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", "--symlinks", str(venv)], check=True)
    script = venv / "bin/probed"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    more = folder / "more"
    (more / "wedge-1.dist-info").mkdir(parents=True)
    (more / "wedge.py").write_text(_WEDGE)
    (more / "peer.py").write_text(_PEER)
    (more / "wedge-1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: wedge\nVersion: 1\n"
    )
    (more / "wedge-1.dist-info/entry_points.txt").write_text(
        "[probed.probes]\nwedge = wedge:WedgeProbe\n"
    )
    bound = {
        "/opt/probed": venv,
        "/opt/more": more,
        "/opt/site": Path(sysconfig.get_path("purelib")),
    }
    places = ["/opt/site", "/opt/more"]
    source = Path(probed.__file__).parent.parent
    if source != bound["/opt/site"]:  # installed for development
        bound["/opt/source"] = source
        places.append("/opt/source")
    (site,) = (venv / "lib").glob("python*/site-packages")
    lines = [f"import site; site.addsitedir({place!r})" for place in places]
    (site / "probed.pth").write_text("\n".join(lines) + "\n")
    return [f"--bind-ro={outside}:{inside}" for inside, outside in bound.items()]


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """It runs while the block does; what is written in it is gone with it."""
    root, log = folder / "root", folder / "log"
    root.mkdir()
    binds = _installed(folder)
    command: Sequence[str] = [
        "systemd-nspawn", "-D", str(root), "--volatile=overlay", "-b", "--private-network",
        "--register=no", "--keep-unit", "--console=pipe", "--machine=probed-test",
        "--link-journal=no", *binds, BASE,
    ]  # fmt: skip
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", 'mount --bind / "$0" && exec "$@"', str(root), *command],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            found = Machine(wait_until(lambda: _leader(process), f"the container: see {log}"))
            wait_until(
                lambda: found.do("systemctl", "is-active", "basic.target").returncode == 0,
                "systemd",
            )
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _leader(process: subprocess.Popen[bytes]) -> int:
    assert process.poll() is None, "systemd-nspawn has ended"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next((int(c) for c in children if _name(c) == "systemd"), 0)


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def why_not() -> str | None:
    """Why there can be no such machine here; None where there can."""
    if os.getuid() != 0:
        return "needs root, for a container"
    missing = [tool for tool in ("systemd-nspawn", "nsenter", "unshare") if not shutil.which(tool)]
    if missing:
        return f"needs {', '.join(missing)} (Debian package systemd-container)"
    if not Path("/lib/systemd/systemd").exists():
        return "needs the Debian package systemd"
    version = subprocess.run(
        [PYTHON, "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if version != [str(part) for part in sys.version_info[:2]]:
        return f"needs {PYTHON} of this interpreter's version"
    return None
