"""`probed install systemd`: the units of the service manager, for the program that was started."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

import probed

PROGRAM = "/opt/probed/bin/probed"
"""The paths in the units as they ship."""
CONFIG = "/etc/probed/probed.yaml"
INSTANCE = "/etc/probed/%i.yaml"
_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108  # not written to
UNKNOWN = 3


def units() -> Mapping[str, str]:
    """The units as they ship, by name."""
    package = Path(probed.__file__).parent
    shipped = package / "units"  # of a wheel
    folder = shipped if shipped.is_dir() else package.parent / "systemd"
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def install(folder: Path, config: Path, *, force: bool, dry_run: bool) -> int:
    """Write the units; 3 where that cannot be done, and nothing was written then."""
    program = Path(sys.executable).parent / "probed"
    texts = {
        name: text.replace(PROGRAM, str(program))
        .replace(CONFIG, str(config))
        .replace(INSTANCE, str(config.with_name("%i.yaml")))
        for name, text in units().items()
    }
    problems = list(_problems(program, folder, texts, force=force))
    if problems:
        for problem in problems:
            click.echo(f"probed: {problem}", err=True)
        return UNKNOWN
    for name, text in texts.items():
        place = folder / name
        same = place.exists() and place.read_text() == text
        if not same and not dry_run:
            try:
                _write(place, text)
            except OSError as error:
                click.echo(f"probed: cannot write {place}: {error.strerror}", err=True)
                return UNKNOWN
        word = "is there already" if same else "would be written" if dry_run else "written"
        click.echo(f"{place}  {word}")
    if not dry_run:
        click.echo(_next(program, config))
    return 0


def _problems(
    program: Path, folder: Path, texts: Mapping[str, str], *, force: bool
) -> Iterator[str]:
    if not program.exists():
        yield f"there is no {program}: install probed-daemon in a virtual environment of its own"
    hidden = next((place for place in _HIDDEN if str(program).startswith(place)), None)
    if hidden:
        yield (
            f"{program} is below {hidden}, which the service cannot see: install it elsewhere, "
            "such as in /opt/probed"
        )
    if not folder.is_dir():
        yield f"there is no folder {folder}; write --directory, or make it"
        return
    for name, text in texts.items():
        place = folder / name
        if not force and place.exists() and place.read_text() != text:
            yield (
                f"{place} is another one; change it by a drop-in (systemctl edit {name}), or "
                "overwrite it with --force"
            )


def _write(place: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.chmod(name, 0o644)  # noqa: PTH101  # a name, not a Path
        os.replace(name, place)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _next(program: Path, config: Path) -> str:
    steps = []
    if not config.exists():
        steps.append(f"write the configuration: {config}")
    steps += [
        f"{program} config check -c {config}",
        "systemctl daemon-reload",
        "systemctl enable --now probed              # the daemon",
        "systemctl enable --now probed-check.timer  # or: all checks each quarter of an hour",
        "systemctl status probed; systemctl reload probed; journalctl -u probed",
    ]
    return "\nNext:\n" + "\n".join(f"  {n}. {step}" for n, step in enumerate(steps, 1))
