"""The store's file on disk: its mode, whether it is still the one that was opened, and moving it aside."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MODE = 0o600
TAILS = ("-wal", "-shm", "-journal")
"""Endings of the names of files that SQLite puts beside a database."""
ASIDE = ".corrupt"


def protect(path: Path) -> None:
    """Make the file where there is none, and let only its owner read and write it, whatever the umask.

    SQLite gives the files that it puts beside a database the mode of the database. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o7777 != MODE:
            os.fchmod(descriptor, MODE)
    finally:
        os.close(descriptor)
    for tail in TAILS:
        with suppress(OSError):
            _with(path, tail).chmod(MODE)


def protect_folder(folder: Path) -> None:
    """Let only the owner read the files in the state directory and its folders, also those of an earlier
    time. Links are not followed.
    """
    for place, folders, files in os.walk(folder):
        for names, mode in ((folders, 0o700), (files, MODE)):
            for name in names:
                path = Path(place, name)
                with suppress(OSError):
                    found = path.lstat().st_mode
                    if not stat.S_ISLNK(found) and stat.S_IMODE(found) & 0o077:
                        path.chmod(mode)


class Identity(NamedTuple):
    """Device, inode and size of a file: they change when it is replaced or truncated."""

    device: int
    inode: int
    size: int
    wal: int | None
    """The inode of the write-ahead log, None where there is none."""

    def is_same(self, now: Identity | None) -> bool:
        """Return whether the file is still there with its log, and was not replaced."""
        return now is not None and self[:2] == now[:2] and self.wal in {None, now.wal}

    def is_truncated(self, now: Identity | None) -> bool:
        return now is not None and self[:2] == now[:2] and now.size < self.size


def identify(path: Path) -> Identity | None:
    """Return the identity of the file; None where it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    try:
        wal: int | None = _with(path, "-wal").stat().st_ino
    except OSError:
        wal = None
    return Identity(found.st_dev, found.st_ino, found.st_size, wal)


def move_aside(path: Path, now: float) -> Path:
    """Rename a corrupt database and its log, and remove those of an earlier time. Return the new path.

    `now` is seconds since the epoch. Raises OSError.
    """
    for old in path.parent.glob(f"{path.name}{ASIDE}-*"):
        old.unlink(missing_ok=True)
    aside = _with(path, f"{ASIDE}-{int(now)}")
    path.replace(aside)
    with suppress(FileNotFoundError):
        _with(path, "-wal").replace(_with(aside, "-wal"))
    for tail in TAILS:
        _with(path, tail).unlink(missing_ok=True)
    return aside


def _with(path: Path, tail: str) -> Path:
    return path.with_name(path.name + tail)
