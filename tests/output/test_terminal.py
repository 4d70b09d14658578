"""Colours: on a terminal that shows them, and where they are asked for."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROBED = str(Path(sys.executable).with_name("probed"))
COLOURS = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM", "CI")


@pytest.mark.parametrize(
    ("terminal", "env", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),  # no-color.org: when it is present and not empty
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
        (False, {"CLICOLOR_FORCE": "1"}, True),
    ],
)
def test_colour(
    tmp_path: Path,
    read_to_end: Callable[[int], bytes],
    terminal: bool,
    env: dict[str, str],
    coloured: bool,
) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in COLOURS}
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        path = tmp_path / "probed.yaml"
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        path.write_text(f"checks: [{{name: down, probe: tcp, address: '{address}'}}]\n")
        parent, child = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(
            [PROBED, "check", "--all", "-c", str(path)],
            stdout=child,
            stderr=subprocess.DEVNULL,
            env=kept | {"TERM": "xterm"} | env,
        )
        os.close(child)
        shown = read_to_end(parent).decode()
        assert process.wait(timeout=10) == 2
    assert "connect.refused" in shown
    assert ("\x1b[" in shown) is coloured
    if not coloured:
        assert "\x1b" not in shown
