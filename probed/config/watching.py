"""Detection of changes of the files of a configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from probed.config.model import Config, Glob
from probed.config.reading import FILE_LIMIT, matches, read_bounded

LIMIT = 2000
"""Files that are looked at."""
TOTAL_LIMIT = 64 << 20
"""Bytes that are read. Both are more than one configuration should have."""


def fingerprint(of: Config | Iterable[Path]) -> str:
    """SHA-256 over the files as they are on disk now: names, contents, and what patterns stand for.

    What cannot be read, or is larger than a file of the configuration may be, counts as such.
    """
    files, globs = (of.files, of.globs) if isinstance(of, Config) else (tuple(of), ())
    digest = hashlib.sha256()
    seen = dict.fromkeys(files)
    for glob in globs:
        seen.update(_found(glob, digest))
    left = TOTAL_LIMIT
    for path in list(seen)[:LIMIT]:
        content = _content(path) if left > 0 else b"?"
        left -= len(content)
        _feed(digest, bytes(path), content)
    return digest.hexdigest()


def _found(glob: Glob, digest: hashlib._Hash) -> dict[Path, None]:
    try:
        names = matches(glob)
    except (ValueError, OSError) as error:
        _feed(digest, bytes(glob.folder), type(error).__name__.encode())
        return {}
    _feed(digest, bytes(glob.folder), *(bytes(Path(name)) for name in names))
    return {glob.folder / name: None for name in names}


def _content(path: Path) -> bytes:
    try:
        content, _ = read_bounded(path, FILE_LIMIT)
    except (ValueError, OSError) as error:
        return f"!{type(error).__name__}: {error}".encode(errors="replace")
    return b"=" + content


def _feed(digest: hashlib._Hash, *parts: bytes) -> None:
    """Each part with its length before it, so that no two lists of parts are fed alike."""
    digest.update(b"%d;" % len(parts))
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
