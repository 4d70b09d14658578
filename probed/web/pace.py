"""The pace of answers: one piece of one answer is rendered in a turn of the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import anyio
from anyio.lowlevel import checkpoint


class Pacer:
    """Renders pieces of all answers of a listener in turns, so that many clients that ask for large
    answers delay neither checks nor `/livez`. Nobody has a turn while a client reads.
    """

    def __init__(self) -> None:
        self._turn = anyio.Lock(fast_acquire=True)

    async def pieces(self, source: Iterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the pieces, and let other tasks run between them."""
        pieces = iter(source)
        while True:
            async with self._turn:
                piece = next(pieces, None)
                await checkpoint()
            if piece is None:
                return
            yield piece


def joined(parts: Iterable[str], size: int) -> Iterable[bytes]:
    """Join small parts to pieces of about so many characters."""
    piece: list[str] = []
    length = 0
    for part in parts:
        piece.append(part)
        length += len(part)
        if length >= size:
            yield "".join(piece).encode()
            piece, length = [], 0
    yield "".join(piece).encode()
