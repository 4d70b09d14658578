"""A connected datagram socket, read as `Stream` reads: in turn with others, and only on request."""

from __future__ import annotations

import socket

from probed.net.stream import family_of, receive, writable

DATAGRAM = 65535


class Datagrams:
    """Datagrams to and from one address and port: the kernel drops those of other senders, and reports
    ICMP errors. Methods raise OSError.
    """

    def __init__(self, address: str, port: int) -> None:
        self._eager = False
        self._socket = socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect((address, port))
        except BaseException:
            self._socket.close()
            raise

    async def send(self, data: bytes) -> None:
        """Send one datagram."""
        while True:
            try:
                self._socket.send(data)
            except BlockingIOError:
                await writable(self._socket)
            else:
                return

    async def receive(self) -> bytes:
        """Return the next datagram."""
        data, self._eager = await receive(self._socket, DATAGRAM, eager=self._eager)
        return data

    def close(self) -> None:
        """Close."""
        self._socket.close()
