"""`python -m benchmarks`: run the benchmarks, print the table, write JSON."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.cold import cold
from benchmarks.figures import Figure, document, machine, table
from benchmarks.mail import mail
from benchmarks.mongo import mongo
from benchmarks.page import page
from benchmarks.patterns import patterns
from benchmarks.probes import paced, saturation
from benchmarks.processes import OTHER, MissingError
from benchmarks.scale import scale
from benchmarks.series import series
from benchmarks.stripe import stripe

ALL = {
    "saturation": saturation,
    "paced": paced,
    "mail": mail,
    "scale": scale,
    "cold": cold,
    "series": series,
    "mongo": mongo,
    "stripe": stripe,
    "page": page,
    "patterns": patterns,
}


def main() -> int:
    """Return 0, or 1 if a benchmark failed or a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, to test the benchmarks")
    parser.add_argument("--only", choices=ALL, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {OTHER})
    figures: list[Figure] = []
    missing: list[str] = []
    for name in arguments.only or ALL:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="probed-bench-") as folder:
            try:
                figures += ALL[name](Path(folder), quick=arguments.quick)
            except (MissingError, AssertionError, TimeoutError) as error:
                missing.append(f"{name}: NOT MEASURED: {error}")
    print(f"{machine()}\n\n{table(figures)}")
    print(*missing, sep="\n", file=sys.stderr)
    if arguments.json is not None:
        arguments.json.write_text(document(figures) + "\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
