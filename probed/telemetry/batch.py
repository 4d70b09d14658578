"""Builder of OTLP requests from encoded slices."""

from __future__ import annotations

import zlib

from probed.telemetry.settings import SignalName
from probed.telemetry.spool_records import Encoded

REQUEST_BYTES = 2 << 20
"""Bytes of one request before compression; collectors accept 4 MiB by default."""


class Batch:
    """Builder of requests: joins and compresses encoded slices."""

    def __init__(self, signal: SignalName, at: float, *, gzip: bool) -> None:
        self._signal: SignalName = signal
        self._at = at
        self._gzip = gzip
        self._requests: list[Encoded] = []
        self._begin()

    def _begin(self) -> None:
        self._items = self._plain = 0
        self._parts: list[bytes] = []
        self._deflate = zlib.compressobj(1, wbits=31) if self._gzip else None

    def add(self, data: bytes, items: int, limit: int) -> None:
        """Add a slice. A request is complete with `limit` items, or with `REQUEST_BYTES`."""
        if self._items and self._plain + len(data) > REQUEST_BYTES:
            self._close()
        self._items += items
        self._plain += len(data)
        self._parts.append(data if self._deflate is None else self._deflate.compress(data))
        if self._items >= limit:
            self._close()

    def _close(self) -> None:
        if self._deflate is not None:
            self._parts.append(self._deflate.flush())
        body = b"".join(self._parts)
        self._requests.append(Encoded(self._signal, body, self._items, self._at, gzip=self._gzip))
        self._begin()

    def end(self) -> list[Encoded]:
        if self._items:
            self._close()
        return self._requests
