"""Cold start: CPU time of a process from its start to the result of one check."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure, ratio
from benchmarks.processes import nginx

_BASE = (sys.executable, "-c", "import httpx2, pydantic")


def cold(folder: Path, *, quick: bool) -> list[Figure]:
    """Measure `probed check` of one HTTP check, and the import of the two libraries it needs."""
    with nginx(folder) as (url, _, _):
        config = folder / "cold.yaml"
        config.write_text(f"checks: [{{name: web, probe: gateway, url: '{url}'}}]\n")
        program = str(Path(sys.executable).with_name("probed"))
        check = (program, "check", "web", "-c", str(config))
        for command in (check, _BASE):  # what is compiled is compiled
            _cost(*command)
        pairs = [(_cost(*check), _cost(*_BASE)) for _ in range(3 if quick else 15)]
    name = "cold `probed check` of one HTTP check / `import httpx2, pydantic`"
    return [ratio(name, pairs, (1.7, 1.2, 0.5), "ms")]


def _cost(*command: str) -> float:
    """Return milliseconds of CPU time."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000
