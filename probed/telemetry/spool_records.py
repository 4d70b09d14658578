"""Format of the spool on disk: segments of records, each one encoded OTLP request.

A segment starts with `SEGMENT`, whose digits are the version of the format. A record is

    magic (4)  crc32 (4)  kind (1)  coding (1)  zero (2)  items (4)  length (4)  ms (8)  payload

big-endian; the checksum covers all that follows it, `ms` is milliseconds since the epoch. The magic
has bytes that are invalid in UTF-8, so text of a peer in a payload is never mistaken for a record.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from probed.telemetry.settings import SignalName

FAMILY = b"probed-spool/"
SEGMENT = FAMILY + b"1\n\n"
RECORD_LIMIT = 4 << 20
"""Maximum bytes of a payload: the default limit of gRPC receivers."""
ITEM_LIMIT = 1 << 16
"""Maximum number of items that a corrupt record is counted as."""
TRIES = 100
"""Maximum number of magics that are tried in a corrupt segment, to bound the work."""

_MAGIC = b"\xff\xfePR"
_HEAD = struct.Struct(">4sIBB2xIIQ")
HEAD = _HEAD.size
_CHECKED = 8
"""Offset of the first byte that the checksum covers."""
_KINDS: dict[SignalName, int] = {"traces": 1, "metrics": 2}
_SIGNALS = {number: signal for signal, number in _KINDS.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One encoded request: body, number of spans or points, and creation time (seconds since the epoch)."""

    signal: SignalName
    body: bytes
    items: int
    at: float
    gzip: bool = False

    @property
    def size(self) -> int:
        """Bytes in the spool."""
        return HEAD + len(self.body)


def pack(request: Encoded) -> bytes:
    """Return the request as a record."""
    rest = struct.pack(
        ">BB2xIIQ", _KINDS[request.signal], request.gzip, request.items, len(request.body),
        max(0, round(request.at * 1000)),
    )  # fmt: skip
    crc = zlib.crc32(request.body, zlib.crc32(rest))
    return b"".join((_MAGIC, crc.to_bytes(4, "big"), rest, request.body))


@dataclass(frozen=True, slots=True)
class Found:
    """Next whole record of a segment and its end; None and the end of the segment if there is none.
    `lost` items were skipped: a corrupt record counts as many items as its head says, or as one.
    """

    request: Encoded | None
    end: int
    lost: int = 0


def version(head: bytes) -> int | None:
    """Return the version of a segment's format from its first bytes; None if they are corrupt."""
    digits, line, _ = head.removeprefix(FAMILY).partition(b"\n")
    known = head.startswith(FAMILY) and line and digits.isdigit()
    return int(digits) if known else None


def read(descriptor: int, offset: int, end: int) -> Found:
    """Return the first whole record at or after `offset`. Raises OSError."""
    if offset >= end:
        return Found(None, end)
    found = _at(descriptor, offset, end)
    if isinstance(found, Found):
        return found
    lost, torn = found, _is_torn(descriptor, offset, end)
    rest = os.pread(descriptor, end - offset, offset)
    start = 0
    for _ in range(TRIES):
        start = rest.find(_MAGIC, start + 1)
        if start < 0:
            break
        found = _at(descriptor, offset + start, end)
        if isinstance(found, Found):
            return Found(found.request, found.end, lost)
        lost += found
        torn = False
    return Found(None, end, 0 if torn else lost)


def _at(descriptor: int, offset: int, end: int) -> Found | int:
    """Return the record at `offset`, or the number of items that are lost with it."""
    head = os.pread(descriptor, HEAD, offset) if offset + HEAD <= end else b""
    if len(head) < HEAD:
        return 1
    magic, crc, kind, coding, items, length, ms = _HEAD.unpack(head)
    if magic != _MAGIC:
        return 1
    lost: int = min(max(1, items), ITEM_LIMIT)
    if length > RECORD_LIMIT or offset + HEAD + length > end:
        return lost
    body = os.pread(descriptor, length, offset + HEAD)
    if zlib.crc32(body, zlib.crc32(head[_CHECKED:])) != crc or len(body) != length:
        return lost
    if kind not in _SIGNALS or coding > 1:
        return lost
    request = Encoded(_SIGNALS[kind], body, items, ms / 1000, gzip=bool(coding))
    return Found(request, offset + HEAD + length)


def _is_torn(descriptor: int, offset: int, end: int) -> bool:
    """Return whether a record starts at `offset` whose end was never written, so `put` never returned."""
    head = os.pread(descriptor, min(HEAD, end - offset), offset)
    if len(head) < HEAD:
        return head.startswith(_MAGIC[: len(head)])
    return head.startswith(_MAGIC) and offset + HEAD + int(_HEAD.unpack(head)[-2]) > end


def walk(descriptor: int, offset: int, end: int) -> Iterator[Found]:
    """Yield the records from `offset` to the end of a segment."""
    while offset < end:
        found = read(descriptor, offset, end)
        yield found
        offset = found.end


def first_time(descriptor: int) -> float | None:
    """Return the creation time of the first record of a segment, from its head."""
    head = os.pread(descriptor, HEAD, len(SEGMENT))
    if len(head) < HEAD or not head.startswith(_MAGIC):
        return None
    return int(_HEAD.unpack(head)[-1]) / 1000
