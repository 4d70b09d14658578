"""The command ends with one line and a documented code, whatever its surroundings are like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import environment

CONFIG = """
checks:
  - {name: refused, probe: tcp, address: "127.0.0.1:9", confirm: 0, timeout: 5s}
"""
CHECK = "{probed} check refused -c {config}"
FAILED, UNKNOWN = 2, 3
FULL = "probed: cannot write the output: No space left on device"
GONE = "mkdir gone && cd gone && rmdir ../gone && "

SURROUNDINGS = {
    "standard output is full": (CHECK + " >/dev/full", UNKNOWN, FULL),
    "a list on a full device": ("{probed} list -c {config} >/dev/full", UNKNOWN, FULL),
    "the version on a full device": ("{probed} --version >/dev/full", UNKNOWN, FULL),
    "help on a full device": ("{probed} check --help >/dev/full", UNKNOWN, FULL),
    "the schema on a full device": ("{probed} config schema >/dev/full", UNKNOWN, FULL),
    "rules on a full device": ("{probed} rules -c {config} >/dev/full", UNKNOWN, FULL),
    "a report on a full device": (CHECK + " -o junit=/dev/full >/dev/null", UNKNOWN, "Error: cannot write /dev/full: No space left on device"),
    "standard error is full": (CHECK + " 2>/dev/full", FAILED, None),
    "standard output is closed": (CHECK + " >&-", FAILED, None),
    "standard error is closed": (CHECK + " 2>&-", FAILED, None),
    "all streams are closed": (CHECK + " <&- >&- 2>&-", FAILED, None),
    "the reader goes away": ("{probed} explain gateway | head -n 1", 0, None),
    "ASCII only": ("LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii:strict " + CHECK, FAILED, None),
    "an encoding that is none": ("LC_ALL=xx_XX.none " + CHECK, FAILED, None),
    "no home, no path": ("HOME= PATH= " + CHECK, FAILED, None),
    "the working directory is gone": (GONE + CHECK, FAILED, None),
    "the working directory is gone, and so is the file": (GONE + "{probed} check refused -c here.yaml", UNKNOWN, "here.yaml: cannot be read: No such file or directory"),
    "the working directory is gone, and no file is named": (GONE + "{probed} check refused", UNKNOWN, "probed.yaml: no such file, and no /etc/probed/probed.yaml"),
    "few open files": ("ulimit -n 7; " + CHECK, None, None),
    "a report where nothing may be written": (CHECK + " -o json=/proc/report.json", UNKNOWN, "Error: cannot write /proc/report.json"),
    "a report in no folder": (CHECK + " -o json=nowhere/report.json", UNKNOWN, "Error: the file nowhere/report.json cannot be written"),
    "a configuration that is a folder": ("{probed} check refused -c /", UNKNOWN, "/: is a directory"),
    "a configuration below a file": ("{probed} check refused -c {config}/x", UNKNOWN, "cannot be read: Not a directory"),
    "a name that is no text": (r"{probed} check $(printf '\377') -c {config}", UNKNOWN, "there is no check"),
}  # fmt: skip


def shell(line: str, folder: Path, program: str, **env: str) -> subprocess.CompletedProcess[str]:
    config = folder / "probed.cfg.yaml"
    config.write_text(CONFIG)
    return subprocess.run(
        ["/bin/bash", "-c", line.format(probed=program, config=config)],
        capture_output=True, text=True, timeout=60, check=False, cwd=folder, errors="replace",
        env=environment(**env),
    )  # fmt: skip


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_it_ends_with_a_line_and_a_code(name: str, tmp_path: Path, program: str) -> None:
    line, code, said = SURROUNDINGS[name]
    done = shell(line, tmp_path, program)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in ({code} if code is not None else {FAILED, UNKNOWN}), done.stderr
    if said is not None:
        (last,) = done.stderr.strip().splitlines()[-1:]
        assert said in last


def test_text_that_the_terminal_cannot_show_is_written_as_escapes(
    tmp_path: Path, program: str
) -> None:
    config = CONFIG.replace("}", ", labels: {team: 'grün 组'}}")
    path = tmp_path / "c.yaml"
    path.write_text(config, encoding="utf-8")
    line = f"{{probed}} check -o nagios refused -c {path}; {{probed}} config show -c {path}"
    done = shell(line, tmp_path, program, PYTHONIOENCODING="latin-1:strict", PYTHONUTF8="0")
    assert "CRITICAL" in done.stdout
    assert "team: gr\ufffdn \\u7ec4" in done.stdout
    assert done.returncode == 0, done.stderr


def test_a_report_in_a_folder_that_may_not_be_looked_into(tmp_path: Path, program: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    tmp_path.chmod(0o755)
    behind = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    if behind and not os.access(sys.executable, os.X_OK):
        pytest.fail("the interpreter cannot be run")
    line = " ".join(
        [*behind, "{probed} check refused -c {config} -o junit=" + str(closed / "j.xml")]
    )
    done = shell(line, tmp_path, program)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == UNKNOWN or "not found" in done.stderr or "denied" in done.stderr


def test_a_bug_is_one_line_and_never_a_degraded_check(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import probed.cli.checking as c\n"
        "def broken(*args, **kwargs): raise ValueError('text with a secret')\n"
        "c.select = broken\n"
    )
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "probed", "check", "refused", "-c", str(path)],
        capture_output=True, text=True, check=False, timeout=60,
        env=environment(PYTHONPATH=str(tmp_path)),
    )  # fmt: skip
    assert done.returncode == UNKNOWN
    assert done.stderr == (
        "probed: internal error: ValueError at sitecustomize.py:2; this is a bug"
        " (python -X dev -m probed shows more)\n"
    )
    assert "secret" not in done.stdout + done.stderr
