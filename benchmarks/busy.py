"""`python -m benchmarks.busy --loops 8 -- COMMAND`: run a command beside processes that want all of the
processor, and exit as it does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

LONGEST = 3600
"""Seconds after which a busy loop ends by itself."""
LOOP = f"import time\nends = time.monotonic() + {LONGEST}\nwhile time.monotonic() < ends: pass"


def main() -> int:
    """Return the exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument("--loops", type=int, default=8, choices=range(65), metavar="N")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(arguments.loops)]
    try:
        return subprocess.run(arguments.command, check=False).returncode
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    sys.exit(main())
