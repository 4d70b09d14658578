"""`python -m benchmarks.fuzz --minutes 5`: run the tests of tests/fuzz on new examples for some minutes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time


def main() -> int:
    """Return 0, or pytest's exit code for a failure; pytest prints how to reproduce it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    ends = time.monotonic() + parser.parse_args().minutes * 60
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=0", "tests/fuzz"]
    while time.monotonic() < ends:
        code = subprocess.run(
            command, env=os.environ | {"PROBED_FUZZ": "fuzz"}, check=False
        ).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
