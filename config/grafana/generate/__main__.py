"""`python -m config.grafana.generate`: write the dashboards as JSON, from the root of the repository."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import check, daemon, email, gateway, mongodb, overview, stripe

DASHBOARDS = (overview, check, gateway, mongodb, email, stripe, daemon)
"""The modules. Each has one dashboard as `DASHBOARD`."""
FOLDER = Path(__file__).parent.parent / "dashboards"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m config.grafana.generate", description=__doc__)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to")
    folder: Path = parser.parse_args().output
    for module in DASHBOARDS:
        document = module.DASHBOARD
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (folder / f"{document['uid']}.json").write_text(text)


if __name__ == "__main__":
    main()
