"""One lane of the spool on disk. All functions block; they run in the spool's thread.

Segments are files with increasing numbers. Records are appended to the last segment, but never to
one of an earlier process, whose end may be torn. They are read from the first segment, which is
deleted when all its records were sent. `cursor` holds the position in the first segment; if it is
lost or old, some requests are sent again.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from probed.telemetry.spool_records import (
    RECORD_LIMIT,
    SEGMENT,
    Encoded,
    first_time,
    pack,
    read,
    version,
    walk,
)

log = logging.getLogger("probed.spool")

SEGMENT_BYTES = 8 << 20
CURSOR = "cursor"
_NAME = re.compile(r"([0-9]{8,15})\.otlp")
_CURSOR = re.compile(rb"probed-cursor/1 ([0-9]{1,15}) ([0-9]{1,15})\n")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class _Segment:
    """One file. Its first `size` bytes hold whole batches; everything before `offset` was sent."""

    __slots__ = ("first", "number", "offset", "path", "size")

    def __init__(self, directory: Path, number: int, size: int) -> None:
        self.number = number
        self.path = directory / f"{number:08}.otlp"
        self.size = size
        self.offset = len(SEGMENT)
        self.first: float | None = None

    def unlink(self) -> None:
        with suppress(OSError):
            self.path.unlink()


class Segments:
    """Queue of requests in files. `lost` collects the numbers of dropped items, with reasons.

    `head` returns the oldest request and `sent` removes it. If its segment is dropped in between, it
    counts as dropped at the next `head`, unless it was sent.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        """Raises OSError if the directory cannot be used."""
        self.lost: list[tuple[int, str]] = []
        self._directory = directory
        self.limit = limit
        self._segments: deque[_Segment] = deque()
        self._descriptor: int | None = None
        self._held: tuple[Encoded, int] | None = None
        self._orphan: Encoded | None = None
        directory.mkdir(mode=0o700, exist_ok=True)
        numbers = sorted(
            int(match[1]) for p in directory.iterdir() if (match := _NAME.fullmatch(p.name))
        )
        seen = self._cursor()
        # Do not reuse a number that the cursor may still refer to.
        self._next = max([*numbers, *seen[:1]], default=0) + 1
        for number in numbers:
            self._find(number)
        for segment in self._segments:
            if [segment.number] == seen[:1]:
                segment.offset = min(max(segment.offset, seen[1]), segment.size)
        _sync(directory.parent)
        self._make_room(0)

    @property
    def size(self) -> int:
        """Bytes in the queue."""
        return sum(segment.size - segment.offset for segment in tuple(self._segments))

    @property
    def oldest(self) -> float | None:
        """Time of the oldest request, in seconds since the epoch; None if the queue is empty."""
        held = self._held
        if held is not None:
            return held[0].at
        waiting = (s.first for s in tuple(self._segments) if s.offset < s.size)
        return next((first for first in waiting if first is not None), None)

    def append(self, requests: Sequence[Encoded]) -> None:
        """Write the requests to disk, all or none. Raises OSError if none were written."""
        fitting = [request for request in requests if len(request.body) <= RECORD_LIMIT]
        self._lose(sum(r.items for r in requests if len(r.body) > RECORD_LIMIT), "too_large")
        size = len(SEGMENT) + sum(request.size for request in fitting)
        while size > self.limit and fitting:
            oldest = fitting.pop(0)
            size -= oldest.size
            self._lose(oldest.items, "queue_full")
        if not fitting:
            return
        if self._descriptor is not None and self._is_done():
            self._end()
        self._make_room(size)
        segment, descriptor = self._writer()
        try:
            _write(descriptor, b"".join(map(pack, fitting)))
            os.fdatasync(descriptor)
        except OSError:
            # Remove a partial batch: the caller keeps it and writes it again.
            with suppress(OSError):
                os.ftruncate(descriptor, segment.size)
            self._end()
            if segment.size == len(SEGMENT):
                self._segments.pop()
                segment.unlink()
            raise
        segment.size += size - len(SEGMENT)
        if segment.first is None:
            segment.first = fitting[0].at

    def head(self, since: float) -> Encoded | None:
        """Return the oldest request made since `since`; drop older ones."""
        if self._orphan is not None:
            self._lose(self._orphan.items, "queue_full")
            self._orphan = None
        if self._held is not None and self._held[0].at >= since:
            return self._held[0]
        self._held = None
        while self._segments:
            segment = self._segments[0]
            try:
                request = self._read(segment, since)
            except OSError as error:
                self._leave(segment, error)
                continue
            if request is not None:
                return request
            if self._is_writing(segment):
                return None
            self._remove(segment)
        return None

    def hold(self, request: Encoded) -> None:
        """Mark the only request, which was in memory until now, as the one being sent."""
        found = self.head(0.0)
        if found is None or found.body != request.body:
            self._held = None

    def sent(self) -> None:
        """Remove the request that `head` returned."""
        held, self._held, self._orphan = self._held, None, None
        if held is None:
            return
        segment = self._segments[0]
        segment.offset = held[1]
        if segment.offset >= segment.size and not self._is_writing(segment):
            self._remove(segment)
        else:
            self._write_cursor(segment)

    def resize(self, limit: int) -> None:
        """Change the limit, in bytes."""
        self.limit = limit
        self._make_room(0)

    def close(self) -> None:
        """Close the segment, and delete segments that were sent completely."""
        self._held = None
        if self._orphan is not None:
            self._lose(self._orphan.items, "queue_full")
            self._orphan = None
        self._end()
        while self._segments and self._segments[0].offset >= self._segments[0].size:
            self._remove(self._segments[0])
        if not self._segments:
            with suppress(OSError):
                (self._directory / CURSOR).unlink()

    def _read(self, segment: _Segment, since: float) -> Encoded | None:
        began = segment.offset
        descriptor = os.open(segment.path, os.O_RDONLY)
        try:
            while segment.offset < segment.size:
                found = read(descriptor, segment.offset, segment.size)
                if found.lost:
                    log.warning("spool: %s is corrupt; lost at least %d items",
                                segment.path.name, found.lost)  # fmt: skip
                    self._lose(found.lost, "corrupt")
                if found.request is None or found.request.at < since:
                    segment.offset = found.end
                    self._lose(found.request.items if found.request else 0, "too_old")
                    continue
                segment.offset = found.end - found.request.size
                self._held = found.request, found.end
                return found.request
            return None
        finally:
            os.close(descriptor)
            if segment.offset != began:
                # Skipped records were counted; the next process must not count them again.
                self._write_cursor(segment)

    def _leave(self, segment: _Segment, error: OSError) -> None:
        """Skip a segment that cannot be read; it stays on disk for the next process."""
        log.warning("spool: %s cannot be read (%s); skipping it", segment.path, error.strerror)
        if self._is_writing(segment):
            self._end()
        self._segments.popleft()
        if isinstance(error, FileNotFoundError):
            self._lose(1, "corrupt")

    def _find(self, number: int) -> None:
        segment = _Segment(self._directory, number, 0)
        try:
            descriptor = os.open(segment.path, os.O_RDONLY)
            try:
                segment.size = os.fstat(descriptor).st_size
                known = version(os.pread(descriptor, len(SEGMENT), 0))
                segment.first = first_time(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("spool: %s cannot be read (%s); leaving it in place", segment.path,
                        error.strerror)  # fmt: skip
            return
        if known not in {None, 1}:
            log.warning("spool: %s has unknown format %d; leaving it in place",
                        segment.path, known)  # fmt: skip
            return
        segment.offset = min(segment.offset, segment.size)
        self._segments.append(segment)

    def _cursor(self) -> list[int]:
        """Return segment and offset up to which the previous process sent; empty if unknown."""
        try:
            match = _CURSOR.fullmatch((self._directory / CURSOR).read_bytes()[:64])
        except OSError:
            return []
        return [] if match is None else [int(number) for number in match.groups()]

    def _write_cursor(self, segment: _Segment) -> None:
        """Write the cursor, without fsync: after a power loss, some requests are sent again."""
        beside = self._directory / (CURSOR + ".new")
        with suppress(OSError):
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"probed-cursor/1 %d %d\n" % (segment.number, segment.offset))
            beside.replace(self._directory / CURSOR)

    def _writer(self) -> tuple[_Segment, int]:
        if self._descriptor is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            segment = _Segment(self._directory, self._next, len(SEGMENT))
            self._next += 1
            descriptor = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _write(descriptor, SEGMENT)
                _sync(self._directory)
            except OSError:
                os.close(descriptor)
                segment.unlink()
                raise
            self._descriptor = descriptor
            self._segments.append(segment)
        return self._segments[-1], self._descriptor

    def _is_writing(self, segment: _Segment) -> bool:
        return self._descriptor is not None and segment is self._segments[-1]

    def _is_done(self) -> bool:
        """Return whether the segment that is written is full, or its file was deleted."""
        assert self._descriptor is not None
        enough = min(SEGMENT_BYTES, self.limit // 4)
        return self._segments[-1].size >= enough or not os.fstat(self._descriptor).st_nlink

    def _end(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _make_room(self, size: int) -> None:
        """Drop the oldest segments until `size` more bytes fit."""
        while self._segments and size + sum(s.size for s in self._segments) > self.limit:
            segment = self._segments[0]
            if self._is_writing(segment):
                self._end()
            begin = segment.offset
            if self._held is not None:
                self._orphan, begin = self._held
                self._held = None
            with suppress(OSError):
                self._lose(self._count(segment, begin), "queue_full")
            self._remove(segment)

    def _count(self, segment: _Segment, begin: int) -> int:
        descriptor = os.open(segment.path, os.O_RDONLY)
        try:
            return sum(
                found.lost + (found.request.items if found.request is not None else 0)
                for found in walk(descriptor, begin, segment.size)
            )
        finally:
            os.close(descriptor)

    def _remove(self, segment: _Segment) -> None:
        self._segments.popleft()
        segment.unlink()

    def _lose(self, items: int, why: str) -> None:
        if items:
            self.lost.append((items, why))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
