"""Reads the configuration's files from disk, bounded, and finds those that a pattern stands for."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probed.config.model import Glob

FILE_LIMIT = 1 << 20
SCAN_LIMIT = 100_000
"""Names in folders that are looked at for one pattern."""
_WILD = frozenset("*?[")


def read_bounded(path: Path, limit: int) -> tuple[bytes, int]:
    """Content and mode of a regular file. Raises OSError, or ValueError with what is wrong."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would block
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ValueError(f"is {kind}")
        content = b""
        while chunk := os.read(descriptor, limit + 1 - len(content)):
            content += chunk
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise ValueError(f"is larger than {limit // 1024} KiB")
    return content, status.st_mode


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises ValueError with what is wrong."""
    try:
        content, _ = read_bounded(path, FILE_LIMIT)
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise ValueError(f"is not UTF-8 text: byte 0x{byte:02x} in line {line}") from None


def is_glob(name: str) -> bool:
    return not _WILD.isdisjoint(name)


def matches(glob: Glob) -> list[str]:
    """The files that a pattern stands for, sorted; relative to its folder where the pattern is. As
    in a shell `*` stands for no `/` and for no dot at the begin. Raises ValueError.
    """
    parts = PurePosixPath(glob.pattern).parts
    found, seen = [PurePosixPath()], 0
    for at, part in enumerate(parts):
        if not is_glob(part):
            found = [name / part for name in found]
            continue
        deeper: list[PurePosixPath] = []
        for name in found:
            for entry in _entries(glob.folder / name):
                seen += 1
                if seen > SCAN_LIMIT:
                    raise ValueError(f"more than {SCAN_LIMIT} names would have to be looked at")
                hidden = entry.name.startswith(".") and not part.startswith(".")
                is_last = at == len(parts) - 1
                if not hidden and fnmatchcase(entry.name, part) and _is_folder(entry) != is_last:
                    deeper.append(name / entry.name)
        found = deeper
    if not is_glob(parts[-1]):
        found = [name for name in found if _is_there(glob.folder / name)]
    return sorted(map(str, found))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_there(path: Path) -> bool:
    """True also of what cannot be looked at: reading it says why."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, SCAN_LIMIT + 1))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(f"a folder cannot be read: {why}") from None
