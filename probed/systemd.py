"""Notifications to the service manager: ready, reloading, stopping, watchdog, status.

The protocol is a datagram of `NAME=value` lines (sd_notify(3)). Its Python libraries are
unmaintained.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

STATUS_LIMIT = 500
"""Characters of a status."""


class Notifier:
    """Sends notifications to the service manager, if one started this process; never raises.

    `patience` is the watchdog interval in seconds; 0 where there is no watchdog
    (sd_watchdog_enabled(3)).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading "@" is the zero byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.patience = _patience(environ) if address else 0.0
        self._status = ""

    def __bool__(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Report that the daemon is ready; also after a reload, successful or not."""
        self._send("READY=1", self._changed(status))

    def reloading(self) -> None:
        """Report a reload. `Type=notify-reload` needs the time, or it waits until it times out."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        self._send("STOPPING=1", self._changed("stopping"))

    def alive(self, status: str) -> None:
        """Feed the watchdog. Call it more often than each `patience` seconds, only while work gets done."""
        self._send("WATCHDOG=1" if self.patience else "", self._changed(status))

    def _changed(self, status: str) -> str:
        status = status[:STATUS_LIMIT].replace("\n", " ")
        if status == self._status:
            return ""
        self._status = status
        return f"STATUS={status}"

    def _send(self, *lines: str) -> None:
        message = "\n".join(filter(None, lines))
        if not self._address or not message:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError:
            pass  # nobody listens


def _patience(environ: Mapping[str, str]) -> float:
    """Return the watchdog interval, unless it was set for another process."""
    limit, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(limit) / 1e6


def under_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether this file descriptor is connected to the journal (systemd.exec(5), `JOURNAL_STREAM`)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
