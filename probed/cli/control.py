"""`probed reload`, `status`, `drain` and `check --daemon`: clients of the running daemon.

Nothing slow is imported here.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from probed.control.client import UnreachableError, send_request

if TYPE_CHECKING:
    from probed.cli.outputs import Output

UNKNOWN = 3
CHECK_SECONDS = 660.0
_EXIT = {"ok": 0, "degraded": 1, "failed": 2, "unknown": 3}
_WORST = (("down", 2), ("unknown", 3), ("pending", 3), ("degraded", 1))
"""Verdicts of checks, worst first, and the exit code of each."""


def request(
    command: str, path: str | None, *, timeout: float = 120.0, **details: Any
) -> dict[str, Any]:
    """Return the daemon's answer. Without one, print why to standard error and exit with 3."""
    try:
        answer = send_request({"command": command, **details}, path=path, timeout=timeout)
    except UnreachableError as error:
        click.echo(str(error), err=True)
        raise Exit(UNKNOWN) from None
    if "error" in answer:
        click.echo(answer["error"], err=True)
        raise Exit(UNKNOWN)
    return answer


def reload(path: str | None, *, force: bool = False) -> int:
    """Reload. Return 0 if the daemon now runs the configuration of the files, else 3; print why."""
    answer = request("reload", path, force=force)
    for line in answer["lines"]:
        click.echo(line, err=not answer["ok"])
    if not answer["ok"]:
        click.echo("not reloaded: the daemon continues with its previous configuration", err=True)
        return UNKNOWN
    if not answer["lines"]:
        click.echo("nothing has changed")
    return 0


def status(path: str | None, output: str) -> int:
    """Print the status of the daemon's checks; the worst verdict decides the exit code."""
    answer = request("status", path)
    if output == "json":
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(answer)
    verdicts: Mapping[str, int] = answer["verdicts"]
    enabled = {entry["verdict"] for entry in answer["not_up"]}
    return next((code for name, code in _WORST if verdicts[name] and name in enabled), 0)


def await_end() -> None:
    """Return on SIGTERM or SIGINT. Blocked signals also reach the first process of a container, for which
    the kernel ignores those without a handler (signal(7)).
    """
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    click.echo("waiting for SIGTERM")
    signal.sigwait(ends)


def drain(path: str | None, *, duration: str | None, end: bool) -> int:
    answer = request("drain", path, duration=duration, end=end)
    click.echo("drained: no checks are run" if answer["drained"] else "running checks")
    return 0


def check(
    path: str | None,
    names: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
    outputs: Sequence[Output],
    verbose: bool,
) -> int:
    """Have the daemon run checks now, and write their results as a run here would."""
    from datetime import datetime  # noqa: PLC0415  # not needed by the others

    from probed.cli.outputs import Place, Writer  # noqa: PLC0415
    from probed.documents import result_of  # noqa: PLC0415

    answer = request(
        "check", path, timeout=CHECK_SECONDS, names=list(names), tags=list(tags), all=everything
    )
    if answer["warning"]:
        click.echo(answer["warning"], err=True)
    results = [result_of(document) for document in answer["results"]]
    written = answer["places"]
    places: dict[str, Place | None] = {
        name: (written[name][0], written[name][1]) if name in written else None
        for name in (result.check for result in results)
    }
    writer = Writer(places, outputs, verbose=verbose)
    for result in results:
        writer.write(result)
    started_at = datetime.fromisoformat(answer["started_at"]).timestamp()
    report = writer.finish(started_at, answer["duration_s"])
    if answer["cancelled"]:
        cancelled = ", ".join(answer["cancelled"])
        click.echo(f"not run, cancelled by a reload or a drain: {cancelled}", err=True)
        return UNKNOWN
    return _EXIT[report.outcome.value]


def _print(answer: Mapping[str, Any]) -> None:
    verdicts = ", ".join(f"{count} {name}" for name, count in answer["verdicts"].items() if count)
    click.echo(f"probed {answer['version']}, up {_span(answer['uptime_s'])}: {verdicts}")
    if answer["drained"]:
        click.echo("drained: no checks are run (`probed drain --end` resumes)")
    loaded = answer["config"]
    if not loaded["last_reload_ok"]:
        click.echo(f"the last reload failed; in force is what was loaded at {loaded['loaded_at']}")
        for line in loaded["error"].splitlines():
            click.echo(f"    {line}")
    entries: Sequence[Mapping[str, Any]] = answer["not_up"]
    if not entries:
        return
    width = min(40, max(len(entry["check"]) for entry in entries))
    for entry in entries:
        since = f"  since {entry['since']}" if entry["since"] else ""
        flapping = "  flapping" if entry["flapping"] else ""
        by = entry["suppressed_by"]
        suppressed = f"  (alert suppressed: depends on {', '.join(by)})" if by else ""
        click.echo(
            f"{entry['severity']}  {entry['check']:<{width}}  {entry['verdict']:<8}"
            f"{since}{flapping}{suppressed}"
        )
        if entry["reason"]:
            click.echo(f"    {entry['reason']}: {entry['message']}")


def _span(seconds: float) -> str:
    """`3 d 4 h`, `5 h 2 min`, `1 min 12 s`."""
    for size, name, below, smaller in (
        (86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"),
    ):  # fmt: skip
        if seconds >= size:
            return f"{seconds // size:.0f} {name} {seconds % size // below:.0f} {smaller}"
    return f"{seconds:.0f} s"
