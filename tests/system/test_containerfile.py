"""What hadolint says of the image's recipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_hadolint_has_nothing_to_say(project: Path) -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), project / "config/container/Containerfile"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
